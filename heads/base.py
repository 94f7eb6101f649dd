"""What every head can do: learn from arrays, predict, be saved, as an estimator of scikit-learn.

A kind of head is a dataclass of its parameters with a few methods of its own; all that the kinds have in
common is here. Nothing here knows tables: `heads.training` fits a head from one.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from features.errors import BottleneckError
from features.text import counted, some
from heads.probabilities import fit_temperature, fit_thresholds, tempered
from heads.progress import Progress, silent

if TYPE_CHECKING:
    import keras

_ROWS_AT_ONCE = 4096

#: The classes: their labels, sorted.
Labels = Sequence[Any] | np.ndarray


class Training(NamedTuple):
    """How a head was trained.

    Attributes:
        facts: the hyper-parameters that were chosen and how, for `head.json`.
        fitted: the parts that the model was fitted on: `train`, and perhaps `validation`.
        selected: the parts that hyper-parameters, or the moment to stop, were chosen on.
        validation: y of the validation rows, as `Head.fit_matrix` takes it, and their probabilities from a
            model that was not fitted on them, (n, n_classes), where both are in memory.
    """

    facts: dict[str, Any]
    fitted: list[str]
    selected: list[str]
    validation: tuple[np.ndarray, np.ndarray] | None = None


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class CommonParameters:
    """The parameters that every kind of head has, besides its own."""

    class_weight: str | dict | None = None
    calibration: str | None = None


class Head(CommonParameters, ClassifierMixin, BaseEstimator, abc.ABC):
    """A classifier on bottleneck features: of one class a row, or of several labels (multi-label).

    One that can learn from rows that do not fit in memory has a method `fit_stream` as well, as
    `heads.DenseHead` has it: `train_head` then streams. It takes callbacks of Keras.

    Args:
        class_weight: how much the rows of each class count, from label to number, as in scikit-learn;
            `balanced` lets every class (of multi-label data: having a label, and not having it) count as much
            as another, however few rows it has.
        calibration: `temperature` scales what goes into the softmax (or sigmoid) by one number, such that the
            log loss of rows that were held out is least: Guo et al. (2017), https://arxiv.org/abs/1706.04599

    Attributes:
        kind, model_file: its name in the registry, and that of its file in the store.
        packages: whose versions `head.json` keeps.
        takes_multi_label: whether this kind can tell several labels.
        classes_: after `fit`, ndarray of shape (n_classes,), sorted.
        multi_label_: after `fit`, whether it tells several labels.
        thresholds_: after `fit` on multi-label data, the probability from which on a row has a label, float
            ndarray of shape (n_classes,), chosen for the F1 of rows that were held out.
        n_features_in_: after `fit`, the width of the features.
        training_: after `fit`, how it was trained; None for a head that was loaded.
        notices_: after `fit`, what could not be chosen, and why: a sentence each.
    """

    kind: ClassVar[str]
    model_file: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    takes_multi_label: ClassVar[bool] = False

    classes_: np.ndarray
    multi_label_: bool = False
    thresholds_: np.ndarray
    n_features_in_: int
    training_: Training | None
    notices_: tuple[str, ...] = ()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.takes_multi_label
        return tags

    def fit(
        self, X: Any, y: Any, validation: tuple[Any, Any] | None = None, groups: Any | None = None
    ) -> Self:
        """Learn from features in memory.

        Args:
            X: array-like of shape (n, width), features.
            y: array-like of shape (n,), labels; or of shape (n, n_labels), 0 or 1, for multi-label data.
            validation: X and y to choose on, of labels that y has; where it is not given, parts of X are.
            groups: array-like of shape (n,): rows of one group are never in two parts.

        Raises:
            BottleneckError: for a parameter out of range.
            ValueError: for arrays that do not fit together, as scikit-learn's estimators do.
        """
        self.check_parameters()
        multi_label = y is not None and type_of_target(y) == "multilabel-indicator"
        X, y = validate_data(self, X, y, dtype=np.float32, multi_output=multi_label)
        check_classification_targets(y)
        if multi_label and not self.takes_multi_label:
            raise ValueError(f"a {self.kind} head takes one label a row, and y has several")
        classes = np.arange(y.shape[1]) if multi_label else np.unique(y)
        if len(classes) < 2 and not multi_label:
            raise ValueError(f"y has one class, {classes.tolist()[0]!r}, and a head needs two")
        numbers = _numbers(y, classes)
        units: dict[str, Any] = {} if groups is None else {"units": _units(groups, len(X))}
        if validation is None:
            return self.fit_matrix(X.copy(), numbers, len(X), classes, **units)
        X_validation, y_validation = validate_data(
            self, *validation, dtype=np.float32, reset=False, multi_output=multi_label
        )
        numbers = np.concatenate([numbers, _numbers(y_validation, classes)])
        return self.fit_matrix(np.concatenate([X, X_validation]), numbers, len(X), classes, **units)

    @abc.abstractmethod
    def fit_matrix(
        self,
        X: np.ndarray,
        y: np.ndarray,
        train: int,
        classes: Labels,
        progress: Progress = silent,
        units: np.ndarray | None = None,
        originals: np.ndarray | None = None,
    ) -> Self:
        """The same for features that are checked already, and may be overwritten to save memory.

        Train rows may be augmented views of other train rows. They are learned from, and nothing is chosen on
        them; where train rows are held out, views of a held-out image are not learned from either.

        Args:
            X: float32 ndarray of shape (n, width): `train` rows to train on, then any validation rows, which
                are no augmented views.
            y: int ndarray of shape (n,), numbers of the labels in `classes`; or for multi-label data of shape
                (n, n_classes), 0 or 1.
            progress: called at each step.
            units: numbers of what must not part of the train rows, such as groups, from 0, of shape (train,);
                given only where rows belong together.
            originals: numbers of the rows of the images that the train rows show, of shape (train,): its own
                of a row that is no augmented view; given only where some are.
        """

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Args:
            X: array-like of shape (n, n_features_in_).

        Returns:
            float32 ndarray of shape (n, n_classes), columns in the order of `classes_`; of multi-label data,
            each row need not add up to 1.

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
        """The most probable label of each row, (n,); of multi-label data 0 or 1 for each, (n, n_classes)."""
        probabilities = self.predict_proba(X)
        if self.multi_label_:
            return (probabilities >= self.thresholds_).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    @staticmethod
    def bytes_needed(rows: int, width: int, classes: int) -> int:
        """Memory that `fit_matrix` takes, features included, for a refusal before they are read."""
        return 3 * rows * width * 4

    def keras_model(self) -> keras.Model:
        """The same as layers of Keras, from features to probabilities: to train them on with the backbone.

        Raises:
            BottleneckError: for a kind that can't be put this way.
        """
        raise BottleneckError(f"a {self.kind} head can't be put as layers of Keras, which this needs")

    def check_parameters(self) -> None:
        """Refuse parameters out of range with a BottleneckError."""
        for name, expected in {"class_weight": "balanced", "calibration": "temperature"}.items():
            value = getattr(self, name)
            if not (value in (None, expected) or (name == "class_weight" and isinstance(value, dict))):
                raise BottleneckError(f"{name} is {value!r}, and a head expects {expected} or none")

    def choose_by(self, held_out: tuple[np.ndarray, np.ndarray] | None) -> tuple[dict[str, Any], np.ndarray]:
        """Calibrate the model, and choose thresholds, on rows that it was not fitted on.

        Args:
            held_out: y of these rows and their probabilities; None for none, or where nothing is chosen.

        Returns:
            What was chosen, for `head.json`, and the calibrated probabilities.
        """
        facts: dict[str, Any] = {}
        notices: list[str] = []
        true, probabilities = held_out or (np.empty(0, int), np.empty((0, len(self.classes_)), np.float32))
        if self.calibration:
            temperature = fit_temperature(true, probabilities) if len(true) else None
            facts["temperature"] = temperature
            if temperature is None:
                notices.append(f"not calibrated: {_too_little(len(true))}")
            else:
                self._scale_logits(1 / temperature)
                probabilities = tempered(probabilities, temperature, multi_label=self.multi_label_)
        if self.multi_label_:
            if not len(true):
                notices.append(f"a label is given from a probability of 0.5 on: {_too_little(0)}")
            self.thresholds_ = fit_thresholds(true, probabilities)
        self.notices_ = tuple(notices)
        return facts, probabilities

    def _scale_logits(self, factor: float) -> None:
        """Multiply what goes into the softmax or sigmoid, by changing the weights of the model."""
        raise BottleneckError(f"a {self.kind} head can't be calibrated")

    def _weight_of_classes(self, classes: Labels, *, multi_label: bool) -> str | dict | None:
        """`class_weight` by the numbers of the classes."""
        if not isinstance(self.class_weight, dict):
            return self.class_weight
        if multi_label:
            raise BottleneckError("class_weight names classes: several labels take balanced or none")
        numbers = {label: number for number, label in enumerate(np.asarray(classes).tolist())}
        if unknown := [label for label in self.class_weight if label not in numbers]:
            raise BottleneckError(f"class_weight names {some(unknown, quote=True)}, which no row is labelled")
        return {numbers[label]: weight for label, weight in self.class_weight.items()}

    @abc.abstractmethod
    def _probabilities(self, X: np.ndarray) -> np.ndarray: ...

    @abc.abstractmethod
    def save_model(self, path: Path) -> None:
        """Write what was learned to a file; what the file does not hold is in `head.json`."""

    @abc.abstractmethod
    def load_model(self, path: Path) -> None:
        """Read it back."""


def _numbers(y: Any, classes: np.ndarray) -> np.ndarray:
    """y as `Head.fit_matrix` takes it, from y as scikit-learn has it."""
    if y.ndim == 2:
        if y.shape[1] != len(classes):
            raise ValueError(f"y has {y.shape[1]} labels, and {len(classes)} were expected")
        dense = np.asarray(y.toarray() if issparse(y) else y)
        if not np.isin(dense, (0, 1)).all():
            raise ValueError("y of several labels holds other numbers than 0 and 1")
        return dense.astype(np.int8)
    if not np.isin(y, classes).all():
        raise ValueError("y of the validation part has labels that y does not have")
    return np.searchsorted(classes, y)


def _units(groups: Any, rows: int) -> np.ndarray:
    """Numbers of the groups of rows, from 0; a row of the group None is one of its own."""
    groups = np.asarray(groups, object)
    if groups.shape != (rows,):
        raise ValueError(f"groups has the shape {groups.shape}, and X has {rows} rows")
    numbers: dict[Any, int] = {}
    keys = [(number,) if group is None else group for number, group in enumerate(groups.tolist())]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def _too_little(rows: int) -> str:
    if not rows:
        return "there are no images that it was not trained on"
    return f"the {counted(rows, 'image')} that it was not trained on can't tell how sure it should be"
