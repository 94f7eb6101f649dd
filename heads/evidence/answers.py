"""What heads answer on the same images of a table, which none of them was trained on.

A head that was tested on the test split answers for its images. One that was tested by folds is trained on
all images: heads of its parameters are then fitted anew, fold by fold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import store as feature_store
from features.errors import BottleneckError
from features.store.vectors import matrix
from features.text import counted
from heads.evidence.images import LabelledRows
from heads.folds import fit_anew, probabilities_of, share_out
from heads.registry import new_head
from heads.saved import SavedHead

if TYPE_CHECKING:
    from features.store.table import FeatureTable
    from heads.base import Head

#: Images that a backbone of a head's own is run over, at most.
MOST_EXTRACTED = 1000
#: Images that a head is fitted on in a fold, at most, their augmented views counted like images.
_MOST_FITTED = 20_000
_ROWS_AT_ONCE = 4096


class Answers(NamedTuple):
    """Probabilities of images from a head that has not seen them.

    Attributes:
        images: those that are tested.
        probabilities: (n, n_classes).
        tested: which images they are, for people.
        dealt: where it was tested by folds: all images, and the fold of each, -1 for those not tested.
    """

    images: LabelledRows
    probabilities: np.ndarray
    tested: str
    dealt: tuple[LabelledRows, np.ndarray] | None = None


class NoAnswers(BottleneckError):
    """A head can't answer for images, or was trained on them; the message says why."""


def by_folds(saved: SavedHead) -> bool:
    """Whether a head was tested by folds alone."""
    return "test" not in saved.facts["splits"]["tested"]


def answers_of(saved: SavedHead, images: LabelledRows) -> Answers:
    """What the head that evidence is about answers.

    Args:
        images: the labelled rows of a table that it may be tested on.

    Raises:
        NoAnswers: where there are none that it has not seen, or no features of them.
    """
    if by_folds(saved):
        folds = saved.facts["splits"]["folds"]
        fold = share_out(images.y, images.units, folds, saved.facts["seed"] or 0)
        tested = fold >= 0
        if not tested.any():
            raise NoAnswers("no class has two images, groups or pictures: one to learn from and one to test")
        text = (
            f"{folds} folds, {int(tested.sum()):,} of {counted(len(images), 'image')}, by heads fitted anew"
        )
        return Answers(
            images.among(tested), probabilities_by_folds(saved, images, fold)[tested], text, (images, fold)
        )
    unseen = images.among(_for_testing(saved, images))
    if not len(unseen):
        raise NoAnswers(f"table {images.table.name!r} has no test image with a label of head {saved.id}")
    name, version = images.table.name, images.table.version
    return Answers(unseen, _on_test(saved, unseen), f"the test split of table {name!r}, version {version}")


def answers_of_other(other: SavedHead, answers: Answers) -> np.ndarray:
    """Probabilities of the same images from another head, columns in the order of `images.classes`.

    Args:
        answers: of the head that evidence is about.

    Raises:
        NoAnswers: where they would say nothing, with the reason.
    """
    images = answers.images
    if (
        other.facts["labels"] != list(images.classes)
        or other.facts.get("multi_label", False) != images.multi_label
    ):
        raise NoAnswers("it knows other labels")
    if answers.dealt:
        everything, fold = answers.dealt
        return probabilities_by_folds(other, everything, fold)[fold >= 0]
    if by_folds(other):
        raise NoAnswers("it is trained on the test images, too, having been tested by folds")
    if not _for_testing(other, images).all():
        raise NoAnswers("it was trained on some of these test images")
    return _on_test(other, images)


def _for_testing(saved: SavedHead, images: LabelledRows) -> np.ndarray:
    """Which rows are of the test split, and were not trained on: splits may have changed since.

    Raises:
        NoAnswers: where nobody can tell what the head was trained on.
    """
    testing = images.splits == "test"
    in_training = were_in(saved, images, ("train", "validation"))
    return testing if saved.facts["table_version"] == images.table.version else testing & ~in_training


def were_in(saved: SavedHead, images: LabelledRows, splits: Collection[str]) -> np.ndarray:
    """Which rows have the bytes, or the group, of an image that was in some splits when a head was trained.

    Returns:
        A bool ndarray of shape (n,).

    Raises:
        NoAnswers: where nobody can tell.
    """
    table = images.table
    try:
        then = saved.rows_then(table, ["image_id", "split", *(["group"] if table.facts.groups else [])])
    except BottleneckError as error:
        raise NoAnswers(str(error)) from error
    if then is not None:
        rows = then.filter(pc.is_in(then.column("split"), pa.array(splits, pa.string())))
        keys = [name for name in ("image_id", "group") if name in rows.column_names]
        return np.any([_have_any(images.rows.column(key), rows.column(key)) for key in keys], axis=0)
    if table.facts.given_splits or saved.facts["data"]["source"] != table.source:
        raise NoAnswers("it was trained on images and splits that nobody can compare with the table's")
    return np.isin(images.splits, list(splits))  # the hash of the bytes, or the group, cuts them alike


def _have_any(values: pa.ChunkedArray, others: pa.ChunkedArray) -> np.ndarray:
    """Which values are among others; null, as of an image without a group, is among none."""
    return pc.is_in(values, others.combine_chunks(), skip_nulls=True).to_numpy()


def _on_test(saved: SavedHead, images: LabelledRows) -> np.ndarray:
    """Probabilities from features of the table, of another table of the store, or of its own backbone."""
    table = table_for(saved, images)
    return _from_files(saved, images) if table is None else from_features(saved, images, table)


