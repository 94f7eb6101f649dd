"""Sections on the table: a run with nothing to do, heads, loading a matrix, training from a stream."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.processes import run_python
from benchmarks.setting import ROUNDS, Bench, Measured, in_turn, median_of
from benchmarks.tables import gigabytes, section_table


def heads(bench: Bench) -> Measured:
    """Training on 3,000 rows: this project from the store, scikit-learn and Keras in memory."""
    store = str(bench.made_up(3000))
    ways: list[tuple[str, dict[str, Any]]] = [
        ("logistic head", {"way": "ours", "kind": "logistic"}),
        ("scikit-learn, grid search", {"way": "scikit-learn"}),
        ("dense head", {"way": "ours", "kind": "dense"}),
        ("Keras, the same network in memory", {"way": "Keras"}),
    ]
    found = in_turn(ways, lambda job: bench.task("train", store=store, **job))
    rows = []
    for name, own in found.items():
        rows.append(
            [
                name,
                f"{median_of(own, 'seconds'):.2f} s",
                f"{median_of(own, 'process_seconds'):.2f} s",
                f"{1000 * median_of(own, 'seconds_per_epoch'):.0f} ms" if "epochs" in own[0] else "–",
                f"{own[0]['accuracy']:.3f}",
                gigabytes(median_of(own, "peak_memory")),
            ]
        )
    head = ["way", "training", "whole process", "an epoch", "test accuracy", "peak memory"]
    return section_table("Heads, 3,000 × 2,048 made-up features", head, rows), found


def nothing_to_do(bench: Bench) -> Measured:
    """`bottlenecks extract` where every image is stored already."""
    found: dict[str, list[dict[str, float]]] = {}
    for rows, wanted in ((10_000, 2.0), (100_000, 6.0)):
        store = bench.made_up(rows)
        command = ["-m", "pipelines.cli", "extract", f"--data={store.parent / 'data'}", f"--store={store}"]
        for _ in range(ROUNDS):
            finished = run_python(command, bench.logs / "nothing-to-do.log")
            one = {"seconds": finished.seconds, "peak_memory": finished.peak_memory, "wanted": wanted}
            found.setdefault(f"{rows:,}", []).append(one)
    lines = [
        [
            rows,
            f"{median_of(own, 'seconds'):.2f} s",
            f"≤ {own[0]['wanted']:g} s",
            gigabytes(median_of(own, "peak_memory")),
        ]
        for rows, own in found.items()
    ]
    head = ["images stored", "whole process", "wanted", "peak memory"]
    return section_table("A run with nothing to do", head, lines), found


def reading(bench: Bench) -> Measured:
    """A matrix of 100,000 rows: this project, and plain pyarrow."""
    store = str(bench.made_up(100_000))
    ways = [(way, {"way": way}) for way in ("our matrix", "pyarrow matrix")]
    found = in_turn(ways, lambda job: bench.task("read_table", store=store, **job))
    ours, plain = found["our matrix"], found["pyarrow matrix"]
    times = median(a["seconds"] / b["seconds"] for a, b in zip(ours, plain, strict=True))
    rows = [
        [
            name,
            f"{median_of(own, 'seconds'):.2f} s",
            gigabytes(median_of(own, "peak_memory")),
            f"{times:.2f} × (wanted ≤ 1.2 ×)" if name == "our matrix" else "1 ×",
        ]
        for name, own in found.items()
    ]
    head = ["way", "100,000 × 2,048 to NumPy", "peak memory", "time"]
    return section_table("Loading a matrix", head, rows), found


def streaming(bench: Bench, rows: int) -> Measured:
    """Training the dense head as a stream, against the rate at which pyarrow reads the column."""
    store = str(bench.made_up(rows))

    def run(job: dict[str, Any]) -> dict[str, Any]:
        one = bench.task(store=store, **job)
        if job["module"] == "train":
            # An epoch is a pass over the train and the validation split: the rest is tested on.
            return one | {"rate": (rows - one["tested"]) / one["seconds_per_epoch"]}
        return one | {"rate": one["rows"] / one["seconds"]}

    training = {"module": "train", "way": "ours", "kind": "dense", "parameters": {"epochs": 3}}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("pyarrow, batch by batch", {"module": "read_table", "way": "pyarrow stream"}),
        ("our shuffled stream", {"module": "read_table", "way": "our stream"}),
        ("dense head, training", training),
    ]
    found = in_turn(ways, run)
    plain = found["pyarrow, batch by batch"]
    lines = []
    for name, own in found.items():
        share = median(one["rate"] / other["rate"] for one, other in zip(own, plain, strict=True))
        wanted = " (wanted ≥ 0.7)" if name == "dense head, training" else ""
        memory = gigabytes(median_of(own, "peak_memory"))
        lines.append([name, f"{median_of(own, 'rate'):,.0f}", f"{share:.2f}{wanted}", memory])
    head = ["way", "rows/s", "of pyarrow's rate", "peak memory"]
    return section_table(f"Streaming {rows:,} × 2,048 features", head, lines), found
