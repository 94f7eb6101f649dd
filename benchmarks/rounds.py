"""The main table's measurement: every way in turn, over several rounds, each time in a fresh process."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.images import Photo, lay_out
from benchmarks.outputs import Features, check_same, read_features, table_precision
from benchmarks.prepare import Prepared
from benchmarks.processes import run_module
from features.errors import BottleneckError
from features.machine import processor_has_bfloat16

#: The way that the others are measured against.
OURS = "this project"


@dataclasses.dataclass(frozen=True)
class Way:
    """One row of the main table.

    Attributes:
        name: what the row is called.
        module: its program, in `benchmarks.ways`.
        job: what differs in its job from the other ways'.
        precision: what it computes in; None where it decides itself.
        images: how many it gets at most, in a full benchmark and in a quick one: slow ways get fewer.
        quick: whether it is part of the quick benchmark.
    """

    name: str
    module: str
    job: dict[str, str]
    precision: str | None
    images: int
    quick_images: int
    quick: bool = True


_MANY = 10**9

#: Seconds within which images count as done at the same time.
_AT_ONCE = 0.02


def ways(*, quick: bool) -> list[Way]:
    """The ways to measure on this machine; without bfloat16 in the processor, none that asks for it."""
    float32, bfloat16 = {"precision": "float32"}, {"precision": "bfloat16"}
    found = [
        Way(OURS, "this_project", {"precision": "auto"}, None, _MANY, 320),
        Way("bare OpenVINO loop", "openvino_loop", bfloat16, "bfloat16", _MANY, 320),
        Way(f"{OURS}, float32", "this_project", float32, "float32", _MANY, 128),
        Way("bare OpenVINO loop, float32", "openvino_loop", float32, "float32", _MANY, 160),
        Way(
            f"{OURS}, ENGINE=tensorflow",
            "this_project",
            {"engine": "tensorflow", **bfloat16},
            "bfloat16",
            _MANY,
            0,
            quick=False,
        ),
        Way("ONNX Runtime, 2 decoding threads", "onnx_runtime", {}, "float32", _MANY, 0, quick=False),
        Way("the Keras guide: tf.data, model.predict", "keras_guide", {}, "float32", _MANY, 96),
        Way("stock Beam RunInference, WriteToParquet", "beam_inference", {}, "float32", 120, 40),
        Way("plain Beam DoFn, WriteToParquet", "beam_dofn", {}, "float32", 40, 0, quick=False),
    ]
    fast = processor_has_bfloat16()
    return [
        way for way in found if (way.quick or not quick) and (fast or way.job.get("precision") != "bfloat16")
    ]


class Run(NamedTuple):
    """What one way did in one round. Seconds count from the start of its process.

    Attributes:
        images: how many there were.
        precision: what it computed in.
        first, first_images: when the first images had their features, and how many these were.
        last: when the last one had.
        written: when all features were on the disk.
        seconds: when the process had ended.
        peak_memory: bytes.
    """

    way: str
    round: int
    images: int
    precision: str
    first: float
    first_images: int
    last: float
    written: float
    seconds: float
    peak_memory: int

    @property
    def running(self) -> float:
        """Images/s once running: from the first images' features until all features are on the disk."""
        return (self.images - self.first_images) / (self.written - self.first)

    @property
    def inferring(self) -> float:
        """Images/s from the first images' features to the last ones', writing left out."""
        return (self.images - self.first_images) / (self.last - self.first)

    def whole(self, images: int) -> float:
        """Images/s of a whole process over `images`; reckoned by `running` where it had fewer."""
        return images / (self.seconds + (images - self.images) / self.running)


def measure(
    chosen: list[Way],
    photos: list[Photo],
    prepared: Prepared,
    folder: Path,
    logs: Path,
    *,
    rounds: int,
    images: int,
    quick: bool,
    seconds: float,
    say: Callable[[str], None],
) -> tuple[list[Run], dict[str, Features]]:
    """Run every way once a round; all runs, and each way's features of the last round.

    The stores that this project wrote last stay in `folder`: see `kept_store`.

    Args:
        images: how many a way gets, unless it is a slow one.
        seconds: no round is begun that would probably end later.
        say: told of each run.

    Raises:
        BottleneckError: where a way fails, leaves images out, or its features are others than ours.
    """
    runs: list[Run] = []
    features: dict[str, Features] = {}
    started = time.monotonic()
    for number in range(1, rounds + 1):
        if (time.monotonic() - started) * number / max(number - 1, 1) > seconds:
            say(f"  no time left for round {number}")
            break
        for way in chosen:
            count = min(images, way.quick_images if quick else way.images)
            inputs = folder / "images" / str(count)
            if not inputs.is_dir():
                lay_out(photos, inputs, count)
            output = kept_store(folder, way.name).parent
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True)
            run, features[way.name] = run_way(way, inputs, output, prepared, logs, number, count)
            runs.append(run)
            check_same(way.name, features[way.name], features[OURS])
            say(
                f"  round {number} of {rounds}: {way.name}: {run.running:.1f} images/s once running, "
                f"{run.seconds:.1f} s for {count}"
            )
    return runs, features


def run_way(
    way: Way,
    inputs: Path,
    output: Path,
    prepared: Prepared,
    logs: Path,
    round_number: int,
    images: int,
) -> tuple[Run, Features]:
    """Run one way once, in a process of its own.

    Raises:
        BottleneckError: where it fails or leaves images out.
    """
    job: dict[str, Any] = {
        "images": str(inputs),
        "output": str(output / "features"),
        "marks": str(output / "marks"),
        "weights": prepared.spec,
        "weights_file": prepared.weights_file,
        "graph": prepared.graph,
        "onnx": prepared.onnx,
        **way.job,
    }
    module = f"benchmarks.ways.{way.module}"
    finished = run_module(module, job, logs / f"{_file_name(way.name)}.log")
    marks = [line.split() for line in (output / "marks").read_text().splitlines()]
    times = np.array([float(moment) for moment, _ in marks]) - finished.started
    counts = np.array([int(count) for _, count in marks])
    if counts.sum() != images:
        raise BottleneckError(f"{way.name} was given {images} images and ran {counts.sum()}")
    done = np.flatnonzero(counts)
    first = times[done[0]]
    # A batch may be told image by image.
    first_images = int(counts[times < first + _AT_ONCE].sum())
    if first_images == images:
        raise BottleneckError(
            f"{way.name} had all its {images} images done at once: measure with more of them"
        )
    run = Run(
        way=way.name,
        round=round_number,
        images=images,
        precision=way.precision or table_precision(output / "features"),
        first=float(first),
        first_images=first_images,
        last=float(times[done[-1]]),
        written=float(times[-1]),
        seconds=finished.seconds,
        peak_memory=finished.peak_memory,
    )
    return run, read_features(output / "features", images, way.name)


def kept_store(folder: Path, way: str) -> Path:
    """Where a way of this project has its store, within the folder given to `measure`."""
    return folder / "outputs" / _file_name(way) / "features"


def _file_name(way: str) -> str:
    return re.sub(r"[^\w.]+", "-", way)


def of_way(runs: Iterable[Run], name: str) -> list[Run]:
    """One way's runs, in the order of the rounds."""
    return [run for run in runs if run.way == name]
