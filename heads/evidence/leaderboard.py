"""The heads of a table on the same images: which differences are more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from features.errors import BottleneckError
from heads.evidence.answers import Answers, answers_of_other
from heads.evidence.images import LabelledRows
from heads.evidence.skill import rightness
from heads.evidence.statistics import CONFIDENCE, LEAST_UNITS, bootstrap_interval, holm, paired_p_value
from heads.metrics import interval
from heads.probabilities import log_loss
from heads.saved import SavedHead, list_heads, load_head

#: Heads that are compared, the newest.
MOST_HEADS = 30


def leaderboard(saved: SavedHead, answers: Answers) -> tuple[list[dict[str, Any]], list[str]]:
    """The heads of the table on the same images, best first, and why others are left out.

    Heads are compared by accuracy, or of several labels by the share of labels that are right. Differences
    are to the head that evidence is about; they are noise unless a paired test says otherwise, adjusted for
    the number of heads. Of very few groups nothing is said.
    """
    ids = [facts["id"] for facts in list_heads(saved.store, saved.directory.parent.name)]
    others = [head_id for head_id in reversed(ids) if head_id != saved.id]
    left_out = [f"head {head_id}: older than the {MOST_HEADS} newest" for head_id in others[MOST_HEADS:]]
    rows = [_row(saved, answers.probabilities, answers, None)]
    for head_id in others[:MOST_HEADS]:
        try:
            other = load_head(saved.store, saved.directory.parent.name, head_id)
            probabilities = answers_of_other(other, answers)
        except BottleneckError as error:
            left_out.append(f"head {head_id}: {error}")
            continue
        rows.append(_row(other, probabilities, answers, saved))
    _mark_noise(rows)
    rows.sort(key=lambda row: (-row["skill"], row["log_loss"]))
    return rows, left_out


def _row(
    head: SavedHead, probabilities: np.ndarray, answers: Answers, compared: SavedHead | None
) -> dict[str, Any]:
    """A line of the leaderboard; `compared` is the head that it is compared with, None for that itself."""
    images, facts = answers.images, head.facts
    right = _right(head, images, probabilities)
    resampled = images.multi_label or images.units.max() + 1 < len(images)
    row: dict[str, Any] = {
        "head": head.id,
        "kind": facts["kind"],
        "layers": list(head.layers),
        "workflow": facts.get("workflow"),
        "skill": float(right.mean()),
        "interval": (
            list(bootstrap_interval(right, images.units)[1:])
            if resampled
            else interval(int(right.sum()), len(right))
        ),
        "log_loss": log_loss(images.y, probabilities),
        "difference": None,
        "p_value": None,
        "noise": None,
        "is_head": compared is None,
    }
    if compared is not None and images.units.max() + 1 >= LEAST_UNITS:
        own = _right(compared, images, answers.probabilities)
        row["difference"] = list(bootstrap_interval(right - own, images.units))
        row["p_value"] = paired_p_value(right, own, images.units)
    return row


def _right(head: SavedHead, images: LabelledRows, probabilities: np.ndarray) -> np.ndarray:
    thresholds = np.array(head.facts["thresholds"]) if images.multi_label else None
    return rightness(images.y, probabilities, thresholds)


def _mark_noise(rows: Sequence[dict[str, Any]]) -> None:
    """Say of each difference whether it is noise, by p-values that are adjusted for their number."""
    others = [row for row in rows if row["p_value"] is not None]
    for row, p_value in zip(others, holm([row["p_value"] for row in others]), strict=True):
        row["p_value"] = p_value
        row["noise"] = p_value >= 1 - CONFIDENCE
