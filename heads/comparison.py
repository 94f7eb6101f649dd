"""Two heads on the same images, by a paired test: what `heads.promotion` decides by.

Both answer from stored features: the test images of the table version that the new head was trained on,
without those that either of them was trained or selected on. Heads that were tested by folds are trained on
every image. Their settings are compared instead: heads of both are fitted anew, fold by fold. Images of a
group, and files of the same bytes, count as one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from deltalake.exceptions import DeltaError

from features import store as feature_store
from features.errors import BottleneckError
from features.text import counted, some
from heads.evidence.answers import by_folds, from_features, probabilities_by_folds, table_for, were_in
from heads.evidence.images import LabelledRows, labelled_rows
from heads.evidence.statistics import (
    CONFIDENCE,
    LEAST_UNITS,
    bootstrap_interval,
    paired_p_value,
)
from heads.folds import share_out
from heads.saved import SavedHead
from heads.settings import same_settings
from heads.shares import class_counts

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Units from which on an interval is that of a normal distribution: resampling would take long for the same.
_NORMAL_FROM_UNITS = 20_000
#: Labels named in a sentence.
_SHOWN = 3


class NotComparable(BottleneckError):
    """Two heads can't be compared on the same images; the message says why."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two heads on the same images.

    Attributes:
        head: id of the one that the new head is compared with.
        images: how many both have answered, which neither was trained on.
        accuracy, other_accuracy: the share that the new head and the other answer right; of several labels,
            of the labels.
        difference, interval: of the two, and its 95 % interval.
        p_value: of the paired test; None for so few groups or images that it says nothing.
        multi_label: whether images have several labels.
        notes: what else there is to know of it.
    """

    head: str
    images: int
    accuracy: float
    other_accuracy: float
    difference: float
    interval: tuple[float, float]
    p_value: float | None
    multi_label: bool
    notes: tuple[str, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance: p < 0.05."""
        return self.p_value is not None and self.p_value < 1 - CONFIDENCE

    @property
    def sentence(self) -> str:
        """The figures, in a line."""
        low, high = self.interval
        images = counted(self.images, "test image")
        of = f"{'the labels of ' if self.multi_label else ''}the same {images}"
        chance = "too few to tell" if self.p_value is None else f"p = {self.p_value:.2g}"
        points = f"{100 * self.difference:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
        shares = f"{self.accuracy:.1%} against {self.other_accuracy:.1%} of {of}"
        return "; ".join([f"{shares} (difference {points}; {chance})", *self.notes])


def compare(saved: SavedHead, other: SavedHead) -> Comparison:
    """Compare a head with another one: on test images that neither has seen, or by folds.

    Folds compare settings, so they are of no use where those are the same.

    Raises:
        BottleneckError: where they can't be compared; the message says why.
    """
    try:
        return compare_on_test_images(saved, other)
    except BottleneckError:
        if same_settings(saved, other) or not (by_folds(saved) or by_folds(other)):
            raise
        with contextlib.suppress(BottleneckError):
            return compare_by_folds(saved, other)
        raise


def compare_on_test_images(saved: SavedHead, other: SavedHead) -> Comparison:
    """Compare a head with another one on the test images of its table version that neither has seen.

    An image counts where either of them knows one of its labels; one that was not taught it is wrong there.

    Raises:
        BottleneckError: where they can't be compared; the message says why.
    """
    with _readable(saved):
        images = _unseen_images(saved, other)
        right = []
        for head in (saved, other):
            table = table_for(head, images)
            if table is None:
                raise NotComparable(
                    f"no table of the store has the features that head {head.id} was trained on "
                    f"({_columns_text(head)}), of all these test images"
                )
            right.append(_rightness(head, images, from_features(head, images, table)))
    notes = (*_unknown_note(saved, images, "the new head"), *_unknown_note(other, images, f"head {other.id}"))
    return _comparison(other, images, right, notes)


def compare_by_folds(saved: SavedHead, other: SavedHead) -> Comparison:
    """Compare the settings of two heads: of each, heads are fitted anew and tested, fold by fold.

    Raises:
        BottleneckError: where that can't be done, as of heads that know other labels.
    """
    labels, multi_label = saved.facts["labels"], saved.facts.get("multi_label", False)
    if (other.facts["labels"], other.facts.get("multi_label", False)) != (labels, multi_label):
        raise NotComparable(f"it knows other labels than head {other.id}")
    folds = (saved if by_folds(saved) else other).facts["splits"]["folds"]
    with _readable(saved):
        images = labelled_rows(_table_of(saved), labels, multi_label=multi_label)
        fold = share_out(images.y, images.units, folds, saved.facts["seed"] or 0)
        tested = fold >= 0
        if not tested.any():
            raise NotComparable("no class has two images, one to learn from and one to test")
        among = images.among(tested)
        right = [
            _rightness(head, among, probabilities_by_folds(head, images, fold)[tested])
            for head in (saved, other)
        ]
    return _comparison(other, among, right, (f"by {folds} folds, heads of both settings fitted anew",))


