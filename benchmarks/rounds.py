"""The main table's measurement: every way in turn, over several rounds, each time in a fresh process."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.outputs import Features, check_same, read_features, table_precision
from benchmarks.processes import run_module
from benchmarks.setting import Bench
from benchmarks.ways import OURS, WAYS, Way
from features.errors import BottleneckError
from features.machine import processor_has_bfloat16

#: A quick benchmark is over within five minutes, what comes before and after the rounds included.
_QUICK_SECONDS = 270.0

#: Seconds within which images count as done at the same time.
_AT_ONCE = 0.02


class Run(NamedTuple):
    """What one way did in one round. Seconds count from the start of its process.

    Attributes:
        way: its id.
        images: how many there were.
        precision: what it computed in.
        first, first_images: when the first images were done, and how many they were.
        written: when all features were on disk.
        seconds: when the process had ended.
        peak_memory: bytes.
    """

    way: str
    round: int
    images: int
    precision: str
    first: float
    first_images: int
    written: float
    seconds: float
    peak_memory: int

    @property
    def running(self) -> float:
        """Images/s from the first images' features until all features are on the disk."""
        return (self.images - self.first_images) / (self.written - self.first)

    def whole(self, images: int) -> float:
        """Images/s of a whole process over `images`; extrapolated by `running` where the run had fewer."""
        return images / (self.seconds + (images - self.images) / self.running)


def ways(*, quick: bool) -> list[Way]:
    """The ways to measure on this machine; without bfloat16 in the processor, none that asks for it."""
    fast = processor_has_bfloat16()
    return [way for way in WAYS if (way.quick_images or not quick) and (fast or way.precision != "bfloat16")]


def measure(bench: Bench, images: int, *, quick: bool) -> None:
    """Run every way once a round; `bench` gets all runs, and each way's features of the last round.

    Args:
        images: how many a way gets, unless it is a slow one.
        quick: begin no round that would probably end too late.

    Raises:
        BottleneckError: where a way fails, leaves images out, or its features differ from ours.
    """
    started = time.monotonic()
    for number in range(1, bench.rounds + 1):
        if quick and (time.monotonic() - started) * number / max(number - 1, 1) > _QUICK_SECONDS:
            print(f"  no time left for round {number}")
            break
        for way in ways(quick=quick):
            count = min(images, way.quick_images if quick else way.images)
            run, features = run_way(bench, way, number, count)
            bench.runs.append(run)
            bench.features[way.id] = features
            check_same(way.name, features, bench.features[OURS.id])
            print(
                f"  round {number} of {bench.rounds}: {way.name}: {run.running:.1f} images/s once running, "
                f"{run.seconds:.1f} s for {count}",
                flush=True,
            )


def run_way(bench: Bench, way: Way, number: int, images: int) -> tuple[Run, Features]:
    """Run one way once over `images`, in a process of its own; `number` is the round.

    Raises:
        BottleneckError: where it fails or leaves images out.
    """
    inputs, output = bench.images(images), bench.output(way.id)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    job = {
        "images": str(inputs),
        "output": str(output / "features"),
        "marks": str(output / "marks"),
        "precision": way.precision,
        "engine": way.engine,
        **bench.prepared._asdict(),
    }
    finished = run_module(f"benchmarks.ways.{way.module}", job, bench.logs / f"{way.id}.log")
    times, counts = _read_marks(output / "marks", finished.started)
    if counts.sum() != images:
        raise BottleneckError(f"{way.name} was given {images} images and ran {counts.sum()}")
    first = times[counts > 0].min()
    # A batch may be noted image by image.
    first_images = int(counts[times < first + _AT_ONCE].sum())
    if first_images == images:
        raise BottleneckError(
            f"{way.name} finished all its {images} images at once: measure with more of them"
        )
    run = Run(
        way=way.id,
        round=number,
        images=images,
        precision=table_precision(output / "features") if way.precision == "auto" else way.precision,
        first=float(first),
        first_images=first_images,
        written=float(times[-1]),
        seconds=finished.seconds,
        peak_memory=finished.peak_memory,
    )
    return run, read_features(output / "features", images, way.name)


def _read_marks(path: Path, started: float) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since the process started, and how many images were done at each of these moments."""
    marks = [line.split() for line in path.read_text().splitlines()]
    times = np.array([float(moment) for moment, _ in marks]) - started
    return times, np.array([int(count) for _, count in marks])


def of_way(runs: list[Run], way: str) -> list[Run]:
    """One way's runs, in the order of the rounds."""
    return [run for run in runs if run.way == way]
