"""Can a head's numbers be trusted? Its test metrics, how sure it may be, and how it compares with others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from features.text import counted
from heads.evidence.answers import Answers
from heads.evidence.statistics import LEAST_UNITS, RESAMPLINGS, bootstrap
from heads.metrics import evaluate_head, interval
from heads.probabilities import log_loss, losses
from heads.saved import SavedHead

BINS = 10
#: Of a bootstrap whose figures take long.
_FEW_RESAMPLINGS = 200


def metrics_of(saved: SavedHead, answers: Answers) -> dict[str, Any]:
    """Metrics of the head on the images of its answers: see `heads.metrics.evaluate`."""
    return evaluate_head(saved.head, saved.facts, answers.images.y, answers.probabilities)


def intervals_of(saved: SavedHead, answers: Answers) -> dict[str, list[float]]:
    """95 % intervals of the figures of `metrics_of` that are no shares of images, by a bootstrap over units.

    Returns:
        Of one label `macro_f1` and `log_loss`; of several `average_precision`, `f1` (macro) and `log_loss`;
        nothing for very few groups.
    """
    images, probabilities = answers.images, answers.probabilities
    if images.units.max() + 1 < LEAST_UNITS:
        return {}
    figures = _label_figures if images.multi_label else _figures
    thresholds = np.array(saved.facts.get("thresholds", ()))
    names, of = figures(images.y, probabilities, thresholds)
    resamplings = _FEW_RESAMPLINGS if images.multi_label else RESAMPLINGS
    found = bootstrap(lambda times: of(times[images.units]), images.units.max() + 1, resamplings)
    return {name: list(interval) for name, interval in zip(names, found, strict=True)}


#: Figures of an answer, and what gives them for how much each row counts.
_Weighted = tuple[tuple[str, ...], Callable[[np.ndarray], list[float]]]


def _figures(true: np.ndarray, probabilities: np.ndarray, _: np.ndarray) -> _Weighted:
    classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    of_rows = losses(true, probabilities)

    def of(weights: np.ndarray) -> list[float]:
        hits = np.bincount(true[predicted == true], weights[predicted == true], classes)
        named = np.bincount(true, weights, classes) + np.bincount(predicted, weights, classes)
        f1 = 2 * hits[named > 0] / named[named > 0]
        return [float(f1.mean()), float(np.average(of_rows, weights=weights))]

    return ("macro_f1", "log_loss"), of


def _label_figures(true: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> _Weighted:
    from sklearn.metrics import average_precision_score, f1_score

    predicted = (probabilities >= thresholds).astype(int)

    def of(weights: np.ndarray) -> list[float]:
        has = weights @ true > 0
        row_weights = {"sample_weight": weights.astype(float), "average": "macro"}
        return [
            average_precision_score(true[:, has], probabilities[:, has], **row_weights),
            f1_score(true[:, has], predicted[:, has], zero_division=0, **row_weights),
            log_loss(true, probabilities, np.broadcast_to(weights[:, None], true.shape)),
        ]

    return ("average_precision", "f1", "log_loss"), of


def class_intervals(saved: SavedHead, answers: Answers) -> dict[str, dict[str, list[float] | None]]:
    """95 % intervals of the precision and recall of each class or label, Wilson's; None for no images.

    Returns:
        `precision` and `recall`, by label.
    """
    images, probabilities = answers.images, answers.probabilities
    numbers = np.arange(len(images.classes))
    if images.multi_label:
        true = images.y.astype(bool)
        predicted = probabilities >= np.array(saved.facts["thresholds"])
    else:
        true = images.y[:, None] == numbers
        predicted = probabilities.argmax(axis=1)[:, None] == numbers
    hits = (true & predicted).sum(axis=0).tolist()
    below = {"precision": predicted.sum(axis=0).tolist(), "recall": true.sum(axis=0).tolist()}
    return {
        label: {
            name: interval(hits[number], counts[number]) if counts[number] else None
            for name, counts in below.items()
        }
        for number, label in enumerate(images.classes)
    }


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
    """What a head is known by, with its interval: a clause for people."""
    low, high = metrics["accuracy_interval"]
    tested = f"({low:.1%} to {high:.1%}) on {counted(metrics['count'], 'image')}"
    if "hamming_loss" in metrics:
        return f"all labels right for {metrics['accuracy']:.1%} of the images {tested}"
    return f"{metrics['accuracy']:.1%} accuracy {tested}"
