"""What others did to a table since a change was planned, and what the change then comes to."""

from __future__ import annotations

import collections
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features import files
from features.schemas import to_schema

#: Rows of either table: which image, in which part file, which state of its file, and when it was written.
#: `image_id` is null for a rejection.
STORED_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("modified_at", pa.timestamp("us", tz="UTC")),
        pa.field("image_id", pa.string()),
        pa.field("written_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: Rows that a change brings: `features` is false for a rejection.
BROUGHT_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("modified_at", pa.timestamp("us", tz="UTC")),
        pa.field("features", pa.bool_(), nullable=False),
    ]
)


class Settled(NamedTuple):
    """What a change comes to.

    Attributes:
        left_out: uris of images that it brings in vain.
        leaving: from part file to the uris whose rows leave it.
    """

    left_out: pa.Array
    leaving: dict[str, pa.Array]


def settle(brought: pa.Table, outdated: pa.Table, since: pa.Table, parts: Collection[str]) -> Settled:
    """Decide what of a change still holds.

    For an image that others added or rejected, the later `modified_at` wins; at equal times features win over
    a rejection, and then what is there. An outdated row leaves only if it still is the one that the plan saw;
    where it is missing and nothing else is there, others removed the image, and what is brought of it is left
    out.

    Args:
        brought: in `BROUGHT_SCHEMA`.
        outdated: rows that the plan saw and wants to leave, in `STORED_SCHEMA`.
        since: rows of these images in parts that others wrote since the plan, in `STORED_SCHEMA`.
        parts: all part files that there are now.
    """
    there = pc.is_in(outdated.column("part"), pa.array(parts, pa.string()))
    missing = outdated.filter(pc.invert(there))
    leaving = outdated.filter(there)
    unclear = pa.concat_tables([since, missing]).column("uri").unique()
    if not len(unclear):
        return Settled(pa.array([], pa.string()), _by_part(leaving))
    mine = {row["uri"]: row for row in among(brought, unclear).to_pylist()}
    planned = {row["uri"]: row for row in among(outdated, unclear).to_pylist()}
    others: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for row in [*among(leaving, unclear).to_pylist(), *since.to_pylist()]:
        others[row["uri"]].append(row)
    left_out: list[str] = []
    taken: list[dict[str, Any]] = []
    for uri in unclear.to_pylist():
        same = [row for row in others[uri] if _is_same(row, planned.get(uri))]
        different = [row for row in others[uri] if not _is_same(row, planned.get(uri))]
        if uri not in mine:
            taken += same
        elif (uri in planned and not others[uri]) or not all(_wins(mine[uri], row) for row in different):
            left_out.append(uri)
        else:
            taken += same + different
    clear = leaving.filter(pc.invert(pc.is_in(leaving.column("uri"), unclear)))
    more = pa.Table.from_pylist(taken, STORED_SCHEMA)
    return Settled(pa.array(left_out, pa.string()), _by_part(pa.concat_tables([clear, more])))


def rows_of_parts(features: Iterable[str | Path], rejected: Iterable[str | Path], uris: pa.Array) -> pa.Table:
    """The rows of some images in part files of the two tables, in `STORED_SCHEMA`, without views."""

    def read(path: str | Path, written_at: str, *more: str, **others: Any) -> pa.Table:
        names = ["uri", "size", "modified_at", written_at, *more]
        rows = among(files.parquet_file(path).read(names, use_threads=False), uris)
        if "view" in more:
            rows = rows.filter(pc.equal(rows.column("view"), 0))
        others |= {"part": os.path.basename(path), "written_at": rows.column(written_at)}
        return to_schema(rows, STORED_SCHEMA, **others)

    tables = [read(path, "extracted_at", "image_id", "view") for path in features]
    tables += [read(path, "rejected_at", image_id=None) for path in rejected]
    return pa.concat_tables([STORED_SCHEMA.empty_table(), *tables])


def among(rows: pa.Table, uris: pa.Array | Sequence[str]) -> pa.Table:
    """The rows of these images."""
    return rows.filter(pc.is_in(rows.column("uri"), pa.array(uris, pa.string())))


def _is_same(row: dict[str, Any], planned: dict[str, Any] | None) -> bool:
    names = ("size", "modified_at", "image_id", "written_at")
    return planned is not None and all(row[name] == planned[name] for name in names)


def _wins(mine: dict[str, Any], other: dict[str, Any]) -> bool:
    return (*_time(mine), mine["features"]) > (*_time(other), other["image_id"] is not None)


def _time(row: dict[str, Any]) -> tuple[bool, Any]:
    """Sorts by the time of change, an unknown one first."""
    return row["modified_at"] is not None, row["modified_at"]


def _by_part(rows: pa.Table) -> dict[str, pa.Array]:
    groups = rows.select(["part", "uri"]).group_by("part", use_threads=False).aggregate([("uri", "list")])
    return {
        part.as_py(): uris.values
        for part, uris in zip(*groups.select(["part", "uri_list"]).columns, strict=True)
    }
