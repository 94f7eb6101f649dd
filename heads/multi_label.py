"""How good a head is that tells several labels: figures from its probabilities, and a table of them to read.

The definitions are scikit-learn's, https://scikit-learn.org/stable/modules/model_evaluation.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heads.metrics import interval, short
from heads.probabilities import log_loss

#: Up to this many labels each has a line of its own; above, those with the lowest average precision.
_SHOWN_LABELS = 30


def evaluate_labels(
    true: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    thresholds: np.ndarray,
    predicted: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure predictions of several labels against true ones.

    Args:
        true: 0 and 1, of shape (n, n_labels).
        probabilities: of the same shape.
        classes: the labels.
        thresholds: of shape (n_labels,), the probability from which on a row gets the label.
        predicted: 0 and 1, of the shape of `true`, where other thresholds gave them.

    Returns:
        `count`, `accuracy` (share of the rows whose labels are all right), `accuracy_interval` (95 %,
        Wilson's), `hamming_loss`, `average_precision` and `f1` (`micro` and `macro` each), `log_loss` (mean
        over rows and labels), and `per_class` (label to `precision`, `recall`, `f1`, `support`,
        `average_precision`, `threshold`), all of which JSON can hold. Labels that no row has are not in the
        macro figures, and have None for `average_precision`; where other thresholds gave the labels,
        `threshold` is None; another ratio with nothing below the line is 0.

    Raises:
        ValueError: where no row has a label, or for arrays whose shapes do not agree.
    """
    if not true.any() or true.shape != probabilities.shape or true.shape[1] != len(classes):
        raise ValueError(
            f"expected 0 and 1, and probabilities, of shape (n, {len(classes)}), and a label somewhere, "
            f"got {true.shape}, {probabilities.shape} and {int(true.sum())} labels"
        )
    from sklearn.metrics import average_precision_score, hamming_loss, precision_recall_fscore_support

    predicted_by_others = predicted is not None
    predicted = probabilities >= thresholds if predicted is None else predicted
    predicted = predicted.astype(np.int8)
    has = true.any(axis=0)
    by_label = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
    micro = precision_recall_fscore_support(true, predicted, average="micro", zero_division=0)
    precisions = np.full(len(classes), np.nan)
    precisions[has] = average_precision_score(true[:, has], probabilities[:, has], average=None)
    correct = int((predicted == true).all(axis=1).sum())
    names = ("precision", "recall", "f1", "support", "average_precision", "threshold")
    shown = [None] * len(classes) if predicted_by_others else thresholds.tolist()
    of_labels = zip(*(scores.tolist() for scores in (*by_label, precisions)), shown, strict=True)
    per_class = {
        label: dict(zip(names, row, strict=True)) for label, row in zip(classes, of_labels, strict=True)
    }
    for of_label in per_class.values():
        if not of_label["support"]:
            of_label["average_precision"] = None
    return {
        "count": len(true),
        "accuracy": correct / len(true),
        "accuracy_interval": interval(correct, len(true)),
        "hamming_loss": float(hamming_loss(true, predicted)),
        "average_precision": {
            "micro": float(average_precision_score(true, probabilities, average="micro")),
            "macro": float(precisions[has].mean()),
        },
        "f1": {"micro": float(micro[2]), "macro": float(by_label[2][has].mean())},
        "log_loss": log_loss(true, probabilities),
        "per_class": per_class,
    }


def format_label_metrics(metrics: dict[str, Any]) -> str:
    """Metrics as a text table: the figures, then each label."""
    low, high = metrics["accuracy_interval"]
    precision, f1 = metrics["average_precision"], metrics["f1"]
    lines = [
        f"average precision  {precision['macro']:6.3f}   macro; micro {precision['micro']:.3f}",
        f"F1                 {f1['macro']:6.3f}   macro; micro {f1['micro']:.3f}",
        f"all labels right   {metrics['accuracy']:6.1%}   95 % interval {low:.1%} to {high:.1%}, "
        f"{metrics['count']:,} images",
        f"Hamming loss       {metrics['hamming_loss']:6.3f}   share of the labels that are wrong",
        f"log loss           {metrics['log_loss']:6.3f}",
        "",
    ]
    rows = list(metrics["per_class"].items())
    tested = [row for row in rows if row[1]["average_precision"] is not None]
    if len(tested) > _SHOWN_LABELS:
        tested.sort(key=lambda row: row[1]["average_precision"])
        lines.append(f"the {_SHOWN_LABELS} of {len(rows)} labels with the lowest average precision:")
    return "\n".join(lines + _label_table(tested[:_SHOWN_LABELS]))


def _label_table(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    width = max([len("label"), *(len(short(label)) for label, _ in rows)])
    head = f"    {'label':<{width}}  average precision    F1  precision  recall  threshold  images"
    return [
        head,
        *(
            f"    {short(label):<{width}}  {of_label['average_precision']:>17.3f}  {of_label['f1']:>4.2f}  "
            f"{of_label['precision']:>9.2f}  {of_label['recall']:>6.2f}  {_text(of_label['threshold']):>9}  "
            f"{of_label['support']:>6,}"
            for label, of_label in rows
        ),
    ]


def _text(threshold: float | None) -> str:
    return "·" if threshold is None else f"{threshold:.3f}"
