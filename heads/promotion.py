"""Whether a new head becomes the current one of its table: decided by a paired test on the same images.

`heads.comparison` makes the test. The new head is promoted unless it is worse by more than chance: its
difference is below 0, and the two-sided p-value below 0.05.

By that alone, heads could get worse in small steps, none of which is more than chance. So losses are added
up: a head is also compared with a *reference*, which the current head came from, and is not promoted where it
is worse than that. The reference moves on to a head that is better than it with p < 0.01, or that replaced
what could not be used. So no current head is further below its reference than the test images can tell.

Each night asks the same test images again, and a reference was chosen on them: it looks better there than it
is. A head that is as good is therefore left aside more often than the 5 % of a single test: after months of
new heads, several times as often. The strict limit for the reference keeps that down.

Where heads can't be compared, only one of the settings of the current head replaces it: as a schedule trains
it, on newer images. Another one needs `always`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

from features import files
from features import store as feature_store
from features.errors import BottleneckError, check_known
from heads.comparison import Comparison, compare
from heads.current import current_head, make_current, only_writer
from heads.saved import SavedHead, load_head, to_json
from heads.settings import same_settings

#: How it is decided, the default first: by a comparison, without one, or not yet.
MODES = ("evidence", "always", "never")
#: The file beside `head.json` that says what was decided, and why.
PROMOTION_FILE = "promotion.json"
#: The p-value below which a better head is the next reference.
_REFERENCE_P_VALUE = 0.01
#: What `head.json` says of any head that can be used.
_NEEDED = {"kind", "labels", "width", "parameters", "columns", "splits", "table_version"}


class NoCurrentHead(BottleneckError):
    """A table has no current head."""


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
    Where another head has become the current one meanwhile, it is decided again.

    Args:
        mode: `evidence` compares it with the current head; `always` asks for no comparison.

    Raises:
        BottleneckError: for an unknown mode, or a head that is damaged.
    """
    while True:
        decision = decide(saved, mode)
        if mode == "never" or (decision.current == saved.id and decision.reference == _reference(saved)):
            return decision
        with only_writer(saved.store, _features(saved)):
            if _current_id(saved) == decision.current:
                _keep(saved, decision)
                return decision


def _keep(saved: SavedHead, decision: Decision) -> None:
    """Carry a decision out; the note of it comes last, so that a stop between the two is no decision."""
    if decision.promoted and decision.current != saved.id:
        make_current(saved.store, _features(saved), saved.id)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    files.write(saved.directory / PROMOTION_FILE, to_json(dataclasses.asdict(decision) | {"decided_at": now}))


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


def is_undecided(saved: SavedHead) -> bool:
    """Whether `evidence` has something to decide: nothing was of this head, or no current head can be used.

    A head that the current one has replaced was decided on. No model is loaded.
    """
    try:
        current = usable_current(saved.store, _features(saved))
    except BottleneckError:
        return True
    if current.id == saved.id or read_promotion(saved) is not None:
        return False
    return (read_promotion(current) or {}).get("current") != saved.id


def usable_current(store: str | Path, features: str) -> SavedHead:
    """The current head of a table, whose model is not loaded.

    Raises:
        NoCurrentHead: where there is none.
        BottleneckError: where its files are damaged, or its table was made anew since.
    """
    current_id = current_head(store, features)
    if current_id is None:
        raise NoCurrentHead(f"table {features!r} had no current head")
    current = load_head(store, features, current_id)
    _check_facts(current)
    _check_table(current)
    return current


