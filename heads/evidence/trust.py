"""Can a head's numbers be trusted? Its test metrics, how sure it may be, and how it compares with others."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.errors import BottleneckError
from heads.evidence.answers import Answers, NoAnswers, answers_of_other
from heads.evidence.images import LabelledRows
from heads.evidence.skill import rightness, skill
from heads.evidence.statistics import CONFIDENCE, bootstrap_interval, holm, mcnemar
from heads.metrics import evaluate_head, interval
from heads.probabilities import log_loss
from heads.saved import SavedHead, list_heads, load_head

BINS = 10
#: Heads that are compared, the newest.
MOST_HEADS = 30


def metrics_of(saved: SavedHead, answers: Answers) -> dict[str, Any]:
    """Metrics of the head on the images of its answers: see `heads.metrics.evaluate`."""
    return evaluate_head(saved.head, saved.facts, answers.images.y, answers.probabilities)


def reliability(true: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """How often answers of each confidence are right, in ten bins, and the expected calibration error.

    Of one label an answer is the most probable class; of several each label is one, and the confidence is the
    probability that the image has it. Guo et al. (2017), https://arxiv.org/abs/1706.04599

    Args:
        true: as `heads.Head.fit_matrix` takes y.
        probabilities: (n, n_classes).
    """
    if true.ndim == 1:
        confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    else:
        confidence, right = probabilities.ravel(), true.ravel().astype(bool)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for number in np.unique(place).tolist():
        of_bin = place == number
        count, correct = int(of_bin.sum()), int(right[of_bin].sum())
        mean = float(confidence[of_bin].mean())
        error += abs(correct / count - mean) * count / len(confidence)
        bins.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "count": count,
                "confidence": mean,
                "accuracy": correct / count,
                "interval": interval(correct, count),
            }
        )
    return {"bins": bins, "calibration_error": float(error)}


def worst(answers: Answers, most: int) -> list[dict[str, Any]]:
    """The images whose true labels the head holds least likely, among those that it gets wrong."""
    images, probabilities = answers.images, answers.probabilities
    if images.multi_label:
        likelihood = np.where(images.y, probabilities, 1 - probabilities).min(axis=1)
        wrong = likelihood < 0.5
        likely = (itertools.compress(images.classes, row >= 0.5) for row in probabilities)
        predicted = [" | ".join(labels) for labels in likely]
    else:
        likelihood = probabilities[np.arange(len(images)), images.y]
        best = probabilities.argmax(axis=1)
        wrong = best != images.y
        predicted = [images.classes[number] for number in best]
    order = [number for number in np.argsort(likelihood, kind="stable").tolist() if wrong[number]]
    return [
        {
            "uri": images.uris[number],
            "label": images.labels[number],
            "predicted": predicted[number],
            "probability": float(likelihood[number]),
        }
        for number in order[:most]
    ]


def leaderboard(saved: SavedHead, answers: Answers) -> tuple[list[dict[str, Any]], list[str]]:
    """The heads of the table on the same images, best first, and why others are left out.

    Differences are to the head that evidence is about. They are noise unless the test says otherwise: of one
    label McNemar's, adjusted for the number of heads; of several labels a bootstrap over images.
    """
    ids = [facts["id"] for facts in list_heads(saved.store, saved.directory.parent.name)]
    others = [head_id for head_id in reversed(ids) if head_id != saved.id]
    left_out = [f"head {head_id}: older than the {MOST_HEADS} newest" for head_id in others[MOST_HEADS:]]
    rows = [_row(saved, answers.probabilities, answers, None)]
    for head_id in others[:MOST_HEADS]:
        other = load_head(saved.store, saved.directory.parent.name, head_id)
        try:
            probabilities = answers_of_other(other, saved, answers.images)
        except (NoAnswers, BottleneckError) as error:
            left_out.append(f"head {head_id}: {error}")
            continue
        rows.append(_row(other, probabilities, answers, saved))
    _mark_noise(rows, multi_label=answers.images.multi_label)
    rows.sort(key=lambda row: (-row["skill"], row["log_loss"]))
    return rows, left_out


def _row(
    head: SavedHead, probabilities: np.ndarray, answers: Answers, compared: SavedHead | None
) -> dict[str, Any]:
    """A line of the leaderboard; `compared` is the head that it is compared with, None for that itself."""
    images, facts = answers.images, head.facts
    right = _right(head, images, probabilities)
    mean, low, high = bootstrap_interval(right, images.units)
    row = {
        "head": head.id,
        "kind": facts["kind"],
        "layers": list(head.layers),
        "workflow": facts.get("workflow"),
        "skill": skill(images.y, probabilities),
        "interval": interval(int(right.sum()), len(right)) if not images.multi_label else None,
        "log_loss": log_loss(images.y, probabilities),
        "difference": None,
        "p_value": None,
        "noise": None,
        "is_head": compared is None,
    }
    if compared is not None:
        own = _right(compared, images, answers.probabilities)
        row["difference"] = list(bootstrap_interval(right - own, images.units))
        row["p_value"] = None if images.multi_label else mcnemar(right > 0, own > 0)
    return row


def _right(head: SavedHead, images: LabelledRows, probabilities: np.ndarray) -> np.ndarray:
    thresholds = np.array(head.facts["thresholds"]) if images.multi_label else None
    return rightness(images.y, probabilities, thresholds)


def _mark_noise(rows: Sequence[dict[str, Any]], *, multi_label: bool) -> None:
    """Say of each difference whether it is noise, with p-values that are adjusted for their number."""
    others = [row for row in rows if not row["is_head"]]
    if multi_label:
        for row in others:
            _, low, high = row["difference"]
            row["noise"] = low <= 0 <= high
        return
    for row, p_value in zip(others, holm([row["p_value"] for row in others]), strict=True):
        row["p_value"] = p_value
        row["noise"] = p_value >= 1 - CONFIDENCE


def without(saved: SavedHead, answers: Answers, marks: np.ndarray) -> dict[str, Any] | None:
    """Metrics without some of the images, such as those with a copy in training; None where none is left.

    Args:
        marks: which images are left out, bool ndarray (n,).
    """
    kept = ~marks
    if not kept.any() or (answers.images.multi_label and not answers.images.y[kept].any()):
        return None
    metrics = metrics_of(
        saved, Answers(answers.images.among(kept), answers.probabilities[kept], answers.tested)
    )
    names = ("count", "accuracy", "accuracy_interval", "log_loss")
    return {"images": int(marks.sum()), **{name: metrics[name] for name in names}}


def headline(metrics: Mapping[str, Any]) -> str:
    """The figure that a head is known by, with its interval, for people."""
    low, high = metrics["accuracy_interval"]
    what = "of the images have all their labels right" if "hamming_loss" in metrics else "accuracy"
    return f"{metrics['accuracy']:.1%} {what} ({low:.1%} to {high:.1%}) on {metrics['count']:,} images"
