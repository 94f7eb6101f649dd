"""The labelled rows of a feature table, counted before a single feature is read.

A head learns one label an image. `find_examples` looks at labels and splits alone, which takes
milliseconds, and says what stands in the way of training before any feature is loaded.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BottleneckError
from features.splits import SPLITS
from features.text import counted, printable, some

if TYPE_CHECKING:
    from features.store.table import FeatureTable


@dataclasses.dataclass(frozen=True)
class Examples:
    """What there is to train, select and test on.

    Attributes:
        classes: the labels that are learned, sorted.
        rows: by split and label; a view of an image is a row of its own.
        unlabelled: images without a label, which are left out.
        left_out: rows of the classes with too few training images to be learned: by label and split.
    """

    classes: tuple[str, ...]
    rows: dict[str, dict[str, int]]
    unlabelled: int
    left_out: dict[str, dict[str, int]]

    def count(self, split: str) -> int:
        """Labelled rows of a split."""
        return sum(self.rows[split].values())

    @property
    def majority_class(self) -> str:
        """The label that most rows of `train` have; of several, the first by name."""
        train = self.rows["train"]
        return max(self.classes, key=lambda label: train[label])


def find_examples(table: FeatureTable, min_images: int = 1) -> Examples:
    """Count the rows that a head can learn from.

    Args:
        min_images: classes with fewer images (not counting their views) in the train split are left out.

    Raises:
        BottleneckError: for a table without rows or labels, for images with several labels, or where fewer
            than two classes are left.
    """
    rows = table.metadata(["labels", "split", "view"])
    of_images = pc.equal(rows.column("view"), 0)
    label_counts = pc.list_value_length(rows.column("labels"))
    image_label_counts = pc.filter(label_counts, of_images)
    images = len(image_label_counts)
    several = pc.sum(pc.greater(image_label_counts, 1)).as_py() or 0
    unlabelled = pc.sum(pc.equal(image_label_counts, 0)).as_py() or 0
    if images == 0:
        raise BottleneckError(f"table {table.name!r} has no rows: extract features first")
    if several:
        raise BottleneckError(
            f"training on multi-label data is not there yet: {several:,} of {images:,} images in table "
            f"{table.name!r} have several labels, and a head learns one label an image"
        )
    if unlabelled == images:
        raise BottleneckError(
            f"none of the {images:,} images in table {table.name!r} has a label, and a head needs labels"
        )
    counts = _count(rows.filter(pc.equal(label_counts, 1)))
    of_train = _count(rows.filter(pc.and_(pc.equal(label_counts, 1), of_images)))["train"]
    labels = sorted({label for of_split in counts.values() for label in of_split})
    classes = tuple(label for label in labels if of_train[label] >= max(1, min_images))
    _check_classes(classes, labels, of_train, max(1, min_images), table.name)
    kept = {split: {label: of_split[label] for label in classes} for split, of_split in counts.items()}
    left_out = {
        label: {split: of_split[label] for split, of_split in counts.items()}
        for label in labels
        if label not in classes
    }
    return Examples(classes, kept, unlabelled, left_out)


def _count(rows: pa.Table) -> dict[str, collections.Counter[str]]:
    """Rows of one label each, by split and label."""
    labelled = pa.table({"split": rows.column("split"), "label": pc.list_flatten(rows.column("labels"))})
    counts: dict[str, collections.Counter[str]] = {split: collections.Counter() for split in SPLITS}
    for row in labelled.group_by(["split", "label"]).aggregate([([], "count_all")]).to_pylist():
        counts[row["split"]][row["label"]] = row["count_all"]
    return counts


def _check_classes(
    classes: Sequence[str], labels: Sequence[str], of_train: Mapping[str, int], min_images: int, name: str
) -> None:
    if len(labels) == 1:
        raise BottleneckError(
            f"all images in table {name!r} are labelled '{printable(labels[0])}': a head needs two classes"
        )
    if len(classes) < 2:
        most = sorted(labels, key=lambda label: -of_train[label])
        counts = some((f"{label} {of_train[label]:,}" for label in most), shown=5)
        raise BottleneckError(
            f"{counted(len(classes), 'class', 'classes')} of {len(labels):,} in table {name!r} "
            f"{'has' if len(classes) == 1 else 'have'} {counted(min_images, 'training image')} or more "
            f"({counts}), and a head needs two: add images (about 8 of 10 go to train), or lower `min_images`"
        )
