"""What a run has to do: the listed images against the two tables. Imports neither Beam nor TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.commit import rejected_rows
from features.inputs.reference import ImageRef
from features.splits import assign_split
from features.table import FeatureTable

_ROWS_AT_ONCE = 65536


class Plan(NamedTuple):
    """What there is to do for one version of the table.

    Attributes:
        version: of the feature table, as the plan was made.
        todo: images to extract, in the listing's order.
        replaced: uris among them that have rows already, of an image that has since changed.
        stored, rejected: how many listed images the tables hold, unchanged.
        gone: uris of images with rows, in either table, that are no longer listed.
        gone_stored: how many of these have features.
        away: listed images with features whose files are not there now: they keep their rows, and count as
            stored.
    """

    version: int
    todo: list[ImageRef]
    replaced: frozenset[str]
    stored: int
    rejected: int
    gone: frozenset[str]
    gone_stored: int
    away: int


def make_plan(images: list[ImageRef], table: FeatureTable, *, retry_rejected: bool = False) -> Plan:
    """Compare the listing with what is stored, by size and time of change: no image is read.

    An image is extracted again when its file, its labels or its given split changed. One whose file is not
    there now keeps its row: the disk may not be mounted.

    Args:
        retry_rejected: try rejected images again though they did not change.
    """
    listed = {image.uri: image for image in images}
    stored: set[str] = set()
    rejected: set[str] = set()
    changed: set[str] = set()
    gone: set[str] = set()
    away = 0
    for uri, facts in _stored(table):
        image = listed.get(uri)
        if image is None:
            gone.add(uri)
        else:
            away += image.size is None
            (stored if image.size is None or _unchanged(image, facts) else changed).add(image.uri)
    gone_stored = len(gone)
    for uri, size, modified_at in _rejected(table):
        image = listed.get(uri)
        if image is None:
            gone.add(uri)
        else:
            same = (size, modified_at) == (image.size, image.modified_at) and not retry_rejected
            (rejected if same else changed).add(image.uri)
    todo = [image for image in images if image.uri not in stored and image.uri not in rejected]
    return Plan(
        version=table.version,
        todo=todo,
        replaced=frozenset(changed),
        stored=len(stored),
        rejected=len(rejected),
        gone=frozenset(gone),
        gone_stored=gone_stored,
        away=away,
    )


class _Stored(NamedTuple):
    size: int
    modified_at: int
    labels: list[str]
    split: str
    image_id: str


def _stored(table: FeatureTable) -> Iterator[tuple[str, _Stored]]:
    """The stored images one by one: as Python objects, a million at once would take gigabytes."""
    rows = table.metadata(["uri", "view", *_Stored._fields])
    rows = rows.filter(pc.equal(rows.column("view"), 0)).drop_columns("view")
    for batch in rows.to_batches(_ROWS_AT_ONCE):
        for uri, *facts in zip(*map(_plain, batch.columns), strict=True):
            yield uri, _Stored(*facts)


def _rejected(table: FeatureTable) -> Iterator[tuple[str, int | None, int | None]]:
    rows = rejected_rows(table).select(["uri", "size", "modified_at"])
    yield from zip(*map(_plain, rows.columns), strict=True)


def _plain(column: pa.Array | pa.ChunkedArray) -> list:
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
            if len({str(sorted(row[key]) if key == "labels" else row[key]) for row in group}) > 1
        ]

    return Conflicts(disagree("labels"), disagree("split"))
