"""Probabilities of images from models that were fitted without them: what judges the data themselves.

Each layer has models of its own, and the means of their probabilities are taken: layers are wrong about
different images. What is fitted is a logistic head, whatever head the evidence is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heads.evidence.answers import predict_by_fold
from heads.evidence.images import LabelledRows
from heads.folds import fit_anew
from heads.logistic import LogisticHead
from heads.progress import Progress, silent
from heads.shares import deal, hold_out

FOLDS = 5
#: Dealings into folds whose probabilities are averaged, where the images are few; else one.
REPEATS = 3
_FEW = 5000
#: Images that models are fitted on, at most: 160 MB of 2,048 features.
MOST_FITTED = 20_000
#: Images that `C` is chosen on.
_MOST_CHOOSING = 4000
#: Where there is nothing to choose on.
_USUAL_C = 0.01


def out_of_fold(
    images: LabelledRows, layers: Sequence[str], seed: int = 0, progress: Progress = silent
) -> np.ndarray:
    """Probabilities of each image, from logistic heads that have not seen it, nor what belongs to it.

    Args:
        layers: each by itself.
        progress: called after each dealing of a layer.

    Returns:
        float64 ndarray of shape (n, n_classes).
    """
    repeats = REPEATS if len(images) <= _FEW else 1
    sums = np.zeros((len(images), len(images.classes)))
    steps = len(layers) * repeats
    fitted = some_rows(images, MOST_FITTED, seed)
    for number, layer in enumerate(layers):
        X = images.features([layer], fitted)
        head = LogisticHead(C=chosen_C(X, images.y[fitted], images.classes, images.units[fitted], seed))
        for repeat in range(repeats):
            fold = deal(images.y, FOLDS, seed + repeat, images.units)
            models = [_fit_fold(head, images, X, fitted, fold != part) for part in range(FOLDS)]
            sums += predict_by_fold(models, images, [layer], fold)
            progress(number * repeats + repeat + 1, steps, {})
    return sums / steps


def _fit_fold(
    head: LogisticHead, images: LabelledRows, X: np.ndarray, fitted: np.ndarray, wanted: np.ndarray
) -> Any:
    """A head fitted on those images of a sample that are wanted; None where there is none."""
    rows = wanted[fitted]
    return fit_anew(head, X[rows], images.y[fitted][rows], images.classes) if rows.any() else None


def some_rows(images: LabelledRows, most: int, seed: int) -> np.ndarray:
    """Numbers of at most so many of the images, at random, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(len(images))[:most])


def chosen_C(
    X: np.ndarray, y: np.ndarray, classes: Sequence[str], units: np.ndarray | None = None, seed: int = 0
) -> float:
    """The `C` that a logistic head chooses, by cross-validation on some thousand rows.

    Args:
        X: of shape (n, width).
        y: as `heads.Head.fit_matrix` takes it.
    """
    rows = np.arange(len(X))
    if len(rows) > _MOST_CHOOSING:
        rows = np.flatnonzero(hold_out(y, -(-len(X) // _MOST_CHOOSING), seed))
    head = fit_anew(LogisticHead(), X[rows], y[rows], classes, None if units is None else units[rows])
    training = getattr(head, "training_", None)  # none of a single class
    return training.facts["C"] if training else _USUAL_C
