"""Sections on extraction: the main table, accuracy, inference alone, stages, the two workflows, flatness."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from benchmarks.main_table import main_table
from benchmarks.outputs import Features, cosines, relative_error
from benchmarks.report import Section
from benchmarks.rounds import measure, of_way, run_way
from benchmarks.setting import Bench, median_of
from benchmarks.tables import gigabytes, markdown, number
from benchmarks.ways import NAMES, OURS
from features.machine import processor_has_bfloat16

#: Images between which rate and memory should not change; the small number again after the large one, so that
#: a machine that changes meanwhile shows.
_FLAT = (2_000, 20_000, 2_000)
#: Images that inference alone is measured on.
_INFERRED = 96
#: Images that workflow 1 is measured on at most: it takes as long for each of them, at every epoch.
_THROUGH_BASE = 160

_BOTH = ("float32", "bfloat16")
#: Inference alone: ids, with their names and the precisions that each has. The first is the reference.
_INFERENCE: dict[str, tuple[str, tuple[str, ...]]] = {
    "keras": ("Keras model.predict", _BOTH),
    "ours-tensorflow": ("this project's TensorFlow engine", _BOTH),
    "onnx-runtime": ("ONNX Runtime", ("float32",)),
    "openvino": ("OpenVINO, hint and queue", _BOTH),
    "ours-openvino": ("this project's OpenVINO engine", _BOTH),
}


def extraction(bench: Bench, images: int, *, quick: bool) -> Section:
    """The main table; the runs stay in `bench`."""
    measure(bench, images, quick=quick)
    rounds = max(run.round for run in bench.runs)
    text = (
        f"Rounds: {rounds}; in brackets the range over them. Once running: from the first batch's features "
        f"until all features are on the disk. Start-up: from the start of the process to the first batch's "
        f"features. Ratio: images/s of this project over those of the way in that row."
    )
    figures = [run._asdict() | {"running": run.running, "whole": run.whole(images)} for run in bench.runs]
    return Section("extraction", "Extraction", f"{text}\n\n{main_table(bench.runs, images)}", figures)


def accuracy(bench: Bench) -> Section:
    """Each way's features against the Keras guide's, from the very files they wrote."""
    reference = bench.features["keras-guide"]
    figures: dict[str, dict[str, Any]] = {}
    rows = []
    for way, features in bench.features.items():
        if features is reference:
            continue
        precision = of_way(bench.runs, way)[-1].precision
        figures[way] = {"precision": precision, **_nearness(features, reference)}
        rows.append([NAMES[way], precision, *_shown(figures[way])])
    head = ["way", "precision", "least cosine", "relative error"]
    text = (
        f"{markdown(head, rows)}\n\n"
        f"Relative error: the length of the difference over that of the features, of the worst image."
    )
    return Section("accuracy", "Same features as the Keras guide's", text, figures)


def _nearness(features: Features, reference: Features) -> dict[str, float]:
    return {
        "least_cosine": float(cosines(features, reference).min()),
        "relative_error": relative_error(features, reference),
    }


def _shown(nearness: dict[str, Any]) -> list[str]:
    return [f"{nearness['least_cosine']:.6f}", f"{nearness['relative_error']:.1e}"]


def inference(bench: Bench) -> Section:
    """The network alone, on pixels in memory, by each engine and precision."""
    folder, images = bench.work, str(bench.images(_INFERRED))
    fast = processor_has_bfloat16()
    ways = {
        f"{way}-{precision}": (f"{name}, {precision}", {"way": way, "precision": precision})
        for way, (name, precisions) in _INFERENCE.items()
        for precision in precisions
        if fast or precision == "float32"
    }

    def run(way: str) -> dict[str, Any]:
        job = bench.prepared._asdict() | ways[way][1]
        result = bench.task("infer", images=images, file=str(folder / f"{way}.npy"), **job)
        return {"rate": result["images"] / result["seconds"]}

    measured = bench.in_turn(ways, run)
    features = {way: _numbered(np.load(folder / f"{way}.npy")) for way in ways}
    reference = next(iter(features.values()))
    nearness = {way: _nearness(own, reference) for way, own in features.items()}
    rows = [
        [ways[way][0], number(median_of(rounds, "rate")), *_shown(nearness[way])]
        for way, rounds in measured.items()
    ]
    text = markdown(["way, and precision", "images/s", "least cosine with the first", "relative error"], rows)
    figures = {"rates": measured, "accuracy": nearness}
    return Section("inference", "Inference alone, pixels in memory", text, figures)


def _numbered(X: np.ndarray) -> Features:
    return Features([str(row) for row in range(len(X))], X)


def stages(bench: Bench) -> Section:
    """Where the time of an extraction goes: seconds of all threads together, by stage."""
    own = of_way(bench.runs, OURS.id)[-1]
    result = bench.task(
        "stages",
        weights=bench.prepared.weights,
        precision=own.precision,
        images=str(bench.images(own.images)),
    )
    threads = sum(result["stages"].values())
    rows = [
        [name, f"{1000 * seconds / own.images:.2f} ms", f"{seconds / threads:.0%}"]
        for name, seconds in sorted(result["stages"].items())
    ]
    text = markdown(["stage", "time of all threads for an image", "share"], rows)
    return Section("stages", "Where the time goes", text, result["stages"])


def workflows(bench: Bench) -> Section:
    """Training through the frozen base, against one pass and training from the store."""
    own = of_way(bench.runs, OURS.id)
    images = own[0].images
    few = min(images, _THROUGH_BASE)
    inputs = str(bench.images(few))
    base = bench.task("train_through_base", images=inputs, weights_file=bench.prepared.weights_file)
    store = str(bench.output(OURS.id) / "features")
    dense = bench.task("train", way="ours-dense", store=store)
    once = median(run.seconds for run in own)
    # The base costs the same for every image: an epoch over more of them is longer in proportion.
    epoch_1 = base["seconds_per_epoch"] * images / few
    epoch_2 = dense["seconds_per_epoch"]
    rows = [
        ["1: through the frozen base", "–", f"{number(epoch_1)} s", f"{number(10 * epoch_1)} s"],
        [
            "2: one pass, then from the store",
            f"{number(once)} s",
            f"{epoch_2:.3f} s",
            f"{number(once + 10 * epoch_2)} s",
        ],
    ]
    text = markdown(["workflow", "one pass", "an epoch", "10 epochs"], rows)
    if few != images:
        text += f"\n\nWorkflow 1 measured on {few:,} images and extrapolated to {images:,}."
    figures = {"epoch_through_base": epoch_1, "one_pass": once, "epoch_from_store": epoch_2}
    return Section("workflows", f"The two workflows, {images:,} images", text, figures)


def flatness(bench: Bench) -> Section:
    """Rate and memory at ten times the images."""
    # In a folder of its own: other sections read the store that the main table left.
    way = OURS._replace(id="ours-flat")
    runs = [run_way(bench, way, turn, count)[0] for turn, count in enumerate(_FLAT, start=1)]
    least, most = min(_FLAT), max(_FLAT)
    rows = [[f"{run.images:,}", number(run.running), gigabytes(run.peak_memory)] for run in runs]
    rate, memory = (
        median(getattr(run, figure) for run in runs if run.images == most)
        / median(getattr(run, figure) for run in runs if run.images == least)
        for figure in ("running", "peak_memory")
    )
    rows.append([f"{most:,} / {least:,}", f"{rate:.3f}", f"{memory:.2f}"])
    text = markdown(["images", "images/s once running", "peak memory"], rows)
    return Section("flatness", "Flat in size", text, [run._asdict() for run in runs])
