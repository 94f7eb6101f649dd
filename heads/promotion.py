"""Whether a new head becomes the current one of its table: decided by a paired test on the same images.

Both heads answer the same images from stored features: the test images of the table version that the new head
was trained on, without those that either of them was trained or selected on. Images of a group, and files of
the same bytes, count as one. The new head is promoted unless it is worse by more than chance: its difference
is below 0, and the two-sided p-value below 0.05.

By that alone, heads could get worse in small steps, none of which is more than chance. So losses are added
up: a head is also compared with a *reference*, which the current head came from, and is not promoted where it
is worse than that. The reference moves on to a head that is better than it by more than chance, or that was
promoted without a comparison. Of two tests, each of which takes chance for a loss in one of 40 cases at most,
one or the other does in one of 20.

So no current head is further below the reference than the test images can tell. A few of them can't tell
much: the interval of the difference says how much.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from features import files
from features import store as feature_store
from features.errors import BottleneckError, check_known
from features.text import counted, some
from heads.evidence.answers import from_features, table_for, were_in
from heads.evidence.images import LabelledRows, labelled_rows
from heads.evidence.statistics import (
    CONFIDENCE,
    LEAST_UNITS,
    bootstrap_interval,
    paired_p_value,
)
from heads.saved import SavedHead, current_head, load_head, make_current, to_json
from heads.shares import class_counts

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: How it is decided, the default first: by a comparison, without one, or not yet.
MODES = ("evidence", "always", "never")
#: The file beside `head.json` that says what was decided, and why.
PROMOTION_FILE = "promotion.json"
#: Units from which on an interval is that of a normal distribution: resampling would take long for the same.
_MANY = 20_000
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
        right, of_other: the share that the new head and the other answer right; of several labels, of the
            labels.
        difference, interval: of the two, and its 95 % interval.
        p_value: of the paired test; None for so few groups or images that it says nothing.
        notes: what else there is to know of it.
    """

    head: str
    images: int
    right: float
    of_other: float
    difference: float
    interval: tuple[float, float]
    p_value: float | None
    multi_label: bool
    notes: tuple[str, ...] = ()

    @property
    def sure(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_value is not None and self.p_value < 1 - CONFIDENCE

    @property
    def sentence(self) -> str:
        """The figures, in a line."""
        low, high = self.interval
        images = counted(self.images, "test image")
        of = f"{'the labels of ' if self.multi_label else ''}the same {images}"
        chance = "too few to tell" if self.p_value is None else f"p = {self.p_value:.2g}"
        points = f"{100 * self.difference:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
        figures = f"{self.right:.1%} against {self.of_other:.1%} of {of} (difference {points}; {chance})"
        return "; ".join([figures, *self.notes])


@dataclasses.dataclass(frozen=True)
class Decision:
    """Whether a head is promoted.

    Attributes:
        head: its id.
        current: id of the head that was current before, None for none.
        promoted: whether it becomes the current one.
        mode: one of `MODES`.
        why: a sentence for people.
        reference: id of the head that later losses are counted from, while this one is current.
        comparisons: with the current head, then with its reference, as far as they could be made.
    """

    head: str
    current: str | None
    promoted: bool
    mode: str
    why: str
    reference: str
    comparisons: tuple[Comparison, ...] = ()


def check_mode(mode: str) -> None:
    """Refuse a mode that is none of `MODES` with a BottleneckError."""
    check_known("way to promote", mode, MODES)


def promote_head(saved: SavedHead, mode: str = MODES[0]) -> Decision:
    """Decide whether a head becomes the current one of its table, and make it so.

    What was decided is kept beside the head, in `promotion.json`. With `never`, nothing is decided or kept.

    Args:
        mode: `evidence` compares it with the current head; `always` asks for no comparison.

    Raises:
        BottleneckError: for an unknown mode.
    """
    decision = decide(saved, mode)
    if mode == "never" or decision.current == saved.id:
        return decision
    now = datetime.datetime.now(datetime.UTC).isoformat()
    kept = dataclasses.asdict(decision) | {"decided_at": now}
    files.write(saved.directory / PROMOTION_FILE, to_json(kept))
    if decision.promoted:
        make_current(saved.store, saved.directory.parent.name, saved.id)
    return decision


def read_promotion(saved: SavedHead) -> dict[str, Any] | None:
    """What was decided of a head, as `Decision` has it; None where nothing was, or the file is damaged."""
    path = saved.directory / PROMOTION_FILE
    if not files.is_file(path):
        return None
    try:
        kept = json.loads(files.read(path))
    except ValueError:
        return None
    return kept if isinstance(kept, dict) and {"promoted", "why", "reference"} <= kept.keys() else None


def decide(saved: SavedHead, mode: str = MODES[0]) -> Decision:
    """Whether a head is to become the current one; nothing is changed.

    Where it can't be compared with the current head, it is promoted, since it knows the newer images, and the
    sentence says why.

    Raises:
        BottleneckError: for an unknown mode.
    """
    check_mode(mode)
    features = saved.directory.parent.name
    try:
        current_id = current_head(saved.store, features)
        current = load_head(saved.store, features, current_id) if current_id else None
    except BottleneckError as error:
        current_id, current, fault = None, None, str(error)
    else:
        fault = ""

    def without_comparison(promoted: bool, why: str) -> Decision:
        return Decision(saved.id, current_id, promoted, mode, why, saved.id)

    if current_id == saved.id:
        return without_comparison(True, "it is the current head already")
    if mode == "never":
        return without_comparison(False, "not promoted, as was asked for")
    if mode == "always":
        return without_comparison(True, "promoted without a comparison, as was asked for")
    if fault:
        return without_comparison(True, f"promoted without a comparison: {fault}")
    if current is None:
        return without_comparison(True, f"promoted: table {features!r} had no current head")
    try:
        with_current = compare(saved, current)
    except BottleneckError as error:
        return without_comparison(True, f"promoted without a comparison: {error}")
    return _by_evidence(saved, current, with_current)


def _by_evidence(saved: SavedHead, current: SavedHead, with_current: Comparison) -> Decision:
    """The decision, where there is a comparison with the current head."""
    reference_id = (read_promotion(current) or {}).get("reference", current.id)
    comparisons = [with_current]
    if reference_id not in (current.id, saved.id):
        try:
            reference = load_head(saved.store, saved.directory.parent.name, reference_id)
            comparisons.append(compare(saved, reference))
        except BottleneckError:
            reference_id = current.id  # of a reference that can't be asked any more, losses can't be counted
    worse = [of for of in comparisons if of.sure and of.difference < 0]
    with_current, with_reference = comparisons[0], comparisons[-1]
    if with_current in worse:
        why = f"not promoted: {with_current.sentence}"
    elif worse:
        why = f"not promoted: small losses have added up since head {reference_id}, {with_reference.sentence}"
    else:
        why = f"promoted: {with_current.sentence}"
    if with_reference.sure and with_reference.difference > 0:
        reference_id = saved.id
    return Decision(saved.id, current.id, not worse, MODES[0], why, reference_id, tuple(comparisons))


def compare(saved: SavedHead, other: SavedHead) -> Comparison:
    """Compare a head with another one on the test images of its table version that neither has seen.

    An image counts where either of them knows one of its labels; one that was not taught it is wrong there.

    Raises:
        BottleneckError: where they can't be compared; the message says why.
    """
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
    ours, theirs = right
    units = int(images.units.max()) + 1
    low, high = _interval(ours - theirs, images.units)
    return Comparison(
        other.id,
        len(images),
        float(ours.mean()),
        float(theirs.mean()),
        float((ours - theirs).mean()),
        (low, high),
        paired_p_value(ours, theirs, images.units) if units >= LEAST_UNITS else None,
        images.multi_label,
        (*_unknown_note(saved, images, "the new head"), *_unknown_note(other, images, f"head {other.id}")),
    )


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
        by_folds = any("folds" in head.facts["splits"]["tested"] for head in (saved, other))
        why = ": what is tested by folds is trained on" if by_folds else ""
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
    if len(sums) < _MANY:
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
