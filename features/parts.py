"""Parquet part files of a feature table, written by Beam workers before anything is committed.

A part belongs to the table only once a commit names it; a part of a step that failed or was retried
stays an unnamed file, which Delta's `vacuum` removes.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from features.recipe import LAYER_WIDTHS
from features.splits import SPLITS

#: Key of a part's footer: from each run_id of its rows to the decoding (`features.images.DECODING`) that they
#: were read by. Parts without it are from before it was recorded: number 0.
_DECODINGS_KEY = b"bottlenecks.decodings"

#: At most; 1,024 rows of 2,048 floats are 8 MiB: small enough to shuffle, large enough to read fast.
ROW_GROUP_ROWS = 1024


class Part(NamedTuple):
    """A written part file: its name within the table's folder, bytes and rows."""

    name: str
    size: int
    rows: int

    def add_action(self) -> AddAction:
        """The Delta action that makes this part belong to the table."""
        modified_at = int(time.time() * 1000)
        return AddAction(self.name, self.size, {}, modified_at, True, json.dumps({"numRecords": self.rows}))


def write_part(
    directory: Path,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    decodings: Mapping[str, int] | None = None,
) -> Part:
    """Write record batches, their rows in any order, as one part file. See `write_row_groups`."""
    table = pa.Table.from_batches(batches, schema)
    groups = row_groups(table.column("split").to_pylist())
    return write_row_groups(directory, (table.take(rows) for rows in groups), schema, decodings)


def read_decodings(path: str | Path) -> dict[str, int]:
    """By which decoding the rows of a part were read: from run_id to its number; 0 where it is missing."""
    footer = pq.read_metadata(path).metadata or {}
    return json.loads(footer.get(_DECODINGS_KEY, b"{}"))


def row_groups(splits: Sequence[str]) -> Iterator[np.ndarray]:
    """Numbers of the rows of each row group, given the split of every row.

    Each split has row groups of its own, so that reading one split reads nothing of another.
    """
    found = np.array(splits, object)
    for split in SPLITS:
        rows = np.flatnonzero(found == split)
        yield from (rows[start : start + ROW_GROUP_ROWS] for start in range(0, len(rows), ROW_GROUP_ROWS))


def write_row_groups(
    directory: Path,
    groups: Iterable[pa.Table | pa.RecordBatch],
    schema: pa.Schema,
    decodings: Mapping[str, int] | None = None,
) -> Part:
    """Write one part file of the table in `directory`; one group after the other is held in memory.

    Floats are split by byte and compressed by zstd: their exponents repeat, their mantissas do not, so a
    dictionary would only cost.

    Args:
        directory: the table's folder.
        groups: rows in `schema`, each a row group of the file.
        schema: `features.schema.feature_schema`.
        decodings: see `read_decodings`; of runs that have rows here.

    Raises:
        ValueError: for a feature column of another width than its layer's, or one with NaN or infinity.
    """
    layers = [name for name in schema.names if name in LAYER_WIDTHS]
    name = f"part-{uuid.uuid4()}.zstd.parquet"
    path, count = directory / name, 0
    try:
        with pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=["labels.list.element", "split", "format", "run_id"],
            column_encoding={f"{layer}.list.element": "BYTE_STREAM_SPLIT" for layer in layers},
            write_statistics=[column for column in schema.names if column not in layers],
        ) as writer:
            for group in groups:
                rows = pa.table(group)
                _check_features(rows, layers)
                writer.write_table(rows, row_group_size=len(rows))
                count += len(rows)
            if decodings:
                writer.add_key_value_metadata({_DECODINGS_KEY: json.dumps(dict(decodings), sort_keys=True)})
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Part(name, path.stat().st_size, count)


def _check_features(rows: pa.Table, layers: list[str]) -> None:
    for layer in layers:
        for chunk in rows.column(layer).chunks:
            if not np.isfinite(list_values(chunk, LAYER_WIDTHS[layer])).all():
                raise ValueError(f"column {layer} has NaN or infinite features")


def list_values(column: pa.ListArray, width: int) -> np.ndarray:
    """A list column's floats as a view of shape (rows, width), without a copy.

    Raises:
        ValueError: where a row is null or not `width` long.
    """
    offsets = column.offsets.to_numpy()
    if column.null_count or (np.diff(offsets) != width).any():
        raise ValueError(f"expected rows of {width} features each, found others")
    return column.flatten().to_numpy(zero_copy_only=True).reshape(-1, width)
