"""The files that make up a version of a Delta table, by its log, and their rows.

They are read with pyarrow. DeltaTable's own readers, `to_pyarrow_table` and `to_pandas`, were seen to abort
processes at their exit: 21 and 3 of 50 that did nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

_READERS = 2


def part_names(delta: DeltaTable) -> list[str]:
    """The Parquet files of a version, by their names in the table's folder, sorted."""
    return sorted(pa.table(delta.get_add_actions(flatten=True)).column("path").to_pylist())


def read_parts(paths: Sequence[str | Path], schema: pa.Schema) -> pa.Table:
    """The rows of Parquet files in the order of the files, with the columns of `schema` alone."""

    def read(path: str | Path) -> pa.Table:
        return pq.ParquetFile(path).read(schema.names, use_threads=False).select(schema.names).cast(schema)

    with ThreadPoolExecutor(_READERS) as pool:
        return pa.concat_tables([schema.empty_table(), *pool.map(read, paths)])
