"""What a run has to do: the listed images against the two tables. Imports neither Beam nor TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.commit import rejected_rows
from features.inputs.reference import ImageRef
from features.splits import assign_split
from features.table import FeatureTable


class Plan(NamedTuple):
    """What there is to do for one version of the table.

    Attributes:
        version: of the feature table, as the plan was made.
        todo: images to extract, in the listing's order.
        replaced: uris among them that have rows already, of an image that has since changed.
        stored, rejected: how many listed images the tables hold, unchanged.
        gone: how many stored images are no longer listed; their rows stay.
    """

    version: int
    todo: list[ImageRef]
    replaced: frozenset[str]
    stored: int
    rejected: int
    gone: int


def make_plan(images: list[ImageRef], table: FeatureTable, *, retry_rejected: bool = False) -> Plan:
    """Compare the listing with what is stored, by size and time of change: no image is read.

    An image is extracted again when its file, its labels or its given split changed.

    Args:
        retry_rejected: try rejected images again though they did not change.
    """
    stored = _stored(table)
    rejected = _rejected(table)
    todo, replaced = [], []
    counts = {"stored": 0, "rejected": 0}
    for image in images:
        facts = stored.get(image.uri)
        if facts is not None and _unchanged(image, facts):
            counts["stored"] += 1
        elif rejected.get(image.uri) == (image.size, image.modified_at) and not retry_rejected:
            counts["rejected"] += 1
        else:
            todo.append(image)
            if facts is not None or image.uri in rejected:
                replaced.append(image.uri)
    gone = len(stored.keys() - {image.uri for image in images})
    return Plan(table.version, todo, frozenset(replaced), counts["stored"], counts["rejected"], gone)


class _Stored(NamedTuple):
    size: int
    modified_at: int
    labels: list[str]
    split: str
    image_id: str


def _stored(table: FeatureTable) -> dict[str, _Stored]:
    rows = table.metadata(["uri", "view", "size", "modified_at", "labels", "split", "image_id"])
    rows = rows.filter(pc.equal(rows.column("view"), 0))
    columns = [_plain(rows.column(name)) for name in _Stored._fields]
    return dict(zip(_plain(rows.column("uri")), map(_Stored._make, zip(*columns, strict=True)), strict=True))


def _rejected(table: FeatureTable) -> dict[str, tuple[int | None, int | None]]:
    rows = rejected_rows(table)
    facts = zip(_plain(rows.column("size")), _plain(rows.column("modified_at")), strict=True)
    return dict(zip(_plain(rows.column("uri")), facts, strict=True))


def _plain(column: pa.ChunkedArray) -> list:
    """A column as Python values, times as microseconds since the epoch."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return column.to_pylist()


def _unchanged(image: ImageRef, stored: _Stored) -> bool:
    return (
        stored.size == image.size
        and stored.modified_at == image.modified_at
        and stored.labels == list(image.labels)
        and stored.split == assign_split(stored.image_id, image.split)
    )


class Conflicts(NamedTuple):
    """The same bytes under different labels or in different given splits: (uris) of each case."""

    labels: list[list[str]]
    splits: list[list[str]]


def find_conflicts(table: FeatureTable) -> Conflicts:
    """Exact duplicates, by hash, that disagree about what they are or which split they belong to."""
    rows = table.metadata(["image_id", "uri", "labels", "split", "view"])
    rows = rows.filter(pc.equal(rows.column("view"), 0))
    many = rows.column("image_id").value_counts()
    counts = pa.StructArray.from_arrays(many.flatten(), ["image_id", "count"])
    repeated = pc.struct_field(counts, "image_id").filter(pc.greater(pc.struct_field(counts, "count"), 1))
    rows = rows.filter(pc.is_in(rows.column("image_id"), repeated))
    groups: dict[str, list[dict]] = {}
    for row in rows.to_pylist():
        groups.setdefault(row["image_id"], []).append(row)

    def disagree(key: str) -> list[list[str]]:
        return [
            sorted(row["uri"] for row in group)
            for group in groups.values()
            if len({str(row[key]) for row in group}) > 1
        ]

    return Conflicts(disagree("labels"), disagree("split"))
