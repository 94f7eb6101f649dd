"""Reading the features of a table through as a stream: ours, and plain pyarrow's."""

from __future__ import annotations

import time
from collections.abc import Callable

import pyarrow.parquet as pq

from benchmarks.network import LAYER, WIDTH
from benchmarks.tasks.common import answer, read_job
from features import store as feature_store
from features.store.table import FeatureTable


def our_stream(table: FeatureTable) -> int:
    return sum(len(X) for X, _ in table.batches("train", labelled=True, batch_size=256, shuffle=True))


def pyarrow_stream(table: FeatureTable) -> int:
    """Record batches of one column to NumPy, file by file; nothing is shuffled or left out."""
    rows = 0
    for path in table.paths:
        for batch in pq.ParquetFile(path).iter_batches(1024, columns=[LAYER]):
            rows += len(batch.column(0).flatten().to_numpy().reshape(-1, WIDTH))
    return rows


#: By the id that the job names.
WAYS: dict[str, Callable[[FeatureTable], int]] = {"our-stream": our_stream, "pyarrow-stream": pyarrow_stream}

if __name__ == "__main__":
    job = read_job()
    table = feature_store.open(job["store"])
    started = time.perf_counter()
    rows = WAYS[job["way"]](table)
    answer(job, rows=rows, seconds=time.perf_counter() - started)
