"""What every measurement starts from: the images, the network in each way's form, and folders to work in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.images import Photo, lay_out
from benchmarks.prepare import Prepared
from benchmarks.processes import run_task

if TYPE_CHECKING:
    from benchmarks.outputs import Features
    from benchmarks.rounds import Run

#: What was measured of each way, by its id, a figure set for each round.
Measured = dict[str, list[dict[str, Any]]]


@dataclasses.dataclass
class Bench:
    """What the measurements share.

    Attributes:
        work: a folder for what is needed for a while.
        logs: folder of the programs' logs.
        rounds: how often each way is measured.
        runs: of the main table.
        features: of each way of the main table, by its id, from its last run.
    """

    photos: list[Photo]
    prepared: Prepared
    work: Path
    logs: Path
    rounds: int
    runs: list[Run] = dataclasses.field(default_factory=list)
    features: dict[str, Features] = dataclasses.field(default_factory=dict)

    def task(self, module: str, **job: Any) -> dict[str, Any]:
        """Run a program of `benchmarks.tasks`; what it measured."""
        return run_task(module, job, self.logs / f"{module}.log")

    def images(self, count: int) -> Path:
        """A folder of `count` images."""
        folder = self.work / "images" / str(count)
        return folder if folder.is_dir() else lay_out(self.photos, folder, count)

    def output(self, way: str) -> Path:
        """The folder of what a way wrote last: `features`, a store or Parquet files, and `marks`."""
        return self.work / "outputs" / way

    def made_up(self, rows: int) -> Path:
        """A store of `rows` made-up features, for files in the folder `data` beside it."""
        folder = self.work / f"made-up-{rows}"
        if not folder.is_dir():
            self.task("make_table", data=str(folder / "data"), store=str(folder / "store"), rows=rows)
        return folder / "store"

    def in_turn(self, ways: Iterable[str], run: Callable[[str], dict[str, Any]]) -> Measured:
        """Run each way once a round."""
        measured: Measured = {way: [] for way in ways}
        for _ in range(self.rounds):
            for way, figures in measured.items():
                figures.append(run(way))
        return measured


def median_of(rounds: Sequence[dict[str, Any]], figure: str) -> float:
    """The median of one figure over the rounds."""
    return median(one[figure] for one in rounds)
