"""Sections on extraction: engines, stages, heads from either precision, the two workflows, flatness."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.outputs import Features, check_same, cosines, relative_error
from benchmarks.rounds import OURS, Run, Way, kept_store, of_way, run_way
from benchmarks.setting import Bench, Measured, in_turn, median_of
from benchmarks.tables import gigabytes, number, section_table
from features.machine import processor_has_bfloat16

#: Images between which rate and memory should not change; the small number again after the large one, so that
#: a machine that changes meanwhile shows.
_FLAT = (2_000, 20_000, 2_000)

#: Images that inference alone is measured on.
_INFERRED = 96
_BOTH = ("float32", "bfloat16")


def engines(bench: Bench) -> Measured:
    """Both engines in float32 against Keras: what the main table has not shown yet."""
    job = {"engine": "tensorflow", "precision": "float32"}
    way = Way(f"{OURS}, ENGINE=tensorflow, float32", "this_project", job, "float32", 64, 0)
    output = bench.work / "outputs" / "engines"
    output.mkdir(parents=True)
    _, own = run_way(way, bench.images(64), output, bench.prepared, bench.logs, 1, 64)
    check_same(way.name, own, bench.features[OURS])
    reference = next(features for name, features in bench.features.items() if "Keras guide" in name)
    found = {
        "openvino": relative_error(bench.features[f"{OURS}, float32"], reference),
        "tensorflow": relative_error(own, reference),
        "least_cosine": float(cosines(own, reference).min()),
    }
    rows = [[name, f"{found[name]:.1e}", "≤ 1e-4"] for name in ("openvino", "tensorflow")]
    return section_table("float32 against Keras", ["engine", "relative error", "wanted"], rows), found


#: Ways of inference alone, and the precisions that each has; the first is the reference.
_INFERENCE: list[tuple[str, dict[str, str], tuple[str, ...]]] = [
    ("Keras model.predict", {"way": "Keras"}, _BOTH),
    ("this project's TensorFlow engine", {"way": "ours", "engine": "tensorflow"}, _BOTH),
    ("ONNX Runtime", {"way": "ONNX Runtime"}, ("float32",)),
    ("OpenVINO, hint and queue", {"way": "OpenVINO"}, _BOTH),
    ("this project's OpenVINO engine", {"way": "ours", "engine": "openvino"}, _BOTH),
]


def inference(bench: Bench) -> Measured:
    """The network alone, on pixels in memory, by each engine and precision."""
    prepared, folder = bench.prepared, bench.work / "inference"
    folder.mkdir()
    images = str(bench.images(_INFERRED))
    fast = processor_has_bfloat16()
    jobs = [
        (f"{name}, {precision}", {**job, "precision": precision})
        for name, job, precisions in _INFERENCE
        for precision in precisions
        if fast or precision == "float32"
    ]

    def run(job: dict[str, Any]) -> dict[str, Any]:
        features = str(folder / f"{job['way']}-{job.get('engine')}-{job['precision']}.npy")
        found = bench.task(
            "infer", images=images, features=features, weights=prepared.spec, **prepared._asdict(), **job
        )
        return found | {"rate": found["images"] / found["seconds"], "features": features}

    found = in_turn(jobs, run)
    names = [str(number) for number in range(found[jobs[0][0]][0]["images"])]
    features = {name: Features(names, np.load(own[-1]["features"])) for name, own in found.items()}
    reference = features[jobs[0][0]]
    rows = []
    for name, own in found.items():
        least = cosines(features[name], reference).min()
        error = relative_error(features[name], reference)
        rows.append([name, number(median_of(own, "rate")), f"{least:.6f}", f"{error:.1e}"])
    head = ["way, and precision", "images/s", "least cosine with the first", "relative error"]
    return section_table("Inference alone, pixels in memory", head, rows), found


def stages(bench: Bench) -> Measured:
    """Where the time of a whole process goes, and the threads' seconds within it."""
    own = of_way(bench.runs, OURS)
    phases = {
        "start-up, to the first images' features": median(run.first for run in own),
        "images": median(run.last - run.first for run in own),
        "rows, Parquet and commit": median(run.written - run.last for run in own),
        "summary and end": median(run.seconds - run.written for run in own),
    }
    whole = sum(phases.values())
    rows = [[name, f"{seconds:.2f} s", f"{seconds / whole:.0%}"] for name, seconds in phases.items()]
    text = section_table(f"Where a process of {own[0].images:,} images spends its time", ["", "", ""], rows)
    found = bench.task(
        "stages",
        weights=bench.prepared.spec,
        precision=own[-1].precision,
        images=str(bench.images(own[0].images)),
    )
    threads = sum(found["stages"].values())
    lines = [
        [name, f"{1000 * seconds / found['images']:.2f} ms", f"{seconds / threads:.0%}"]
        for name, seconds in sorted(found["stages"].items())
    ]
    title = f"Threads' time by stage ({found['engine']}, {found['precision']}, {found['streams']} streams)"
    text += "\n\n" + section_table(title, ["stage", "for an image", "share"], lines)
    return text, {"phases": phases, "threads": found}


