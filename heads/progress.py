"""How training tells of its steps, to whoever watches."""

from __future__ import annotations

from collections.abc import Callable

#: Called as training goes on: number of the step (from 1), steps at most, figures of this step.
Progress = Callable[[int, int, dict[str, float]], None]


def silent(step: int, steps: int, figures: dict[str, float]) -> None:
    """Progress that nobody watches."""
