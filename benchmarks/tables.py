"""Tables in Markdown that are also readable as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column to the left, the others to the right."""
    widths = [max(len(line[number]) for line in [head, *rows]) for number in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(line, widths) for line in [head, rule, *rows])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left, *right = zip(cells, widths, strict=True)
    return " | ".join([f"| {left[0]:<{left[1]}}", *(f"{cell:>{width}}" for cell, width in right)]) + " |"


def number(value: float) -> str:
    """Three digits at least, and none after the point from 100 up."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
