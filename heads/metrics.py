"""How good a head is: figures from its probabilities and the true labels, and a table of them to read.

The definitions are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import BottleneckError
from features.store.labels import encode, have_others
from features.text import printable
from heads.probabilities import log_loss

if TYPE_CHECKING:
    from features.store.table import FeatureTable
    from heads.base import Head

#: Up to this many classes the whole confusion matrix is shown; above, the pairs confused most often.
_SHOWN_CLASSES = 20
_SHOWN_PAIRS = 10
_SHOWN_LABEL = 24


def evaluate(
    true: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], *, majority_class: str
) -> dict[str, Any]:
    """Measure predictions against true labels.

    Args:
        true: of shape (n,), numbers of the true classes in `classes`.
        probabilities: of shape (n, n_classes).
        classes: the labels.
        majority_class: the most frequent label of `train`; always answering it is the baseline.

    Returns:
        `count`, `accuracy`, `accuracy_interval` (95 %, Wilson's), `majority_class`, `majority_accuracy`,
        `macro_f1`, `log_loss` (natural logarithm), `per_class` (label to `precision`, `recall`,
        `f1`, `support`) and `confusion_matrix` (rows: true class, columns: predicted), all of
        which JSON can hold. A ratio with nothing below the line is 0, and the macro F1 is over the
        classes that are true or predicted anywhere, as in scikit-learn.

    Raises:
        ValueError: for no rows, or arrays whose shapes do not agree.
    """
    if len(true) == 0 or probabilities.shape != (len(true), len(classes)):
        raise ValueError(
            f"expected probabilities of shape (n, n_classes) = ({len(true)}, {len(classes)}) with n > 0, "
            f"got {probabilities.shape}"
        )
    # Late: whoever only shows figures needs it not.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted, numbers = probabilities.argmax(axis=1), np.arange(len(classes))
    confusion = confusion_matrix(true, predicted, labels=numbers)
    by_class = precision_recall_fscore_support(true, predicted, labels=numbers, zero_division=0)
    precision, recall, f1, support = (scores.tolist() for scores in by_class)
    seen = np.union1d(true, predicted)
    correct = int(confusion.trace())
    return {
        "count": len(true),
        "accuracy": correct / len(true),
        "accuracy_interval": interval(correct, len(true)),
        "majority_class": majority_class,
        "majority_accuracy": support[list(classes).index(majority_class)] / len(true),
        "macro_f1": float(by_class[2][seen].mean()),
        "log_loss": log_loss(true, probabilities),
        "per_class": {
            label: {"precision": p, "recall": r, "f1": f, "support": int(n)}
            for label, p, r, f, n in zip(classes, precision, recall, f1, support, strict=True)
        },
        "confusion_matrix": confusion.tolist(),
    }


def interval(correct: int, count: int) -> list[float]:
    """The 95 % interval of a share, Wilson's."""
    from scipy.stats import binomtest

    return list(binomtest(correct, count).proportion_ci(method="wilson"))


def evaluate_split(head: Head, facts: Mapping[str, Any], table: FeatureTable, split: str) -> dict[str, Any]:
    """Measure a trained head on the images of a split of a table, read as a stream; never on augmented views.

    Images without any of the labels that were learned are left out here, too; `left_out` says how many.

    Args:
        facts: of this head, as in `head.json`: `columns`, `majority_class`, `left_out`.

    Raises:
        BottleneckError: for a split without rows, or a label that this head never saw.
    """
    layers = [column["layer"] for column in facts["columns"]]
    left_out, multi_label = facts.get("left_out") or {}, head.multi_label_
    classes = head.classes_.tolist()
    true, probabilities, skipped = [], [], 0
    for X, labels in table.batches(split, layers=layers, labelled=True, multi_label=multi_label, views=0):
        if left_out:
            known = have_others(labels, left_out)
            skipped += len(known) - int(known.sum())
            X, labels = X[known], labels[known]
        if len(X):
            probabilities.append(head.predict_proba(X))
            true.append(encode(labels, classes, multi_label=multi_label, ignored=left_out))
    if not true:
        raise BottleneckError(f"the {split} split of table {table.name!r} has no rows to test this head on")
    metrics = evaluate_head(head, facts, np.concatenate(true), np.concatenate(probabilities))
    return metrics | ({"left_out": skipped} if skipped else {})


def evaluate_head(
    head: Head,
    facts: Mapping[str, Any],
    true: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray | None = None,
) -> dict[str, Any]:
    """Metrics of a head's probabilities: see `evaluate` and `heads.multi_label.evaluate_labels`.

    Args:
        facts: of this head, as in `head.json`: `majority_class`.
        true: as `heads.Head.fit_matrix` takes y.
        predicted: likewise, where the probabilities come from heads with thresholds of their own.
    """
    classes = head.classes_.tolist()
    if not head.multi_label_:
        return evaluate(true, probabilities, classes, majority_class=facts["majority_class"])
    from heads.multi_label import evaluate_labels

    return evaluate_labels(true, probabilities, classes, thresholds=head.thresholds_, predicted=predicted)


def format_metrics(metrics: dict[str, Any]) -> str:
    """Metrics as a text table: the figures, then each class with its row of the confusion matrix."""
    if "hamming_loss" in metrics:
        from heads.multi_label import format_label_metrics

        return format_label_metrics(metrics)
    low, high = metrics["accuracy_interval"]
    lines = [
        f"accuracy        {metrics['accuracy']:6.1%}   95 % interval {low:.1%} to {high:.1%}, "
        f"{metrics['count']:,} images",
        f"majority class  {metrics['majority_accuracy']:6.1%}   "
        f"always answering {metrics['majority_class']!r}",
        f"macro F1        {metrics['macro_f1']:6.3f}",
        f"log loss        {metrics['log_loss']:6.3f}",
        "",
    ]
    many = len(metrics["per_class"]) > _SHOWN_CLASSES
    return "\n".join(lines + (_confused_pairs(metrics) if many else _class_table(metrics)))


def _class_table(metrics: dict[str, Any]) -> list[str]:
    """One line a class; the columns of the confusion matrix are numbered, to stay narrow."""
    labels = [short(label) for label in metrics["per_class"]]
    width = max(len("true class"), *map(len, labels))
    cell = max(len(str(max(map(max, metrics["confusion_matrix"])))), len(str(len(labels)))) + 2
    numbers = "".join(f"{number:>{cell}}" for number in range(1, len(labels) + 1))
    before = f"    {'true class':<{width}}  precision  recall  images "
    lines = [f"{'':<{len(before)}}  predicted as", before + numbers]
    for number, (label, scores, row) in enumerate(
        zip(labels, metrics["per_class"].values(), metrics["confusion_matrix"], strict=True), start=1
    ):
        counts = "".join(f"{count or '·':>{cell}}" for count in row)
        lines.append(
            f"{number:>3} {label:<{width}}  {scores['precision']:>9.2f}  {scores['recall']:>6.2f}  "
            f"{scores['support']:>6,} {counts}"
        )
    return lines


def _confused_pairs(metrics: dict[str, Any]) -> list[str]:
    labels = [short(label) for label in metrics["per_class"]]
    confusion = np.array(metrics["confusion_matrix"])
    support = confusion.sum(axis=1)
    np.fill_diagonal(confusion, 0)
    worst = np.argsort(-confusion, axis=None, kind="stable")[:_SHOWN_PAIRS]
    pairs = [(int(index // len(labels)), int(index % len(labels))) for index in worst]
    pairs = [(true, predicted) for true, predicted in pairs if confusion[true, predicted]]
    if not pairs:
        return [f"{len(labels)} classes, none taken for another"]
    shares = [f"{confusion[true, predicted]:,} of {support[true]:,}" for true, predicted in pairs]
    width = max(len("true class"), *(len(labels[true]) for true, _ in pairs))
    cell = max(len("images"), *map(len, shares))
    return [
        f"{len(labels)} classes; those most often taken for another:",
        f"    {'true class':<{width}}  {'images':>{cell}}  predicted as",
        *(
            f"    {labels[true]:<{width}}  {share:>{cell}}  {labels[predicted]}"
            for (true, predicted), share in zip(pairs, shares, strict=True)
        ),
    ]


def short(label: str) -> str:
    label = printable(label)
    return label if len(label) <= _SHOWN_LABEL else label[: _SHOWN_LABEL - 1] + "…"