def from_features(saved: SavedHead, images: LabelledRows, table: FeatureTable) -> np.ndarray:
    """Probabilities from the stored features of images, columns in the order of the head's own labels.

    Args:
        table: from `table_for`.
    """
    if table is images.table:
        batches = [saved.head.predict_proba(X) for _, X in images.batches(saved.layers)]
        return np.concatenate(batches)
    rows = rows_of(table, images)
    parts = (rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE))
    return np.concatenate([saved.head.predict_proba(table.take(part, layers=saved.layers)) for part in parts])


def table_for(saved: SavedHead, images: LabelledRows) -> FeatureTable | None:
    """A table of the store that has the features of these images that a head was trained on."""
    names = feature_store.table_names(images.table.store)
    others = (feature_store.open(images.table.store, name) for name in names if name != images.table.name)
    for table in (images.table, *others):
        try:
            saved.check(table)
        except BottleneckError:
            continue
        if table is images.table or (rows_of(table, images) >= 0).all():
            return table
    return None


def rows_of(table: FeatureTable, images: LabelledRows) -> np.ndarray:
    """Numbers of the rows of a table that are these images, name and bytes; -1 for one that it lacks."""
    rows = table.metadata(["uri", "image_id", "view"])
    numbers = np.flatnonzero(rows.column("view").to_numpy() == 0)
    if not len(numbers):
        return np.full(len(images), -1)
    rows = rows.take(pa.array(numbers))
    place = pc.index_in(images.rows.column("uri"), rows.column("uri").combine_chunks())
    same = pc.equal(rows.column("image_id").take(place), images.rows.column("image_id")).fill_null(False)
    return np.where(same.to_numpy(), numbers[place.fill_null(0).to_numpy()], -1)


def _from_files(saved: SavedHead, images: LabelledRows) -> np.ndarray:
    """Probabilities from the files: its backbone is run over them."""
    if len(images) > MOST_EXTRACTED:
        raise NoAnswers(
            f"its features are in no table, and {counted(len(images), 'test image')} are too many to run its "
            f"backbone over now: extract with its weights first"
        )
    from features.extractor import Extractor

    recipe = saved.columns[0].recipe
    try:
        extractor = Extractor(
            saved.weights,
            backbone=recipe.backbone,
            layers=list(saved.layers),
            precision=recipe.precision,
            exif_orientation=recipe.exif_orientation,
        )
    except BottleneckError as error:
        raise NoAnswers(f"its features are in no table, and its backbone can't be run: {error}") from error
    rows = pa.Table.from_batches(extractor.extract(images.uris), extractor.schema)
    changed = rows.column("image_id").to_pylist() != images.image_ids
    if changed or rows.column("reason").null_count < len(rows):
        raise NoAnswers("its features are in no table, and some test images can't be read, or have changed")
    X = [matrix(rows.column(column.layer), column.width) for column in saved.columns]
    return saved.head.predict_proba(np.concatenate(X, axis=1))


def probabilities_by_folds(saved: SavedHead, images: LabelledRows, fold: np.ndarray) -> np.ndarray:
    """Probabilities of each image from a head of the same parameters, fitted on images of other folds.

    Args:
        fold: of each image, -1 for one that is not tested, (n,).

    Raises:
        NoAnswers: for a head that can't be fitted anew on these images.
    """
    if saved.facts.get("workflow"):
        raise NoAnswers("it was trained on pixels, which folds would do anew")
    if made_here(images.table):
        raise NoAnswers("the weights of its backbone were tuned on some of the images that folds would test")
    try:
        saved.check(images.table)
    except BottleneckError as error:
        raise NoAnswers(str(error)) from error
    head = new_head(saved.facts["kind"], saved.facts["parameters"])
    views = images.views(saved.facts.get("views", 0))
    parts = range(fold.max() + 1)
    fitted = [_fit_without(head, images, views, saved.layers, fold == part) for part in parts]
    return predict_by_fold(fitted, images, saved.layers, fold)


def made_here(table: FeatureTable) -> bool:
    """Whether the weights of a table lie in its store: they were tuned on labels."""
    return table.facts.weights.startswith("weights/")


def _fit_without(
    head: Head,
    images: LabelledRows,
    views: tuple[np.ndarray, np.ndarray],
    layers: Sequence[str],
    tested: np.ndarray,
) -> Any:
    """A head fitted on images that are not tested, on some of many, and on their views.

    Args:
        views: as `LabelledRows.views` gives them.
    """
    numbers, of_image = views
    most = _MOST_FITTED * len(images) // (len(images) + len(numbers))
    rows = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(~tested))[:most])
    X, y, units = images.features(layers, rows), images.y[rows], images.units[rows]
    shown = np.isin(of_image, rows)
    if not shown.any():
        return fit_anew(head, X, y, images.classes, units)
    X = np.concatenate([X, images.table.take(numbers[shown], layers=layers)])
    originals = np.concatenate([np.arange(len(rows)), np.searchsorted(rows, of_image[shown])])
    return fit_anew(head, X, y[originals], images.classes, units[originals], originals)


def predict_by_fold(
    fitted: Sequence[Any], images: LabelledRows, layers: Sequence[str], fold: np.ndarray
) -> np.ndarray:
    """Probabilities of each image from the head of its fold, read as a stream: float32 (n, n_classes)."""
    probabilities = np.zeros((len(images), len(images.classes)), np.float32)
    for place, X in images.batches(layers):
        of_batch = probabilities[place]
        for part, head in enumerate(fitted):
            rows = fold[place] == part
            if rows.any() and head is not None:
                of_batch[rows] = probabilities_of(head, X[rows], images.classes)
    return probabilities
