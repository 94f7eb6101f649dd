"""From runs to figures: medians over the rounds, and ratios taken within each round."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from benchmarks.rounds import OURS, Run, of_way


class Row(NamedTuple):
    """Medians of one way's rounds.

    Attributes:
        precision: what it computed in.
        images: how many it was given.
        running, whole: images/s once running, and of the whole process.
        start_up: seconds until the first images had their features.
        peak_memory: bytes.
        times_running, times_whole: how many times as fast this project is.
    """

    way: str
    precision: str
    images: int
    running: float
    whole: float
    start_up: float
    peak_memory: float
    times_running: float
    times_whole: float


class Ratio(NamedTuple):
    """One way's speed over another's, by round, and what it should at least be."""

    name: str
    by_round: list[float]
    wanted: float

    @property
    def median(self) -> float:
        return median(self.by_round)

    @property
    def met(self) -> bool:
        return self.median >= self.wanted


def summarize(runs: list[Run], images: int) -> list[Row]:
    """One row a way, in the order they were run.

    Args:
        images: what the rate of a whole process is told for.
    """
    rows = []
    for name in dict.fromkeys(run.way for run in runs):
        own = of_way(runs, name)
        rows.append(
            Row(
                way=name,
                precision=own[-1].precision,
                images=own[0].images,
                running=median(run.running for run in own),
                whole=median(run.whole(images) for run in own),
                start_up=median(run.first for run in own),
                peak_memory=median(run.peak_memory for run in own),
                times_running=median(ratios(runs, OURS, name, lambda run: run.running)),
                times_whole=median(ratios(runs, OURS, name, lambda run: run.whole(images))),
            )
        )
    return rows


def ratios(runs: list[Run], above: str, below: str, figure: Callable[[Run], float]) -> list[float]:
    """A figure of one way over that of another, round by round: what disturbs a round disturbs both."""
    return [
        figure(one) / figure(other)
        for one, other in zip(of_way(runs, above), of_way(runs, below), strict=True)
    ]


def goals(runs: list[Run], images: int) -> list[Ratio]:
    """What this project sets out to reach against the ways that were measured."""
    precision = of_way(runs, OURS)[-1].precision
    bare = next(
        (run.way for run in runs if run.way.startswith("bare OpenVINO") and run.precision == precision), None
    )
    keras = next((run.way for run in runs if "Keras guide" in run.way), None)
    beam = next((run.way for run in runs if "RunInference" in run.way), None)
    asked = [
        ("once running", bare, 0.95, lambda run: run.running),
        ("once running", keras, 6.0, lambda run: run.running),
        ("once running", beam, 14.0, lambda run: run.running),
        ("whole process", bare, 0.85, lambda run: run.whole(images)),
        ("whole process", keras, 6.0, lambda run: run.whole(images)),
    ]
    return [
        Ratio(f"{what}: {OURS} / {other}", ratios(runs, OURS, other, figure), wanted)
        for what, other, wanted, figure in asked
        if other is not None
    ]