def decide(saved: SavedHead, mode: str = MODES[0]) -> Decision:
    """Whether a head is to become the current one; nothing is changed.

    Raises:
        BottleneckError: for an unknown mode, or a head that is damaged.
    """
    check_mode(mode)
    current_id = _current_id(saved)

    def without_comparison(promoted: bool, why: str) -> Decision:
        return Decision(saved.id, current_id, promoted, mode, why, saved.id)

    if current_id == saved.id:
        why = "it is the current head already"
        return dataclasses.replace(
            without_comparison(True, why), reference=saved.id if mode == "always" else _reference(saved)
        )
    if mode == "never":
        return without_comparison(False, "not promoted, as was asked for")
    _check_facts(saved)
    _ = saved.head  # loaded, so that a damaged model is found before it is the current one
    if mode == "always":
        return without_comparison(True, "promoted without a comparison, as was asked for")
    try:
        _check_table(saved)
    except BottleneckError as error:
        return without_comparison(False, f"not promoted: {error} (`promote=always` promotes it all the same)")
    try:
        current = usable_current(saved.store, _features(saved))
        _ = current.head
    except NoCurrentHead as error:
        return without_comparison(True, f"promoted: {error}")
    except BottleneckError as error:
        return without_comparison(True, f"promoted without a comparison: {error}")
    return _by_evidence(saved, current)


def _by_evidence(saved: SavedHead, current: SavedHead) -> Decision:
    """The decision, where there is a current head that can be used."""
    try:
        with_current = compare(saved, current)
    except BottleneckError as error:
        return _by_settings(saved, current, str(error))
    comparisons, reference_id, note = [with_current], _reference(current), ""
    if reference_id not in (current.id, saved.id):
        try:
            reference = load_head(saved.store, _features(saved), reference_id)
            _check_facts(reference)
            comparisons.append(compare(saved, reference))
        except BottleneckError as error:
            note = f"; losses count from it now, since head {reference_id} can't be compared: {error}"
            reference_id = current.id
    worse = [of for of in comparisons if of.significant and of.difference < 0]
    with_reference = comparisons[-1]
    if with_current in worse:
        why = f"not promoted: {with_current.sentence}"
    elif worse:
        why = f"not promoted: small losses have added up since head {reference_id}, {with_reference.sentence}"
    else:
        why = f"promoted: {with_current.sentence}"
    if with_reference.difference > 0 and _is_below(with_reference.p_value, _REFERENCE_P_VALUE):
        reference_id = saved.id
    return Decision(saved.id, current.id, not worse, MODES[0], why + note, reference_id, tuple(comparisons))


def _by_settings(saved: SavedHead, current: SavedHead, fault: str) -> Decision:
    """The decision, where a head can't be compared with the current one.

    Args:
        fault: why.
    """
    same = same_settings(saved, current)
    if same:
        why = (
            f"promoted without a comparison, as it was trained with the settings of the current head, "
            f"{current.id}: {fault}"
        )
    else:
        why = (
            f"not promoted, as it can't be compared with the current head, {current.id}, which was trained "
            f"with other settings: {fault} (`promote=always` promotes it all the same)"
        )
    return Decision(saved.id, current.id, same, MODES[0], why, _reference(current))


def _features(saved: SavedHead) -> str:
    """Name of the table that a head is kept under."""
    return saved.directory.parent.name


def _current_id(saved: SavedHead) -> str | None:
    """Id of the current head; None also where `current.json` is damaged."""
    try:
        return current_head(saved.store, _features(saved))
    except BottleneckError:
        return None


def _reference(saved: SavedHead) -> str:
    """Id of the head that losses count from while this one is current; of older versions, itself."""
    return (read_promotion(saved) or {}).get("reference", saved.id)


def _is_below(p_value: float | None, limit: float) -> bool:
    return p_value is not None and p_value < limit


def _check_facts(saved: SavedHead) -> None:
    """Refuse a head whose `head.json` lacks what heads are used by."""
    missing = sorted(_NEEDED - saved.facts.keys())
    if not missing:
        missing = sorted({"fitted", "selected", "tested"} - saved.facts["splits"].keys())
    if missing:
        raise BottleneckError(f"head {saved.id} is damaged: its head.json lacks {', '.join(missing)}")


def _check_table(saved: SavedHead) -> None:
    """Refuse a head of a table that was made anew under the same name."""
    name = _features(saved)
    if name not in feature_store.table_names(saved.store):
        return  # a head that was trained on images needs no table
    if not saved.is_of(feature_store.open(saved.store, name)):
        raise BottleneckError(
            f"head {saved.id} was trained on another table of the name {name!r}, which was made anew"
        )
