"""The labelled rows of a feature table, counted before a single feature is read.

A head learns one label an image. `find_examples` looks at labels and splits alone, which takes
milliseconds, and says what stands in the way of training before any feature is loaded.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BottleneckError

if TYPE_CHECKING:
    from features.table import FeatureTable


@dataclasses.dataclass(frozen=True)
class Examples:
    """What there is to train, select and test on.

    Attributes:
        classes: the labels, sorted.
        rows: by split and label; a view of an image is a row of its own.
        unlabelled: images without a label, which are left out.
    """

    classes: tuple[str, ...]
    rows: dict[str, dict[str, int]]
    unlabelled: int

    def count(self, split: str) -> int:
        """Labelled rows of a split."""
        return sum(self.rows.get(split, {}).values())

    @property
    def majority_class(self) -> str:
        """The label that most rows of `train` have; of several, the first by name."""
        train = self.rows["train"]
        return max(self.classes, key=lambda label: train[label])


def find_examples(table: FeatureTable) -> Examples:
    """Count the rows that a head can learn from.

    Raises:
        BottleneckError: for a table without rows or labels, for images with several labels, for
            one class only, or for a class that `train` has no row of.
    """
    rows = table.metadata(["labels", "split", "view"])
    of_images = pc.equal(rows.column("view"), 0)
    label_counts = pc.list_value_length(rows.column("labels"))
    image_label_counts = pc.filter(label_counts, of_images)
    images = len(image_label_counts)
    several = pc.sum(pc.greater(image_label_counts, 1)).as_py() or 0
    unlabelled = pc.sum(pc.equal(image_label_counts, 0)).as_py() or 0
    if images == 0:
        raise BottleneckError(f"table {table.name!r} has no rows: run `make extract` first")
    if several:
        raise BottleneckError(
            f"training on multi-label data is not there yet: {several:,} of {images:,} images in table "
            f"{table.name!r} have several labels, and a head learns one label an image"
        )
    if unlabelled == images:
        raise BottleneckError(
            f"none of the {images:,} images in table {table.name!r} has a label, and a head needs labels"
        )
    labelled = rows.filter(pc.equal(label_counts, 1))
    examples = _count(labelled.column("split"), pc.list_flatten(labelled.column("labels")), unlabelled)
    _check_classes(examples, table.name)
    return examples


def _count(splits: pa.ChunkedArray, labels: pa.ChunkedArray, unlabelled: int) -> Examples:
    counted = (
        pa.table({"split": splits, "label": labels})
        .group_by(["split", "label"])
        .aggregate([([], "count_all")])
    )
    found = {(row["split"], row["label"]): row["count_all"] for row in counted.to_pylist()}
    classes = tuple(sorted({label for _, label in found}))
    rows = {
        split: {label: found.get((split, label), 0) for label in classes}
        for split in ("train", "validation", "test")
    }
    return Examples(classes, rows, unlabelled)


def _check_classes(examples: Examples, name: str) -> None:
    if len(examples.classes) == 1:
        raise BottleneckError(
            f"all images in table {name!r} are labelled {examples.classes[0]!r}: a head needs two classes"
        )
    untaught = [label for label in examples.classes if not examples.rows["train"][label]]
    if untaught:
        shown = ", ".join(map(repr, untaught[:5])) + (
            f" and {len(untaught) - 5:,} more" if len(untaught) > 5 else ""
        )
        raise BottleneckError(
            f"no image in the train split of table {name!r} is labelled {shown}: a head can't learn a class "
            f"without training images; add some (about 8 of 10 go to train) or leave the class out"
        )
