"""Labelled images to train on as pixels, of an input or a table: each is read and decoded once first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import store as feature_store
from features.conflicting_images import conflict_lines, find_conflicts
from features.errors import BottleneckError
from features.inputs import Listing
from features.splits import assign_splits
from features.store.commit import rejected_rows
from features.store.labels import encode, have_labels, read_labels
from features.store.schema import REJECTED_SCHEMA
from features.text import counted, printable, some
from heads.pixels.streams import PixelReader, PixelStream

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Called with the number of images before all of them are read, which takes a while.
Reading = Callable[[int], None]

#: What is known of images that can be read: columns of a feature table.
_COLUMNS = ("uri", "image_id", "labels", "split", "view")
#: What tells that a file is as it was: columns of a listing and of rejections.
_FILE = ["uri", "size", "modified_at"]


def nobody(_: int) -> None:
    """`Reading` that nobody watches."""


class LabelledImages(NamedTuple):
    """Images that can be read, with their labels and splits, and those that have no label.

    Attributes:
        rows: `uri`, `image_id`, `labels`, `split` and `view`, as in a feature table.
        name: what they are the images of, for messages.
        notices: sentences to show.
    """

    rows: pa.Table
    name: str
    notices: list[str]

    def labels(self) -> list[str]:
        """All labels, each once."""
        return pc.list_flatten(self.rows.column("labels")).unique().to_pylist()

    def digest(self) -> str:
        """The sha256 of the ids, labels and splits of the images with a label: that of other data differs."""
        labelled, _ = _by_labels(self.rows)
        columns = (labelled.column(name).to_pylist() for name in ("image_id", "labels", "split"))
        images = zip(*columns, strict=True)
        lines = sorted(json.dumps([image_id, sorted(labels), split]) for image_id, labels, split in images)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def streams(
        self, classes: Sequence[str], reader: PixelReader, *, multi_label: bool, ignored: Collection[str]
    ) -> dict[str, PixelStream]:
        """The images with labels that are learned, by split.

        Args:
            classes: the labels that are learned.
            multi_label: whether images may have several.
            ignored: the other labels.
        """
        labels = read_labels(self.rows.column("labels"), multi_label=multi_label)
        labelled, learned = have_labels(labels), have_labels(labels, classes)
        streams = {}
        for split in ("train", "validation", "test"):
            of_split = pc.equal(self.rows.column("split"), split).fill_null(False).to_numpy()
            left_out = int((of_split & labelled & ~learned).sum())
            of_split &= learned
            y = encode(labels[of_split], classes, multi_label=multi_label, ignored=ignored)
            uris = self.rows.column("uri").filter(pa.array(of_split)).to_pylist()
            streams[split] = PixelStream(uris, y, reader, left_out)
        return streams


def crashed_images(store: str | Path, features: str) -> pa.Table:
    """The images that ended the processes which decoded them, by the rejections of a table.

    Args:
        features: name of the table, which need not be there.

    Returns:
        Columns `uri`, `size` and `modified_at`.
    """
    if features not in feature_store.table_names(store):
        return REJECTED_SCHEMA.empty_table().select(_FILE)
    rejected = rejected_rows(feature_store.open(store, features))
    return rejected.filter(pc.equal(rejected.column("reason"), "crashed")).select(_FILE)


def images_of_listing(
    listing: Listing, reader: PixelReader, crashed: pa.Table | None = None, reading: Reading = nobody
) -> LabelledImages:
    """The images of an input that can be read, with splits that are cut as extraction cuts them.

    Args:
        crashed: as of `crashed_images`: those that did not change since are not read.
        reading: called before the images are read.

    Raises:
        BottleneckError: where none with a label can be read.
    """
    name = f"`data={printable(listing.source)}`"
    labelled, unlabelled = _by_labels(listing.images)
    labelled, notices = _without(labelled, crashed)
    uris = labelled.column("uri").to_pylist()
    reading(len(uris))
    outcomes = list(reader.check(uris))
    bad = [f"{uri}: {fault}" for uri, (_, fault) in zip(uris, outcomes, strict=True) if fault]
    if uris and len(bad) == len(uris):
        images = counted(len(uris), "labelled image")
        raise BottleneckError(f"none of the {images} of {name} can be read: {some(bad)}")
    good = pa.array([fault is None for _, fault in outcomes], pa.bool_())
    labelled = labelled.filter(good)
    image_ids = pa.array([image_id for image_id, fault in outcomes if not fault], pa.string())
    cut = assign_splits(image_ids, labelled.column("split"), labelled.column("group"))
    labelled = labelled.set_column(labelled.schema.get_field_index("split"), "split", cut)
    labelled = labelled.append_column("image_id", image_ids)
    rows = pa.concat_tables([labelled, unlabelled], promote_options="default")
    rows = rows.append_column("view", pa.array(np.zeros(len(rows), np.int32)))
    if bad:
        notices.append(f"left out {counted(len(bad), 'image')} that can't be read: {some(bad)}")
    conflicts = conflict_lines(find_conflicts(labelled))
    return LabelledImages(rows.select(_COLUMNS), name, [*listing.notices, *notices, *conflicts])


def _without(images: pa.Table, crashed: pa.Table | None) -> tuple[pa.Table, list[str]]:
    """The images that did not crash, unless they have changed since; notices."""
    if not crashed:
        return images, []
    known = {tuple(row.values()) for row in crashed.to_pylist()}
    crash = [tuple(row.values()) in known for row in images.select(_FILE).to_pylist()]
    uris = images.column("uri").filter(pa.array(crash, pa.bool_())).to_pylist()
    if not uris:
        return images, []
    notice = f"left out {counted(len(uris), 'image')} that extraction rejected as crashed: {some(uris)}"
    return images.filter(pa.array([not of_image for of_image in crash])), [notice]


def images_of_table(table: FeatureTable, reader: PixelReader, reading: Reading = nobody) -> LabelledImages:
    """The images of a feature table, whose files have to be as they were when it was made.

    Args:
        reading: called before the images are read.

    Raises:
        BottleneckError: where one with a label is missing or has changed.
    """
    name = f"table {table.name!r}"
    rows = table.metadata(_COLUMNS)
    rows = rows.filter(pc.equal(rows.column("view"), 0))
    labelled, _ = _by_labels(rows)
    uris, known = labelled.column("uri").to_pylist(), labelled.column("image_id").to_pylist()
    reading(len(uris))
    outcomes = zip(uris, known, reader.check(uris), strict=True)
    bad = [f"{uri}: {fault or 'changed'}" for uri, image_id, (now, fault) in outcomes if now != image_id]
    if bad:
        raise BottleneckError(
            f"training on pixels needs the files of {name}, version {table.version}, and {len(bad):,} of "
            f"{len(uris):,} are not as they were: {some(bad)}. Bring them back, or extract again and train a "
            f"head on what there is"
        )
    return LabelledImages(rows, name, [])


def _by_labels(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows with a label, and those without."""
    labelled = pc.greater(pc.list_value_length(rows.column("labels")), 0)
    return rows.filter(labelled), rows.filter(pc.invert(labelled))
