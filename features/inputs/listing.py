"""What an input holds, as Arrow columns: a million images are columns, not objects. And what forms it has."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.downloads import DownloadProgress

#: One row an image.
#:
#: uri: absolute path; symbolic links are not resolved.
#: labels: one for ordinary classification, several for multi-label, none for unlabelled.
#: split: the split that the data came with: `train`, `validation`, `test`, `train+validation` (to be cut
#:     between these two) or null (to be cut into all three); `features.splits` cuts.
#: group: what the image belongs to (a patient, a camera), so that it shares a split with the others of it;
#:     null for none.
#: size, modified_at: of the file, in bytes and as UTC; null where the file can't be looked up (a dangling
#:     link, for instance).
LISTING_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
        pa.field("split", pa.string()),
        pa.field("group", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("modified_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: Rows that are Python objects before they become columns.
_ROWS_AT_ONCE = 65_536


class Listing(NamedTuple):
    """What the input holds.

    Attributes:
        source: the input's canonical name, kept with the table: an absolute path, `digits` or `flowers`.
        images: in `LISTING_SCHEMA`, in the order of their uri, each once.
        ignored: files that are no images.
        notices: what the user should know.
        left_out: images that can't be listed, since their names are not UTF-8.
    """

    source: str
    images: pa.Table
    ignored: int
    notices: list[str]
    left_out: int = 0

    def labels(self) -> list[str]:
        """The names of all labels, sorted."""
        return sorted(pc.list_flatten(self.images.column("labels")).unique().to_pylist())

    def has_splits(self) -> bool:
        """Whether any image came with a split."""
        return self.images.column("split").null_count < len(self.images)

    def has_groups(self) -> bool:
        """Whether any image belongs to a group."""
        return self.images.column("group").null_count < len(self.images)


class Request(NamedTuple):
    """How an input is to be listed: see `features.inputs.list_images`."""

    splits: Mapping[str, str] = {}
    classes: str | None = None
    labelled: bool = True
    progress: DownloadProgress | None = None


class Form(NamedTuple):
    """A form of input.

    Attributes:
        description: of it, for the message that lists them all.
        accepts: whether a path, or the name of a data set, is of this form.
        list: gives the listing of one.
        has_folders: whether `splits` and `classes` say how it is read.
    """

    description: str
    accepts: Callable[[str], bool]
    list: Callable[[str, Request], Listing]
    has_folders: bool = False


class FileFacts(NamedTuple):
    """Bytes, and microseconds since the epoch (UTC) of the last change; None where unknown."""

    size: int | None
    modified_at: int | None


def file_facts(path: str) -> FileFacts:
    """The facts of the file at `path`; links are followed."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a dangling link, no permission, a null in the name: reading it will tell
        return FileFacts(None, None)
    return FileFacts(status.st_size, status.st_mtime_ns // 1000)


class ColumnBuilder:
    """Columns from rows of their values, which come one by one; few of them are Python objects at a time."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self._rows: list[tuple] = []
        self._done = 0

    def __len__(self) -> int:
        return self._done + len(self._rows)

    def add(self, *row: object) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS_AT_ONCE:
            self._flush()

    def table(self) -> pa.Table:
        """All rows so far."""
        self._flush()
        return pa.Table.from_batches(self._batches, self._schema)

    def _flush(self) -> None:
        if self._rows:
            columns = zip(zip(*self._rows, strict=True), self._schema, strict=True)
            arrays = [pa.array(values, field.type) for values, field in columns]
            self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._done += len(self._rows)
            self._rows = []


def single_labels(labels: pa.Array) -> pa.ListArray:
    """A column of labels, from one for each image or null for none."""
    counts = labels.is_valid().to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, labels.drop_null()).cast(LISTING_SCHEMA.field("labels").type)
