"""The files that make up a version of a Delta table, by its log, and their rows.

They are read with pyarrow. DeltaTable's own readers, `to_pyarrow_table` and `to_pandas`, were seen to abort
processes
at their exit: 21 and 3 of 50 that did nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

_READERS = 2


def part_paths(delta: DeltaTable, folder: Path) -> list[str]:
    """The Parquet files of the table in `folder`, in an order that depends on nothing else."""
    names = pa.table(delta.get_add_actions(flatten=True)).column("path").to_pylist()
    return [str(folder / name) for name in sorted(names)]


def read_parts(paths: Sequence[str], schema: pa.Schema) -> pa.Table:
    """The rows of Parquet files in the order of the files, with the columns of `schema` alone."""

    def read(path: str) -> pa.Table:
        return pq.ParquetFile(path).read(schema.names, use_threads=False).select(schema.names).cast(schema)

    with ThreadPoolExecutor(_READERS) as pool:
        return pa.concat_tables([schema.empty_table(), *pool.map(read, paths)])
