"""Cross-validation for small data: every image is tested once, by a head that has not seen it.

Use it where a test split holds so few images that its figures say nothing. It trains a head for each fold, on
features in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BottleneckError
from features.splits import SPLITS, are_cut_by_hash
from features.store.labels import have_labels, read_labels
from features.text import counted, some
from heads.examples import Examples, count_examples, count_images
from heads.progress import Progress
from heads.shares import deal, images_among, joined, originals_among, untestable

if TYPE_CHECKING:
    from features.store.table import FeatureTable
    from heads.base import Head

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
        rows: those that are: their columns `image_id`, `uri`, `split`, `view` and perhaps `group`.
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
        images = self.rows.filter(pc.equal(self.rows.column("view"), 0)).column("split")
        counts = {of["values"]: of["counts"] for of in images.value_counts().to_pylist()}
        return {split: counts.get(split, 0) for split in self.splits}


class Tested(NamedTuple):
    """What a cross-validation found.

    Attributes:
        rows: which rows were tested, bool ndarray of shape (n,).
        probabilities: of these, from heads that were fitted without them, (n_tested, n_classes).
        predicted: their classes or labels, as `Head.fit_matrix` takes y.
        training: what was chosen in each fold.
    """

    rows: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    training: list[dict[str, Any]]


def find_shared_out(
    table: FeatureTable, min_images: int, folds: int | None, views: int | None = None
) -> SharedOut | None:
    """The images to be shared out into folds, or None where a head is to be tested on the test split.

    Splits that the hash has cut are of no weight to it; those that were given are.

    Args:
        min_images: classes with fewer images are left out.
        folds: as of `heads.train_head`.
        views: at most so many augmented views of each image, which go with it; all by default.

    Raises:
        BottleneckError: where there is nothing to learn.
    """
    if folds == 0:
        return None
    rows = table.metadata(["labels", "split"], views=0)
    of_train = rows.filter(pc.equal(rows.column("split"), "train")).column("labels")
    tested = count_images(rows, pc.list_flatten(of_train).unique().to_pylist())["test"]
    if folds is None and (tested >= FEW or not len(rows)):
        return None
    keys = ["image_id", "uri", *(["group"] if table.facts.groups else [])]
    rows = table.metadata(["labels", "split", "view", *keys], views=views)
    groups = rows.column("group") if table.facts.groups else None
    ids, of_rows = rows.column("image_id"), rows.column("split")
    by_hash = not table.facts.given_splits and are_cut_by_hash(ids, groups, of_rows)
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
    units = len(np.unique(units_of(rows)))
    if folds is None:
        folds = min(FOLDS_OF_FEW, units)
        few = counted(tested, "image is", "images are") if tested else "no images are"
        notices = [f"{few} for testing, too few to say much: hence the folds (`folds=0` keeps to the splits)"]
    if units < 2:
        raise BottleneckError(
            f"all images of table {table.name!r} that a head can learn from are of one group, or the same "
            f"file: none are left to test it on"
        )
    if not 2 <= folds <= units:
        raise BottleneckError(
            f"`folds={folds}`: expected 0 for none, or from 2 to {units:,}, the images or groups that there "
            f"are to share out"
        )
    return SharedOut(folds, splits, examples, among, rows, notices)


def units_of(rows: pa.Table) -> np.ndarray:
    """Numbers of what must not part, images of one group or of the same bytes: int ndarray of shape (n,).

    Args:
        rows: a column `image_id`, and perhaps `group`.
    """
    images = _codes(rows.column("image_id"))
    if "group" not in rows.column_names:
        return images
    grouped = rows.column("group").is_valid().to_numpy()
    groups = _codes(rows.column("group").filter(pa.array(grouped))) + len(images)
    return np.unique(joined(images[grouped], groups, 2 * len(images))[images], return_inverse=True)[1]


def originals_of(rows: pa.Table) -> np.ndarray | None:
    """The row of the image that each row shows, as `Head.fit_matrix` takes it; None where there are no views.

    Args:
        rows: columns `uri` and `view`.
    """
    images = np.flatnonzero(rows.column("view").to_numpy() == 0)
    if len(images) == len(rows):
        return None
    uris = rows.column("uri")
    place = pc.index_in(uris, uris.take(pa.array(images)).combine_chunks())
    return images[place.to_numpy()]


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    return np.unique(column.to_numpy(), return_inverse=True)[1]


def share_out(
    y: np.ndarray, units: np.ndarray, folds: int, seed: int, originals: np.ndarray | None = None
) -> np.ndarray:
    """The fold in which each row is tested, from 0; -1 for never. An int ndarray of shape (n,).

    What has a class or a label that nothing else has is learned from, and never tested.

    Args:
        y: as `Head.fit_matrix` takes it.
        units: numbers of what must not part, from 0, of shape (n,).
        originals: as `Head.fit_matrix` takes it: views are in the fold of their image.
    """
    if originals is not None:
        images = images_among(originals)
        return share_out(y[images], units[images], folds, seed)[np.searchsorted(images, originals)]
    fold = deal(y, folds, seed, units)
    alone = untestable(y, units)
    rows = np.isin(y, alone) if y.ndim == 1 else y[:, alone].any(axis=1)
    fold[np.isin(units, units[rows])] = -1
    return fold


def untested_notice(rows: pa.Table, y: np.ndarray, units: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Names the classes, or labels, that are learned and can't be tested."""
    names = sorted(classes[number] for number in untestable(y, units))
    if not names:
        return []
    noun, nouns = ("class", "classes") if y.ndim == 1 else ("label", "labels")
    of_one = "images of a single group" if "group" in rows.column_names else "a single image"
    have = "has" if len(names) == 1 else "have"
    return [
        f"{counted(len(names), noun, nouns)} {have} {of_one}, learned from and never tested: "
        f"{some(names, shown=_SHOWN)}"
    ]


