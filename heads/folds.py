"""Cross-validation for small data: every image is tested once, by a head that has not seen it.

Use it where a test split holds so few images that its figures say nothing. It trains a head for each fold, on
features in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BottleneckError
from features.splits import SPLITS, are_cut_by_hash
from features.store.labels import have_labels, read_labels
from features.text import counted, some
from heads.examples import Examples, count_examples, count_images

if TYPE_CHECKING:
    from features.store.table import FeatureTable
    from heads.base import Head, Progress

#: Images for testing, as the hash cuts them, below which data are shared out into folds.
FEW = 10
#: How many folds there are then.
FOLDS_OF_FEW = 5
#: Classes named in a notice.
_SHOWN = 5


class SharedOut(NamedTuple):
    """The images that folds are made of.

    Attributes:
        folds: how many.
        splits: the splits of the table that they come from: all, or train and validation where a test split
            was given.
        examples: what there is to learn; all that is shared out counts as train.
        among: which of the table's rows with a label that is learned are shared out, bool ndarray, in the
            order of the table.
        rows: those that are: their columns `image_id`, `split`, `view` and perhaps `group`.
        notices: what the user should know of it.
    """

    folds: int
    splits: list[str]
    examples: Examples
    among: np.ndarray
    rows: pa.Table
    notices: list[str]

    def counts(self) -> dict[str, int]:
        """Images by the split of the table."""
        counts = {of["values"]: of["counts"] for of in self.rows.column("split").value_counts().to_pylist()}
        return {split: counts.get(split, 0) for split in self.splits}


class Tested(NamedTuple):
    """What a cross-validation found.

    Attributes:
        rows: which rows were tested, bool ndarray of shape (n,).
        probabilities: of these, from heads that were fitted without them, (n_tested, n_classes).
        predicted: their classes or labels, as `Head.fit_matrix` takes y.
    """

    rows: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray


def find_shared_out(table: FeatureTable, min_images: int, folds: int | None) -> SharedOut | None:
    """The images to be shared out into folds, or None where a head is to be tested on the test split.

    Splits that the hash has cut are of no weight to it; those that were given are.

    Args:
        min_images: classes with fewer images are left out.
        folds: as of `heads.train_head`.

    Raises:
        BottleneckError: where there is nothing to learn.
    """
    if folds == 0:
        return None
    rows = table.metadata(["labels", "split"])
    of_train = rows.filter(pc.equal(rows.column("split"), "train")).column("labels")
    tested = count_images(rows, pc.list_flatten(of_train).unique().to_pylist())["test"]
    if folds is None and (tested >= FEW or not len(rows)):
        return None
    keys = ["image_id", *(["group"] if table.facts.groups else [])]
    rows = table.metadata(["labels", "split", "view", *keys])
    groups = rows.column("group") if table.facts.groups else None
    by_hash = are_cut_by_hash(rows.column("image_id"), groups, rows.column("split"))
    if folds is None and tested and not by_hash:
        return None
    splits = list(SPLITS) if by_hash else ["train", "validation"]
    shared = pc.is_in(rows.column("split"), pa.array(splits, pa.string()))
    as_train = pc.if_else(shared, "train", rows.column("split"))
    examples = count_examples(
        rows.set_column(rows.schema.get_field_index("split"), "split", as_train),
        f"table {table.name!r}",
        min_images,
    )
    labels = read_labels(rows.column("labels"), multi_label=examples.multi_label)
    learned = have_labels(labels, examples.classes)
    among = shared.to_numpy()[learned]
    rows = rows.select(["split", "view", *keys]).filter(learned).filter(among)
    notices = []
    if folds is None:
        folds = min(FOLDS_OF_FEW, len(np.unique(units_of(rows))))
        notices = [
            f"{counted(tested, 'image is', 'images are')} for testing, too few to say much: instead each "
            f"image is tested once, by {folds} folds (`folds=0` keeps to the splits)"
        ]
    return SharedOut(folds, splits, examples, among, rows, notices)


def units_of(rows: pa.Table) -> np.ndarray:
    """Numbers of what must not part, a group or all images of the same bytes: int ndarray of shape (n,)."""
    keys = rows.column("image_id")
    if "group" in rows.column_names:
        keys = pc.coalesce(rows.column("group"), keys)
    return np.unique(keys.to_numpy(), return_inverse=True)[1]


def share_out(y: np.ndarray, units: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold in which each row is tested, from 0; -1 for never. An int ndarray of shape (n,).

    A class that only one unit has is learned and never tested: without that one, nobody could learn it.

    Args:
        y: as `Head.fit_matrix` takes it.
        units: numbers of what must not part, of shape (n,).

    Raises:
        BottleneckError: for a number of folds that can't be made.
    """
    from heads.base import deal, strata

    classes, of_unit = strata(y), np.empty(units.max() + 1, int)
    of_unit[units[::-1]] = classes[::-1]  # that of its first row
    if not 2 <= folds <= len(of_unit):
        raise BottleneckError(
            f"`folds={folds}`: expected 2 or more, and not more than the {len(of_unit):,} images or groups "
            f"that there are to share out"
        )
    fold = deal(of_unit, folds, seed)[units]
    pairs = np.unique(np.stack([classes, units]), axis=1)
    fold[(np.bincount(pairs[0]) == 1)[classes]] = -1
    return fold


