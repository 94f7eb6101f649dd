"""What every head can do: learn from arrays, predict, be saved, as an estimator of scikit-learn.

A kind of head is a dataclass of its parameters with a few methods of its own; all that the kinds have in
common is here. Nothing here knows tables: `heads.training` fits a head from one.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

#: Called as training goes on: number of the step (from 1), steps at most, figures of this step.
Progress = Callable[[int, int, dict[str, float]], None]

_ROWS_AT_ONCE = 4096

#: The classes: their labels, sorted.
Labels = Sequence[Any] | np.ndarray


def silent(step: int, steps: int, figures: dict[str, float]) -> None:
    """Progress that nobody watches."""


class Training(NamedTuple):
    """How a head was trained.

    Attributes:
        facts: the hyper-parameters that were chosen and how, for `head.json`.
        fitted: the parts that the model was fitted on: `train`, and perhaps `validation`.
        selected: the parts that hyper-parameters, or the moment to stop, were chosen on.
        validation: numbers of the classes of the validation rows, (n,), and probabilities from a model that
            was not fitted on them, (n, n_classes), where both are in memory.
    """

    facts: dict[str, Any]
    fitted: list[str]
    selected: list[str]
    validation: tuple[np.ndarray, np.ndarray] | None = None


class Head(ClassifierMixin, BaseEstimator, abc.ABC):
    """A classifier on the features of one layer.

    One that can learn from rows that do not fit in memory has a method `fit_stream` as well, as
    `heads.DenseHead` has it: `train_head` then streams. It takes callbacks of Keras.

    Attributes:
        kind, model_file: its name in the registry, and that of its file in the store.
        packages: whose versions `head.json` keeps.
        classes_: after `fit`, ndarray of shape (n_classes,), sorted.
        n_features_in_: after `fit`, the width of the features.
        training_: after `fit`, how it was trained; None for a head that was loaded.
    """

    kind: ClassVar[str]
    model_file: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    classes_: np.ndarray
    n_features_in_: int
    training_: Training | None

    def fit(self, X: Any, y: Any, validation: tuple[Any, Any] | None = None) -> Self:
        """Learn from features in memory.

        Args:
            X: array-like of shape (n, width), features.
            y: array-like of shape (n,), labels.
            validation: X and y to choose on, of labels that y has; where it is not given, parts of X are.

        Raises:
            BottleneckError: for a parameter out of range.
            ValueError: for arrays that do not fit together, as scikit-learn's estimators do.
        """
        self.check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        classes, numbers = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has one class, {classes.tolist()[0]!r}, and a head needs two")
        if validation is None:
            return self.fit_matrix(X.copy(), numbers, len(X), classes)
        X_validation, y_validation = validate_data(self, *validation, dtype=np.float32, reset=False)
        if not np.isin(y_validation, classes).all():
            raise ValueError("y of the validation part has labels that y does not have")
        numbers = np.concatenate([numbers, np.searchsorted(classes, y_validation)])
        return self.fit_matrix(np.concatenate([X, X_validation]), numbers, len(X), classes)

    @abc.abstractmethod
    def fit_matrix(
        self, X: np.ndarray, y: np.ndarray, train: int, classes: Labels, progress: Progress = silent
    ) -> Self:
        """The same for features that are checked already, and may be overwritten to save memory.

        Args:
            X: float32 ndarray of shape (n, width): `train` rows to train on, then any validation rows.
            y: int ndarray of shape (n,), numbers of the labels in `classes`.
            progress: called at each step.
        """

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Args:
            X: array-like of shape (n, n_features_in_).

        Returns:
            float32 ndarray of shape (n, n_classes), columns in the order of `classes_`.

        Raises:
            NotFittedError: before `fit`.
            ValueError: for features of another width, or that are not finite.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False, ensure_min_samples=0)
        probabilities = np.empty((len(X), len(self.classes_)), np.float32)
        for start in range(0, len(X), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            probabilities[rows] = self._probabilities(X[rows])
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row of X, ndarray of shape (n,)."""
        # Not in one line: an unfitted head has no `classes_`.
        numbers = self.predict_proba(X).argmax(axis=1)
        return self.classes_[numbers]

    @staticmethod
    def bytes_needed(rows: int, width: int, classes: int) -> int:
        """Memory that `fit_matrix` takes, features included, for a refusal before they are read."""
        return 3 * rows * width * 4

    @abc.abstractmethod
    def check_parameters(self) -> None:
        """Refuse parameters out of range with a BottleneckError."""

    @abc.abstractmethod
    def _probabilities(self, X: np.ndarray) -> np.ndarray: ...

    @abc.abstractmethod
    def save_model(self, path: Path) -> None:
        """Write what was learned to a file; what the file does not hold is in `head.json`."""

    @abc.abstractmethod
    def load_model(self, path: Path) -> None:
        """Read it back."""


def deal(y: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """The part of each row, from 0, at random, each class shared out evenly: int ndarray of shape (n,).

    Rows are dealt in turn, class by class: unlike `StratifiedKFold` this takes classes of few rows.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    part = np.empty(len(y), int)
    part[order] = np.arange(len(y)) % parts
    return part
