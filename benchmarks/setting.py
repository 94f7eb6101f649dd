"""What the sections of a full benchmark start from, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.images import Photo, lay_out
from benchmarks.outputs import Features
from benchmarks.prepare import Prepared
from benchmarks.processes import run_task
from benchmarks.rounds import Run

#: Rounds of the shorter measurements.
ROUNDS = 3

#: The text of a section, and the figures behind it.
Measured = tuple[str, Any]


class Bench(NamedTuple):
    """What the sections start from: the images and the network, and the main table's runs.

    Attributes:
        work: a folder for what is needed for a while; the stores of the main table are in it.
        logs: folder of the programs' logs.
        features: of each way, from its last run.
    """

    photos: list[Photo]
    prepared: Prepared
    work: Path
    logs: Path
    runs: list[Run]
    features: dict[str, Features]

    def task(self, module: str, **job: Any) -> dict[str, Any]:
        return run_task(module, job, self.logs / f"{module}.log")

    def images(self, count: int) -> Path:
        """A folder of `count` images."""
        folder = self.work / "images" / str(count)
        return folder if folder.is_dir() else lay_out(self.photos, folder, count)

    def made_up(self, rows: int) -> Path:
        """A store of `rows` made-up features, for files in the folder beside it."""
        folder = self.work / f"made-up-{rows}"
        if not folder.is_dir():
            self.task("make_table", data=str(folder / "data"), store=str(folder / "store"), rows=rows)
        return folder / "store"


def in_turn(
    ways: Sequence[tuple[str, dict[str, Any]]], run: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Run each way once a round; what was found, by way and round."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in ways}
    for _ in range(ROUNDS):
        for name, job in ways:
            found[name].append(run(job))
    return found


def median_of(found: Sequence[dict[str, Any]], figure: str) -> float:
    """The median of one figure over the rounds."""
    return median(one[figure] for one in found)