def untested_notice(rows: pa.Table, y: np.ndarray, fold: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Names the classes that are learned and never tested."""
    from heads.base import strata

    names = sorted({classes[number] for number in strata(y)[fold < 0]})
    if not names:
        return []
    of_one = "images of a single group" if "group" in rows.column_names else "a single image"
    have = "has" if len(names) == 1 else "have"
    return [
        f"{counted(len(names), 'class', 'classes')} {have} {of_one}, which is learned and can't be tested: "
        f"{some(names, shown=_SHOWN)}"
    ]


def cross_validate(
    head: Head,
    X: np.ndarray,
    y: np.ndarray,
    fold: np.ndarray,
    testable: np.ndarray,
    classes: Sequence[str],
    progress: Progress,
) -> Tested:
    """Train a head for each fold on the rows of the others, and test it on this one.

    Args:
        head: whose parameters are taken.
        X: of shape (n, width).
        y: as `Head.fit_matrix` takes it.
        fold: of each row, or -1 for those that are always trained on.
        testable: which rows are tested, and not left out alone, (n,).
        classes: the labels.
        progress: called after each fold.

    Raises:
        BottleneckError: where no row is tested, or less than two classes are left to learn from.
    """
    from sklearn.base import clone

    tested = (fold >= 0) & testable
    if not tested.any():
        raise BottleneckError(
            f"none of the {len(classes):,} classes has two images (or groups), one to learn from and one to "
            f"test: add images"
        )
    probabilities = np.zeros((len(X), len(classes)), np.float32)
    predicted = np.zeros_like(y)
    numbers = np.unique(fold[tested])
    for step, number in enumerate(numbers, start=1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero((fold == number) & tested)
        present = np.unique(y[train]) if y.ndim == 1 else np.arange(len(classes))
        if len(present) < 2:
            raise BottleneckError(
                f"fold {step} of {len(numbers)} leaves one class to learn from: give fewer `folds`"
            )
        of_train = np.searchsorted(present, y[train]) if y.ndim == 1 else y[train]
        fitted = clone(head).fit_matrix(X[train], of_train, len(train), present)
        probabilities[np.ix_(test, present)] = fitted.predict_proba(X[test])
        predicted[test] = fitted.predict(X[test])
        progress(step, len(numbers), {"accuracy": float((predicted[test] == y[test]).mean())})
    return Tested(tested, probabilities[tested], predicted[tested])