def _comparison(
    other: SavedHead, images: LabelledRows, right: Sequence[np.ndarray], notes: tuple[str, ...]
) -> Comparison:
    """The figures of two heads, the new one first."""
    ours, theirs = right
    units = int(images.units.max()) + 1
    return Comparison(
        other.id,
        len(images),
        float(ours.mean()),
        float(theirs.mean()),
        float((ours - theirs).mean()),
        _interval(ours - theirs, images.units),
        paired_p_value(ours, theirs, images.units) if units >= LEAST_UNITS else None,
        images.multi_label,
        notes,
    )


@contextlib.contextmanager
def _readable(saved: SavedHead) -> Iterator[None]:
    """Files that are gone since become an error that says so."""
    try:
        yield
    except (OSError, DeltaError, pa.ArrowException) as error:
        raise NotComparable(
            f"version {saved.facts['table_version']} of table {saved.directory.parent.name!r}, which head "
            f"{saved.id} was trained on, can't be read: {error}"
        ) from error


def _unseen_images(saved: SavedHead, other: SavedHead) -> LabelledRows:
    """The test images of the table version of `saved` that neither head was trained or selected on."""
    multi_label = any(head.facts.get("multi_label", False) for head in (saved, other))
    classes = sorted({*saved.facts["labels"], *other.facts["labels"]})
    images = labelled_rows(_table_of(saved), classes, multi_label=multi_label)
    unseen = images.splits == "test"
    for head in (saved, other):
        splits = head.facts["splits"]
        unseen &= ~were_in(head, images, [*splits["fitted"], *splits["selected"]])
    if not unseen.any():
        folds = any("folds" in head.facts["splits"]["tested"] for head in (saved, other))
        why = ": what is tested by folds is trained on" if folds else ""
        raise NotComparable(f"no test image is left that neither it nor head {other.id} has seen{why}")
    return images.among(unseen)


def _table_of(saved: SavedHead) -> FeatureTable:
    """The version of the table that a head was trained on; the newest for one that was trained on images."""
    name = saved.directory.parent.name
    return feature_store.open(saved.store, name, version=saved.facts["table_version"])


def _rightness(saved: SavedHead, images: LabelledRows, probabilities: np.ndarray) -> np.ndarray:
    """As `heads.evidence.skill.rightness`, of a head that may know other labels than those of the images."""
    places = np.searchsorted(images.classes, saved.facts["labels"])
    several = saved.facts.get("multi_label", False)
    if not images.multi_label:
        return (places[probabilities.argmax(axis=1)] == images.y).astype(float)
    given = np.zeros_like(images.y)
    if several:
        given[:, places] = probabilities >= np.array(saved.facts["thresholds"])
    else:
        given[np.arange(len(given)), places[probabilities.argmax(axis=1)]] = 1
    return (given == images.y).mean(axis=1)


def _interval(differences: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean difference, over units."""
    sums, counts = np.bincount(units, differences), np.bincount(units)
    if len(sums) < _NORMAL_FROM_UNITS:
        _, low, high = bootstrap_interval(differences, units)
        return low, high
    mean = differences.mean()
    error = np.sqrt(((sums - mean * counts) ** 2).sum()) / len(differences)
    return float(mean - 1.96 * error), float(mean + 1.96 * error)


def _unknown_note(saved: SavedHead, images: LabelledRows, name: str) -> list[str]:
    """What a head can't be right about: labels of these images that it was not taught."""
    counts = class_counts(images.y, len(images.classes))
    known = set(saved.facts["labels"])
    unknown = [
        label for label, count in zip(images.classes, counts, strict=True) if count and label not in known
    ]
    return [f"{name} does not know {some(unknown, shown=_SHOWN)}, and is wrong there"] if unknown else []


def _columns_text(saved: SavedHead) -> str:
    columns: Sequence[dict[str, Any]] = saved.facts["columns"]
    return ", ".join(f"{column['layer']} of weights {column['recipe']['weights']}" for column in columns)
