"""How well images are answered, as one figure for each kind of data, and the figure that chance has."""

from __future__ import annotations

import numpy as np

from heads.shares import class_counts


def skill_name(*, multi_label: bool) -> str:
    """What `skill` is: for people."""
    return "macro average precision" if multi_label else "accuracy"


def skill(true: np.ndarray, probabilities: np.ndarray) -> float:
    """Accuracy; of several labels the mean of their average precisions, over those that any row has.

    Args:
        true: as `heads.Head.fit_matrix` takes y.
        probabilities: of shape (n, n_classes).
    """
    if true.ndim == 1:
        return float((probabilities.argmax(axis=1) == true).mean())
    from sklearn.metrics import average_precision_score

    has = true.any(axis=0)
    return float(average_precision_score(true[:, has], probabilities[:, has], average="macro"))


def chance(true: np.ndarray, classes: int) -> float:
    """The skill without looking at images: of always the most frequent class, or of labels at random."""
    shares = class_counts(true, classes) / len(true)
    return float(shares.max() if true.ndim == 1 else shares[shares > 0].mean())


def rightness(true: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | None) -> np.ndarray:
    """How right each image is answered, for comparisons on the same images: float ndarray of shape (n,).

    1 for the right class, else 0; of several labels the share of them that are right.

    Args:
        thresholds: of several labels, the probability from which on an image has each.
    """
    if true.ndim == 1:
        return (probabilities.argmax(axis=1) == true).astype(float)
    assert thresholds is not None
    return ((probabilities >= thresholds) == true).mean(axis=1)
