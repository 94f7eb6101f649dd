"""Beam pipelines and the command line: the only room that imports Beam."""

from pipelines.driver import ExtractOptions, Summary, extract

__all__ = ["ExtractOptions", "Summary", "extract"]
