"""The report: a Markdown file for people, and the figures behind it as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

#: Beside the logs, in the folder of results. Its copy in the repository has the same name.
REPORT, FIGURES = "BENCHMARKS.md", "results.json"

INTRODUCTION = """\
# Benchmarks

This page compares this project with other ways to do the same work, on the same images and with the same
weights. Extraction starts from image files and ends when their features are in Parquet files. Each way is a
program in `benchmarks/ways/`. It runs in a fresh process and takes turns with the others over several rounds.
The tables show medians over the rounds. A ratio is taken within each round, so that a slow moment of the
machine affects both sides of it. The benchmark fails if the features of a way differ from this project's.

To repeat it, close other programs and run one of these:

    make bench-quick            # the first two tables, in five minutes
    make bench                  # all but the largest sizes, in about an hour
    make bench ARGS=--large     # everything; needs 20 GB of disk

`DATA=` and `WEIGHTS=` name the images and the weights, as in `make extract`. The report goes to
`bench-results/BENCHMARKS.md` (`ARGS="--output FOLDER"` for another folder); `results.json` beside it has the
figures of every round."""


class Section(NamedTuple):
    """A part of the report: the key of its figures, its title and Markdown, and the figures by way's id."""

    key: str
    title: str
    text: str
    figures: Any


class Report:
    """The report so far, on the screen and on the disk: a later failure loses nothing."""

    def __init__(self, output: Path, command: str, machine: str, subject: str) -> None:
        """`subject` says which images and weights were measured with."""
        self._output = output
        self._figures: dict[str, Any] = {"command": command, "machine": machine, "subject": subject}
        self._texts = [INTRODUCTION]
        self._add(f"Made with `{command}`, with {subject}.\n\nMachine: {machine}")

    def add(self, section: Section) -> None:
        """Print a section, and write the files anew with it."""
        self._figures[section.key] = section.figures
        self._add(f"## {section.title}\n\n{section.text}")

    def _add(self, text: str) -> None:
        self._texts.append(text)
        print(f"\n{text}\n", flush=True)
        (self._output / REPORT).write_text("\n\n".join(self._texts) + "\n", encoding="utf-8")
        (self._output / FIGURES).write_text(json.dumps(self._figures, indent=1), encoding="utf-8")