def head_accuracy(bench: Bench) -> Measured:
    """A logistic head from the features that were just extracted, in both precisions."""
    found = {}
    for way in (OURS, f"{OURS}, float32"):
        store = kept_store(bench.work, way)
        precision = of_way(bench.runs, way)[-1].precision
        found[precision] = bench.task("train", way="ours", kind="logistic", store=str(store))
    rows = [
        [
            precision,
            f"{one['accuracy']:.3f}",
            f"{one['interval'][0]:.3f} to {one['interval'][1]:.3f}",
            f"{one['tested']:,}",
        ]
        for precision, one in found.items()
    ]
    head = ["features in", "test accuracy", "95 % interval", "test images"]
    return section_table("Heads from either precision", head, rows), found


def workflows(bench: Bench) -> Measured:
    """Training through the frozen base, against one pass and training from the store."""
    own = of_way(bench.runs, OURS)
    images = own[0].images
    few = min(images, 160)
    base = bench.task(
        "train_through_base", images=str(bench.images(few)), weights_file=bench.prepared.weights_file
    )
    store = kept_store(bench.work, OURS)
    dense = bench.task("train", way="ours", kind="dense", store=str(store))
    once = median(run.seconds for run in own)
    # The base costs the same for every image: an epoch over more of them is longer in proportion.
    epoch_1 = base["seconds_per_epoch"] * images / base["images"]
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
    text = section_table(
        f"The two workflows, {images:,} images", ["workflow", "one pass", "an epoch", "10 epochs"], rows
    )
    if base["images"] != images:
        text += f"\n\nWorkflow 1 measured on {base['images']:,} images and reckoned for {images:,}."
    return text, {"through_base": base, "from_store": dense, "one_pass": once}


def flatness(bench: Bench) -> Measured:
    """Rate and memory at ten times the images."""
    way = Way(OURS, "this_project", {"precision": "auto"}, None, 0, 0)
    runs = []
    for turn, count in enumerate(_FLAT, start=1):
        output = bench.work / "outputs" / f"flat-{turn}"
        output.mkdir(parents=True)
        run, _ = run_way(way, bench.images(count), output, bench.prepared, bench.logs, turn, count)
        runs.append(run)
    least, most = min(_FLAT), max(_FLAT)
    small = [run for run in runs if run.images == least]
    large = [run for run in runs if run.images == most]
    rows = [
        [f"{run.images:,}", number(run.running), number(run.inferring), gigabytes(run.peak_memory)]
        for run in runs
    ]

    def ratio(figure: Callable[[Run], float]) -> float:
        return median(map(figure, large)) / median(map(figure, small))

    rows.append(
        [
            f"{most:,} / {least:,} (wanted ≥ 0.97; 0.9 to 1.1)",
            f"{ratio(lambda run: run.running):.3f}",
            f"{ratio(lambda run: run.inferring):.3f}",
            f"{ratio(lambda run: run.peak_memory):.2f}",
        ]
    )
    head = ["images", "images/s once running", "images/s, writing left out", "peak memory"]
    return section_table("Flat in size", head, rows), [run._asdict() for run in runs]
