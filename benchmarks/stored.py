"""Sections on what follows an extraction: a run with nothing to do, heads, training from a stream."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.network import WIDTH
from benchmarks.processes import run_python
from benchmarks.report import Section
from benchmarks.setting import Bench, median_of
from benchmarks.tables import gigabytes, markdown

_HEADS = {
    "ours-logistic": "logistic head",
    "scikit-learn": "scikit-learn, grid search",
    "ours-dense": "dense head",
    "keras": "Keras, the same network in memory",
}
_STREAMS = {
    "pyarrow-stream": "pyarrow, batch by batch",
    "our-stream": "our shuffled stream",
    "ours-dense": "dense head, training",
}


def heads(bench: Bench) -> Section:
    """Training on 3,000 rows: this project from the store, scikit-learn and Keras in memory."""
    store = str(bench.made_up(3000))
    measured = bench.in_turn(_HEADS, lambda way: bench.task("train", way=way, store=store))
    rows = [
        [
            _HEADS[way],
            f"{median_of(rounds, 'seconds'):.2f} s",
            f"{median_of(rounds, 'process_seconds'):.2f} s",
            f"{median_of(rounds, 'seconds_per_epoch'):.3f} s" if "seconds_per_epoch" in rounds[0] else "–",
            f"{rounds[0]['accuracy']:.3f}",
            gigabytes(median_of(rounds, "peak_memory")),
        ]
        for way, rounds in measured.items()
    ]
    head = ["way", "training", "whole process", "an epoch", "test accuracy", "peak memory"]
    return Section("heads", f"Heads, 3,000 × {WIDTH:,} made-up features", markdown(head, rows), measured)


def nothing_to_do(bench: Bench) -> Section:
    """`bottlenecks extract` where every image is stored already."""

    def run(images: str) -> dict[str, Any]:
        store = bench.made_up(int(images))
        command = ["-m", "pipelines.cli", "extract", f"--data={store.parent / 'data'}", f"--store={store}"]
        finished = run_python(command, bench.logs / "nothing-to-do.log")
        return {"seconds": finished.seconds, "peak_memory": finished.peak_memory}

    measured = bench.in_turn(["10000", "100000"], run)
    rows = [
        [
            f"{int(images):,}",
            f"{median_of(rounds, 'seconds'):.2f} s",
            gigabytes(median_of(rounds, "peak_memory")),
        ]
        for images, rounds in measured.items()
    ]
    text = markdown(["images stored", "whole process", "peak memory"], rows)
    return Section("nothing_to_do", "A run with nothing to do", text, measured)


def streaming(bench: Bench, rows: int) -> Section:
    """Training the dense head as a stream, against the rate at which pyarrow reads the column."""
    store = str(bench.made_up(rows))

    def run(way: str) -> dict[str, Any]:
        if way != "ours-dense":
            one = bench.task("read_table", way=way, store=store)
            return {"rate": one["rows"] / one["seconds"], "peak_memory": one["peak_memory"]}
        one = bench.task("train", way=way, store=store, parameters={"epochs": 3})
        # An epoch is a pass over the train and the validation split: the rest is tested on.
        rate = (rows - one["tested"]) / one["seconds_per_epoch"]
        return {"rate": rate, "peak_memory": one["peak_memory"]}

    measured = bench.in_turn(_STREAMS, run)
    plain = measured["pyarrow-stream"]
    lines = []
    for way, rounds in measured.items():
        share = median(one["rate"] / other["rate"] for one, other in zip(rounds, plain, strict=True))
        memory = gigabytes(median_of(rounds, "peak_memory"))
        lines.append([_STREAMS[way], f"{median_of(rounds, 'rate'):,.0f}", f"{share:.2f}", memory])
    text = markdown(["way", "rows/s", "of pyarrow's rate", "peak memory"], lines)
    return Section("streaming", f"Streaming {rows:,} × {WIDTH:,} features", text, measured)
