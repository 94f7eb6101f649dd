"""The images that evidence is about: those of a table with labels that a head knows, and their features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BottleneckError
from features.splits import SPLITS
from features.store.labels import encode, have_labels, read_labels
from heads.folds import units_of
from heads.shares import class_counts, strata

if TYPE_CHECKING:
    from features.store.table import FeatureTable


@dataclasses.dataclass(frozen=True)
class LabelledRows:
    """Rows of a table, the images themselves and not their views, whose labels are known.

    Attributes:
        table: of features.
        numbers: of the rows in `table.metadata()`, ascending, of shape (n,).
        rows: their columns `uri`, `image_id`, `labels`, `split`, and `group` where the table has it.
        y: as `heads.Head.fit_matrix` takes it.
        classes: the labels, sorted.
        units: numbers of what must not part, images of one group or the same bytes, (n,).
    """

    table: FeatureTable
    numbers: np.ndarray
    rows: pa.Table
    y: np.ndarray
    classes: tuple[str, ...]
    units: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def multi_label(self) -> bool:
        return self.y.ndim == 2

    @cached_property
    def uris(self) -> list[str]:
        return self.rows.column("uri").to_pylist()

    @cached_property
    def image_ids(self) -> list[str]:
        return self.rows.column("image_id").to_pylist()

    @cached_property
    def splits(self) -> np.ndarray:
        """Of each row: object ndarray of str, (n,)."""
        return np.array(self.rows.column("split").to_pylist(), object)

    @cached_property
    def labels(self) -> list[str]:
        """The labels of each row, for people."""
        return [" | ".join(of_row) for of_row in self.rows.column("labels").to_pylist()]

    def among(self, wanted: np.ndarray) -> Self:
        """Some of the rows.

        Args:
            wanted: a mask, or numbers in ascending order.
        """
        wanted = np.flatnonzero(wanted) if wanted.dtype == bool else wanted
        units = np.unique(self.units[wanted], return_inverse=True)[1]
        chosen = self.rows.take(pa.array(wanted, pa.int64()))
        return dataclasses.replace(
            self, numbers=self.numbers[wanted], rows=chosen, y=self.y[wanted], units=units
        )

    def features(self, layers: Sequence[str], rows: np.ndarray | None = None) -> np.ndarray:
        """Features, in memory, float32 (n, width).

        Args:
            rows: numbers among these rows; all by default.
        """
        return self.table.take(self.numbers if rows is None else self.numbers[rows], layers=layers)

    def batches(self, layers: Sequence[str]) -> Iterator[tuple[slice, np.ndarray]]:
        """The same as a stream, each batch with its place among the rows."""
        start = 0
        for X in self.table.take_batches(self.numbers, layers=layers):
            yield slice(start, start + len(X)), X
            start += len(X)

    def views(self, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The augmented views of these images, which are trained on and never tested.

        Args:
            most: of an image; all by default.

        Returns:
            Their numbers in `table.metadata()`, ascending, and for each the number of its image here.
        """
        if not self.table.views or most == 0:
            return np.empty(0, int), np.empty(0, int)
        rows = self.table.metadata(["uri", "view"])
        views = rows.column("view").to_numpy()
        numbers = np.flatnonzero((views > 0) & (views <= (self.table.views if most is None else most)))
        uris = self.rows.column("uri").combine_chunks()
        place = pc.index_in(rows.column("uri").take(pa.array(numbers)), uris)
        known = place.is_valid().to_numpy()
        return numbers[known], place.drop_null().to_numpy()

    def counts(self) -> dict[str, dict[str, int]]:
        """Images by label and split."""
        of_split = {
            split: class_counts(self.y[self.splits == split], len(self.classes)).tolist() for split in SPLITS
        }
        return {
            label: {split: of_split[split][number] for split in SPLITS}
            for number, label in enumerate(self.classes)
        }


def labelled_rows(table: FeatureTable, classes: Sequence[str], *, multi_label: bool) -> LabelledRows:
    """The rows of a table that have one of some labels.

    Raises:
        BottleneckError: where none has.
    """
    keys = ["group"] if table.facts.groups else []
    rows = table.metadata(["uri", "image_id", "labels", "split", "view", *keys])
    labels = read_labels(rows.column("labels"), multi_label=multi_label)
    known = have_labels(labels, classes) & (rows.column("view").to_numpy() == 0)
    if not known.any():
        raise BottleneckError(f"table {table.name!r} has no image of a label that the head knows")
    ignored = set(pc.list_flatten(rows.column("labels")).unique().to_pylist()) - set(classes)
    y = encode(labels[known], classes, multi_label=multi_label, ignored=ignored)
    rows = rows.drop_columns(["view"]).filter(pa.array(known))
    return LabelledRows(table, np.flatnonzero(known), rows, y, tuple(classes), units_of(rows))


def sample(images: LabelledRows, most: int, *, given_splits: bool) -> LabelledRows:
    """At most so many of the images, of each class its share: those whose bytes have the least hashes.

    So the sample of a table that grows stays nearly the same.

    Args:
        given_splits: whether the data came split: each split then gives its share, too.
    """
    if len(images) <= most:
        return images
    classes = strata(images.y)
    if given_splits:
        classes = classes * 2 + (images.splits == "test")
    order = np.lexsort((np.array(images.image_ids), classes))
    counts = np.bincount(classes)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(images))
    rank[order] = (np.arange(len(images)) - first[classes[order]] + 0.5) / counts[classes[order]]
    return images.among(np.sort(np.argsort(rank, kind="stable")[:most]))
