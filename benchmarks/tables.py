"""Tables in Markdown that are also readable as plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from benchmarks.figures import Ratio, Row


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column to the left, the others to the right."""
    widths = [max(_width(line[number]) for line in [head, *rows]) for number in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(line, widths) for line in [head, rule, *rows])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - _width(cell))
        padded.append(space + cell if number else cell + space)
    return "| " + " | ".join(padded) + " |"


def _width(text: str) -> int:
    return sum(not unicodedata.combining(letter) for letter in text)


def number(value: float) -> str:
    """Three digits at least, and none after the point from 100 up."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def main_table(rows: Sequence[Row], images: int) -> str:
    """The ways, their medians, and how many times as fast this project is."""
    head = [
        "way",
        "precision",
        "images/s once running",
        f"images/s, whole process of {images:,}",
        "start-up",
        "peak memory",
        "ours is faster, running",
        "whole",
    ]
    lines = [
        [
            row.way,
            row.precision,
            number(row.running),
            number(row.whole) + ("" if row.images == images else " †"),
            f"{number(row.start_up)} s",
            gigabytes(row.peak_memory),
            f"{number(row.times_running)} ×",
            f"{number(row.times_whole)} ×",
        ]
        for row in rows
    ]
    fewer = [f"{row.way}: {row.images:,}" for row in rows if row.images != images]
    note = (
        f"\n\n† Reckoned for {images:,} images from the start-up and the rate of a run over fewer "
        f"({'; '.join(fewer)})."
    )
    return markdown(head, lines) + (note if fewer else "")


def ratio_table(ratios: Sequence[Ratio]) -> str:
    """The goals: the median over the rounds, its range, and what was wanted."""
    lines = [
        [
            ratio.name,
            f"{ratio.median:.2f}",
            f"{min(ratio.by_round):.2f} to {max(ratio.by_round):.2f}",
            f"≥ {ratio.wanted:g}",
            "yes" if ratio.met else "no",
        ]
        for ratio in ratios
    ]
    return markdown(["ratio", "median", "over the rounds", "wanted", "met"], lines)


def section_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table under a title of its own."""
    return f"### {title}\n\n{markdown(head, rows)}"
