"""Reading the features of a table into one matrix, or through as a stream: ours, and plain pyarrow's."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq

from benchmarks.tasks.common import answer, read_job
from features import store as feature_store
from features.store.table import FeatureTable


def our_matrix(table: FeatureTable) -> int:
    X, _ = table.matrix()
    return len(X)


def pyarrow_matrix(table: FeatureTable) -> int:
    """A whole column to NumPy, as pyarrow's documentation has it."""
    column = pq.ParquetDataset(table.paths).read(columns=["avg_pool"]).column(0)
    return len(np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks]).reshape(-1, 2048))


def our_stream(table: FeatureTable) -> int:
    return sum(len(X) for X, _ in table.batches("train", labelled=True, batch_size=256, shuffle=True))


def pyarrow_stream(table: FeatureTable) -> int:
    """Record batches of one column to NumPy, file by file; nothing is shuffled or left out."""
    rows = 0
    for path in table.paths:
        for batch in pq.ParquetFile(path).iter_batches(1024, columns=["avg_pool"]):
            rows += len(batch.column(0).flatten().to_numpy().reshape(-1, 2048))
    return rows


WAYS: dict[str, Callable[[FeatureTable], int]] = {
    "our matrix": our_matrix,
    "pyarrow matrix": pyarrow_matrix,
    "our stream": our_stream,
    "pyarrow stream": pyarrow_stream,
}

if __name__ == "__main__":
    job = read_job()
    table = feature_store.open(job["store"])
    started = time.perf_counter()
    rows = WAYS[job["way"]](table)
    answer(job, rows=rows, seconds=time.perf_counter() - started)
