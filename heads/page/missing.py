"""What was not measured: said where it would stand, and all together near the end of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heads.page.figures import items
from heads.page.parts import Missing, Section, Sentence


def missing(evaluation: Mapping[str, Any], what: str, *parts: str) -> Missing:
    """What to say in the place of a part that is null.

    Args:
        what: a sentence, for where the evaluation does not say what is missing.
        parts: of the evidence, as the evaluation names them.
    """
    for entry in items(evaluation, "missing"):
        if entry.get("part") in parts:
            return Missing(str(entry.get("what") or what), str(entry.get("how") or ""))
    return Missing(what)


def missing_section(evaluation: Mapping[str, Any]) -> Section:
    """Everything that could not be measured."""
    entries = [
        Missing(str(entry.get("what") or "something that is not named"), str(entry.get("how") or ""))
        for entry in items(evaluation, "missing")[:100]
    ]
    return Section(
        "missing",
        "What could not be measured, and how to get it",
        entries or [Sentence("The evaluation names nothing that could not be measured.")],
    )