def cross_validate(
    head: Head,
    X: np.ndarray,
    y: np.ndarray,
    units: np.ndarray,
    fold: np.ndarray,
    testable: np.ndarray,
    classes: Sequence[str],
    progress: Progress,
    originals: np.ndarray | None = None,
) -> Tested:
    """Train a head for each fold on the rows of the others, and test it on this one.

    Args:
        head: whose parameters are taken.
        X: of shape (n, width).
        y: as `Head.fit_matrix` takes it.
        units: numbers of what must not part, (n,).
        fold: of each row, or -1 for those that are always trained on.
        testable: which rows are tested, and not left out alone, (n,).
        classes: the labels, sorted.
        progress: called after each fold.
        originals: as `Head.fit_matrix` takes it; the views of an image are in its fold.

    Raises:
        BottleneckError: where no row is tested, or less than two classes are left to learn from.
    """
    tested = (fold >= 0) & testable
    if not tested.any():
        raise BottleneckError(
            f"none of the {len(classes):,} classes has two images (or groups), one to learn from and one to "
            f"test: add images"
        )
    probabilities, predicted = np.zeros((len(X), len(classes)), np.float32), np.zeros_like(y)
    numbers, training = np.unique(fold[tested]), []
    for step, number in enumerate(numbers, start=1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero((fold == number) & tested)
        if y.ndim == 1 and len(np.unique(y[train])) < 2:
            raise BottleneckError(
                f"fold {step} of {len(numbers)} leaves one class to learn from: give more `folds`, or "
                f"`folds=0`"
            )
        shown = None if originals is None else originals_among(originals, train)
        fitted = fit_anew(head, X[train], y[train], classes, units[train], shown)
        probabilities[test] = probabilities_of(fitted, X[test], classes)
        answers = fitted.predict(X[test])
        predicted[test] = answers if y.ndim == 2 else np.searchsorted(classes, answers)
        right = predicted[test] == y[test]
        progress(step, len(numbers), {"accuracy": float(right.reshape(len(test), -1).all(axis=1).mean())})
        training.append(fitted.training_.facts if fitted.training_ else {})
    return Tested(tested, probabilities[tested], predicted[tested], training)


def fit_anew(
    head: Head,
    X: np.ndarray,
    y: np.ndarray,
    classes: Sequence[str],
    units: np.ndarray | None = None,
    originals: np.ndarray | None = None,
) -> Any:
    """A head of the same parameters, fitted on some rows, which may lack classes.

    Of rows of a single class it is an estimator that always answers it.

    Args:
        X: of shape (n, width); may be overwritten.
        y: as `Head.fit_matrix` takes it, numbers of the classes.
        classes: the labels, sorted; `classes_` of the result are those that y has.
        units: numbers of what must not part, of shape (n,).
        originals: as `Head.fit_matrix` takes it.
    """
    from sklearn.base import clone
    from sklearn.dummy import DummyClassifier

    labels = np.asarray(classes)
    present = np.unique(y) if y.ndim == 1 else np.arange(len(labels))
    if len(present) == 1 and y.ndim == 1:
        return DummyClassifier().fit(X, labels[y])
    fitted = clone(head)
    if isinstance(fitted.class_weight, dict):
        there = set(labels[present].tolist())
        fitted.class_weight = {name: value for name, value in fitted.class_weight.items() if name in there}
    numbers = np.searchsorted(present, y) if y.ndim == 1 else y
    more = together(np.arange(len(y)) if units is None else units, originals)
    return fitted.fit_matrix(X, numbers, len(X), labels[present], **more)


def probabilities_of(fitted: Any, X: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Probabilities of all classes, also of those that a head has not seen: 0. Of shape (n, n_classes)."""
    probabilities = np.zeros((len(X), len(classes)), np.float32)
    probabilities[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(X)
    return probabilities


def together(units: np.ndarray, originals: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The arguments `units` and `originals` of `Head.fit_matrix`, each where it says something of the rows.

    Args:
        units: numbers of what must not part, of shape (n,), that of its image for a view.
        originals: None where there are no views.
    """
    numbers = np.unique(units, return_inverse=True)[1]
    images = len(numbers) if originals is None else len(images_among(originals))
    more = {} if originals is None else {"originals": originals}
    return ({"units": numbers} if images > numbers.max() + 1 else {}) | more
