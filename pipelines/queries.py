"""Queries over part files and columns, by DuckDB; what does not fit in memory goes to a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from features.locations import local_path
from features.machine import available_memory, usable_cores

#: Share of the memory that is free which a query may take, and what it may where nobody knows, in bytes.
_SHARE = 0.4
_UNKNOWN = 2**32


def connect() -> duckdb.DuckDBPyConnection:
    """A data base in memory, of this machine's cores and part of its memory."""
    memory = int((available_memory() or _UNKNOWN / _SHARE) * _SHARE)
    return duckdb.connect(
        config={
            "threads": usable_cores(),
            "memory_limit": f"{memory}B",
            "preserve_insertion_order": False,
            "temp_directory": tempfile.gettempdir(),
            "autoinstall_known_extensions": False,  # never from the network
        },
    )


def parts_relation(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], schema: pa.Schema) -> str:
    """What stands for the rows of part files after FROM, with the number of their path in `file_index`."""
    if paths:
        texts = ", ".join("'" + local_path(path).replace("'", "''") + "'" for path in paths)
        return f"read_parquet([{texts}], hive_partitioning = false)"
    name = f"no_rows_{len(schema)}"
    connection.register(name, schema.append(pa.field("file_index", pa.int64())).empty_table())
    return name
