"""Beam pipelines and the command line: the only room that imports Beam.

`extract` and `Summary` are imported when they are first asked for: the command's own help needs no table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.options import ExtractOptions

if TYPE_CHECKING:
    from pipelines.driver import Summary, extract

__all__ = ["ExtractOptions", "Summary", "extract"]


def __getattr__(name: str) -> Any:
    if name in ("Summary", "extract"):
        from pipelines import driver

        return getattr(driver, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
