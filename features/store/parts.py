"""Parquet part files of the features and of the rejections, written before they are committed.

A part belongs to the table only once a commit names it; a part of a step that failed or was retried
stays an unnamed file, which Delta's `vacuum` removes.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import AddAction

from features import files
from features.splits import SPLITS
from features.store.log import read_part
from features.store.schema import feature_widths
from features.store.vectors import list_values

#: Key of a part's footer: from each run_id of its rows to the decoding (`features.decodings.DECODING`) that
#: they were read by. Parts without it are from before it was recorded: number 0.
_DECODINGS_KEY = b"bottlenecks.decodings"

#: Columns of few values.
_DICTIONARIES = ("labels.list.element", "split", "group", "format", "run_id", "reason")

#: At most; 1,024 rows of 2,048 floats are 8 MiB: small enough to shuffle, large enough to read fast.
ROW_GROUP_ROWS = 1024


class Part(NamedTuple):
    """A written part file.

    Attributes:
        name: within the table's folder.
        size: in bytes.
        rows: how many.
        views: the least and the greatest number of a view; None where no row is a view.
    """

    name: str
    size: int
    rows: int
    views: tuple[int, int] | None = None

    def add_action(self) -> AddAction:
        """The Delta action that makes this part belong to the table."""
        facts: dict[str, Any] = {"numRecords": self.rows}
        if self.views:
            least, most = self.views
            facts |= {"minValues": {"view": least}, "maxValues": {"view": most}, "nullCount": {"view": 0}}
        return AddAction(self.name, self.size, {}, int(time.time() * 1000), True, json.dumps(facts))


def part_at(path: Path) -> Part:
    """The part that a file holds."""
    return Part(path.name, files.info(path).size, files.footer(path).num_rows)


def is_of_run(name: str, run_id: str) -> bool:
    """Whether a part was written for `run_id`: see `write_part`."""
    return name.startswith(f"{run_id}.")


def write_part(
    directory: Path,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    decodings: Mapping[str, int] | None = None,
    *,
    run_id: str | None = None,
) -> Part:
    """Write rows, in any order, as one part file.

    Floats are split by byte and compressed by zstd: their exponents repeat, their mantissas do not, so a
    dictionary would only cost.

    Args:
        directory: the table's folder.
        schema: `features.store.schema.feature_schema`, or that of rejections.
        decodings: see `read_decodings`; of runs that have rows here.
        run_id: the run whose name the file carries.

    Raises:
        ValueError: for a feature column of another width than its layer's, or one with NaN or infinity.
    """
    rows = pa.Table.from_batches(batches, schema).combine_chunks()
    widths = feature_widths(schema)
    layers = list(widths)
    _check_features(rows, widths)
    path = directory / f"{run_id or 'part'}.{uuid.uuid4()}.zstd.parquet"
    with files.parquet_writer(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[column for column in _DICTIONARIES if column.split(".")[0] in schema.names],
        column_encoding={f"{layer}.list.element": "BYTE_STREAM_SPLIT" for layer in layers},
        write_statistics=[column for column in schema.names if column not in layers],
    ) as writer:
        for group in _row_groups(rows):
            writer.write_table(rows.take(group), row_group_size=len(group))
        if decodings:
            writer.add_key_value_metadata({_DECODINGS_KEY: json.dumps(dict(decodings), sort_keys=True)})
    return Part(path.name, files.info(path).size, len(rows), _views(rows))


def rewrite_part(path: Path, uris: pa.Array, schema: pa.Schema, run_id: str | None) -> Part | None:
    """Write a part with the rows of the one at `path` but those of `uris`; None where no rows are left."""
    rows = read_part(path, schema)
    rows = rows.filter(pc.invert(pc.is_in(rows.column("uri"), uris)))
    if not len(rows):
        return None
    runs = set(rows.column("run_id").unique().to_pylist())
    decodings = {run: number for run, number in read_decodings(path).items() if run in runs}
    return write_part(path.parent, rows.to_batches(), schema, decodings, run_id=run_id)


def read_decodings(path: str | Path) -> dict[str, int]:
    """By which decoding the rows of a part were read: from run_id to its number; 0 where it is missing."""
    footer = files.footer(path).metadata or {}
    return json.loads(footer.get(_DECODINGS_KEY, b"{}"))


def _row_groups(rows: pa.Table) -> Iterator[np.ndarray]:
    """Numbers of the rows of each row group.

    Each split has row groups of its own, and in it each view: reading one reads nothing of another, and rows
    that are shuffled together while streaming are hardly ever of one image.
    """
    if "split" in rows.column_names:
        splits = rows.column("split").to_numpy()
        views = rows.column("view").to_numpy() if "view" in rows.column_names else np.zeros(len(rows), int)
        kinds = itertools.product(SPLITS, np.unique(views))
        groups = [np.flatnonzero((splits == split) & (views == view)) for split, view in kinds]
    else:
        groups = [np.arange(len(rows))]
    for group in groups:
        yield from (group[start : start + ROW_GROUP_ROWS] for start in range(0, len(group), ROW_GROUP_ROWS))


def _views(rows: pa.Table) -> tuple[int, int] | None:
    """What a part's log entry says of views, if anything: a table without views has a log without them."""
    if "view" not in rows.column_names or not len(rows):
        return None
    numbers = pc.min_max(rows.column("view")).as_py()
    return (numbers["min"], numbers["max"]) if numbers["max"] else None


def _check_features(rows: pa.Table, widths: Mapping[str, int]) -> None:
    for layer, width in widths.items():
        for chunk in rows.column(layer).chunks:
            if not np.isfinite(list_values(chunk, width)).all():
                raise ValueError(f"column {layer} has NaN or infinite features")
