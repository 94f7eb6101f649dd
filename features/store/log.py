"""The files that make up a version of a Delta table, by its log, and their rows.

They are read with pyarrow. DeltaTable's own readers, `to_pyarrow_table` and `to_pandas`, were seen to abort
processes at their exit: 21 and 3 of 50 that did nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from features import files
from features.schemas import to_schema

_READERS = 2


def open_delta(folder: Path, version: int | None = None) -> DeltaTable:
    """The Delta table in a folder; the newest version by default."""
    return DeltaTable(files.delta_uri(folder), version=version)


class LoggedParts(NamedTuple):
    """What the log says of the Parquet files of a version.

    Attributes:
        names: in the table's folder, sorted.
        views: the greatest number of a view; 0 where there are none.
    """

    names: list[str]
    views: int


def logged_parts(delta: DeltaTable) -> LoggedParts:
    """The parts of a version."""
    actions = pa.table(delta.get_add_actions(flatten=True))
    views = actions.column("max.view") if "max.view" in actions.column_names else None
    return LoggedParts(
        sorted(actions.column("path").to_pylist()), 0 if views is None else pc.max(views).as_py() or 0
    )


def part_names(delta: DeltaTable) -> list[str]:
    """The Parquet files of a version, by their names in the table's folder, sorted."""
    return logged_parts(delta).names


def read_part(path: str | Path, schema: pa.Schema) -> pa.Table:
    """The rows of a Parquet file, with the columns of `schema` alone."""
    return to_schema(files.parquet_file(path).read(schema.names, use_threads=False), schema)


def read_parts(paths: Sequence[str | Path], schema: pa.Schema) -> pa.Table:
    """The rows of Parquet files in the order of the files, as `read_part`."""
    with ThreadPoolExecutor(_READERS) as pool:
        parts = pool.map(lambda path: read_part(path, schema), paths)
        return pa.concat_tables([schema.empty_table(), *parts])
