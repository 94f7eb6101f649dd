"""The sections of a full benchmark, beyond the main table.

Each is a function from what has been measured so far to its text and its figures.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import extraction_sections, table_sections
from benchmarks.setting import Bench, Measured


def chosen_sections(*, flat: bool, million: bool) -> dict[str, Callable[[Bench], Measured]]:
    """The sections to measure, by the name that their figures are kept under."""
    rows = 1_000_000 if million else 100_000
    found: dict[str, Callable[[Bench], Measured]] = {
        "inference": extraction_sections.inference,
        "engines": extraction_sections.engines,
        "stages": extraction_sections.stages,
        "head_accuracy": extraction_sections.head_accuracy,
        "workflows": extraction_sections.workflows,
        "heads": table_sections.heads,
        "nothing_to_do": table_sections.nothing_to_do,
        "reading": table_sections.reading,
        "streaming": lambda bench: table_sections.streaming(bench, rows),
    }
    return found | ({"flatness": extraction_sections.flatness} if flat else {})
