"""The labelled rows of a feature table, counted before a single feature is read.

`find_examples` looks at labels and splits alone, which takes milliseconds, and says what stands in the way of
training before any feature is loaded.
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

#: Classes named in a notice.
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Examples:
    """What there is to train, select and test on.

    Attributes:
        classes: the labels that are learned, sorted.
        multi_label: whether images have several labels.
        images: those with a label that is learned, by split.
        rows: the same by split and label.
        unlabelled: images without a label, which are left out.
        left_out: images of the labels with too few training images to be learned: by label and split.
        min_images: how many training images a label needed.
        views: augmented views of the images that are learned, rows of their own; all of the train split.
    """

    classes: tuple[str, ...]
    multi_label: bool
    images: dict[str, int]
    rows: dict[str, dict[str, int]]
    unlabelled: int
    left_out: dict[str, dict[str, int]]
    min_images: int
    views: int = 0

    def count(self, split: str) -> int:
        """Images of a split with a label that is learned."""
        return self.images[split]

    @property
    def majority_class(self) -> str:
        """The label that most images of `train` have; of several, the first by name."""
        train = self.rows["train"]
        return max(self.classes, key=lambda label: train[label])

    def notices(self, splits: Sequence[str] | None = None) -> list[str]:
        """What is left out and what can't be tested, a sentence each.

        Args:
            splits: those that should have images of each class; by default test, and of several labels, whose
                thresholds it decides, validation.
        """
        noun, nouns = ("label", "labels") if self.multi_label else ("class", "classes")
        notices = []
        if self.unlabelled:
            notices.append(f"left out {counted(self.unlabelled, 'image')} without a label")
        if self.left_out:
            rows = sum(sum(of_label.values()) for of_label in self.left_out.values())
            of_all = f"{len(self.left_out):,} of {len(self.left_out) + len(self.classes):,} {nouns}"
            what = of_all if self.multi_label else f"{counted(rows, 'image')} of {of_all}"
            few = (
                "no training image"
                if self.min_images <= 1
                else f"fewer than {self.min_images:,} training images"
            )
            named = (f"{label} ({of_label['train']:,})" for label, of_label in self.left_out.items())
            notices.append(f"left out {what}, those with {few}: {some(named, shown=_SHOWN)}")
        if splits is None:
            splits = ("validation", "test") if self.multi_label else ("test",)
        for split in splits:
            missing = [label for label in self.classes if not self.rows[split][label]]
            if missing:
                have = "has" if len(missing) == 1 else "have"
                notices.append(
                    f"{len(missing):,} of {counted(len(self.classes), noun, nouns)} {have} no {split} image: "
                    f"{some(missing, shown=_SHOWN)}"
                )
        return notices


def find_examples(table: FeatureTable, min_images: int = 1, views: int | None = None) -> Examples:
    """Count what a head can learn from.

    Args:
        min_images: classes with fewer images (not counting their views) in the train split are left out.
        views: at most so many of each image; all by default.

    Raises:
        BottleneckError: for a table without rows or labels, or where fewer than two classes are left.
    """
    rows = table.metadata(["labels", "split", "view"], views=views)
    return count_examples(rows, f"table {table.name!r}", min_images)


def count_examples(rows: pa.Table, name: str, min_images: int = 1) -> Examples:
    """The same for rows of whatever source.

    Args:
        rows: columns `labels`, `split` and `view`.
        name: of the source, for messages.
    """
    of_views = pc.greater(rows.column("view"), 0)
    views, rows = rows.filter(of_views), rows.filter(pc.invert(of_views))
    images, label_counts = len(rows), pc.list_value_length(rows.column("labels"))
    multi_label = pc.any(pc.greater(label_counts, 1)).as_py() or False
    unlabelled = pc.sum(pc.equal(label_counts, 0)).as_py() or 0
    if images == 0:
        raise BottleneckError(f"{name} has no rows: extract features first")
    if unlabelled == images:
        raise BottleneckError(f"none of the {images:,} images in {name} has a label, and a head needs labels")
    counts = _count(rows)
    of_train = counts["train"]
    labels = sorted({label for of_split in counts.values() for label in of_split})
    least = max(1, min_images)
    classes = tuple(label for label in labels if of_train[label] >= least)
    _check_classes(classes, labels, of_train, least, name)
    kept = {split: {label: of_split[label] for label in classes} for split, of_split in counts.items()}
    left_out = {
        label: {split: of_split[label] for split, of_split in counts.items()}
        for label in labels
        if of_train[label] < least
    }
    learned = count_images(rows, classes)
    of_learned = sum(count_images(views, classes).values())
    return Examples(classes, multi_label, learned, kept, unlabelled, left_out, min_images, of_learned)


def _count(rows: pa.Table) -> dict[str, collections.Counter[str]]:
    """Images with each label, by split and label."""
    labelled = _flat(rows)
    counts: dict[str, collections.Counter[str]] = {split: collections.Counter() for split in SPLITS}
    for row in labelled.group_by(["split", "label"]).aggregate([([], "count_all")]).to_pylist():
        counts[row["split"]][row["label"]] = row["count_all"]
    return counts


def count_images(rows: pa.Table, classes: Sequence[str]) -> dict[str, int]:
    """Images with any of the classes, by split.

    Args:
        rows: columns `labels` and `split`.
    """
    learned = _flat(rows)
    learned = learned.filter(pc.is_in(learned.column("label"), pa.array(classes, pa.string())))
    images = learned.group_by("split").aggregate([("row", "count_distinct")]).to_pylist()
    return dict.fromkeys(SPLITS, 0) | {of["split"]: of["row_count_distinct"] for of in images}


def _flat(rows: pa.Table) -> pa.Table:
    """A row for each label of each row: its split, the number of the row, and the label."""
    labels = rows.column("labels").combine_chunks()
    parents = pc.list_parent_indices(labels)
    return pa.table(
        {"split": rows.column("split").take(parents), "row": parents, "label": pc.list_flatten(labels)}
    )


def _check_classes(
    classes: Sequence[str], labels: Sequence[str], of_train: Mapping[str, int], min_images: int, name: str
) -> None:
    if len(labels) == 1:
        raise BottleneckError(
            f"all images in {name} are labelled '{printable(labels[0])}': a head needs two classes"
        )
    if len(classes) < 2:
        most = sorted(labels, key=lambda label: -of_train[label])
        counts = some((f"{label} {of_train[label]:,}" for label in most), shown=5)
        raise BottleneckError(
            f"{counted(len(classes), 'class', 'classes')} of {len(labels):,} in {name} "
            f"{'has' if len(classes) == 1 else 'have'} {counted(min_images, 'training image')} or more "
            f"({counts}), and a head needs two: add images (about 8 of 10 go to train), or lower `min_images`"
        )
