"""Probabilities against what is true: their log loss, and the temperature and thresholds that suit them.

Temperature and thresholds are chosen on held-out rows, which the model was not fitted on: those of
validation, or of the folds of a cross-validation; never those of test.
"""

from __future__ import annotations

import numpy as np

#: Where nothing says better.
DEFAULT_THRESHOLD = 0.5
#: Held-out rows that a label needs for a threshold of its own.
LEAST_ROWS = 5

#: Probabilities are kept so far from 0 and 1, such that one sure error stays finite.
EPSILON = float(np.finfo(np.float32).eps)

#: Within which a temperature is looked for.
_TEMPERATURES = (0.05, 20.0)
#: Within this of their logarithms the search has run into them.
_NEAR = 0.7


def log_loss(true: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean of −ln p(what is true); p is kept above float32's epsilon, so that one sure error stays finite.

    Args:
        true: numbers of the classes, (n,); or 0 and 1 of several labels, (n, n_labels): then the mean is over
            rows and labels.
        probabilities: (n, n_classes).
        weights: of the shape of `true`; the mean is weighted by them.
    """
    return float(np.average(losses(true, probabilities), weights=weights))


def losses(true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """What `log_loss` is the mean of: float64, of the shape of `true`."""
    if true.ndim == 1:
        likelihood = probabilities[np.arange(len(true)), true]
    else:
        likelihood = np.where(true, probabilities, 1 - probabilities)
    return -np.log(np.clip(likelihood.astype(np.float64), EPSILON, 1))


def fit_temperature(true: np.ndarray, probabilities: np.ndarray) -> float | None:
    """The temperature by which logits are to be divided for the least log loss; None where rows tell none.

    Few rows that are all right would have every model as sure as can be.

    Args:
        true: numbers of the classes (n,), or 0 and 1 of several labels (n, n_classes).
        probabilities: of shape (n, n_classes).
    """
    from scipy.optimize import minimize_scalar

    multi_label = true.ndim == 2

    def loss(log_temperature: float) -> float:
        return log_loss(true, tempered(probabilities, np.exp(log_temperature), multi_label=multi_label))

    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded").x
    return float(np.exp(found)) if low + _NEAR < found < high - _NEAR else None


def tempered(probabilities: np.ndarray, temperature: float, *, multi_label: bool) -> np.ndarray:
    """The probabilities that the same logits give after division by `temperature`: of the same shape."""
    from scipy.special import expit, logit, softmax

    kept = np.clip(probabilities.astype(np.float64), EPSILON**2, 1 - EPSILON**2)
    if multi_label:
        return expit(logit(kept) / temperature)
    return softmax(np.log(kept) / temperature, axis=1)


def fit_thresholds(true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """For each label the probability from which on rows get it, for the best F1 of that label.

    Half-way between the probabilities of two rows; of several that are as good the one nearest to 0.5. A
    label that fewer than `LEAST_ROWS` have gets 0.5: what is best for so few would be bad for others.

    Args:
        true: 0 and 1, of shape (n, n_labels).
        probabilities: of the same shape.

    Returns:
        float64 ndarray of shape (n_labels,).
    """
    from sklearn.metrics import precision_recall_curve

    thresholds = np.full(probabilities.shape[1], DEFAULT_THRESHOLD)
    for label in np.flatnonzero(true.sum(axis=0) >= LEAST_ROWS):
        precision, recall, scores = precision_recall_curve(true[:, label], probabilities[:, label])
        f1 = 2 * precision * recall / np.maximum(precision + recall, EPSILON)
        below = np.append(0, scores[:-1])  # all thresholds from here to the score give the same labels
        default = (below < DEFAULT_THRESHOLD) & (scores >= DEFAULT_THRESHOLD)
        candidates = np.where(default, DEFAULT_THRESHOLD, (below + scores) / 2)
        best = candidates[f1[:-1] == f1[:-1].max()]
        thresholds[label] = best[np.abs(best - DEFAULT_THRESHOLD).argmin()]
    return thresholds
