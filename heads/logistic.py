"""The logistic head: scikit-learn's multinomial logistic regression on scaled features.

Use it first: seconds, nothing to tune, and hard to beat on bottleneck features. It holds the features
of the train and validation splits in memory, once; for tables that do not fit there is `heads.dense`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from features.errors import BottleneckError
from heads.base import Head, Labels, Training
from heads.probabilities import log_loss
from heads.progress import Progress, silent
from heads.shares import deal, images_among, share_images

if TYPE_CHECKING:
    import keras

#: Inverse strengths of regularization to choose from, weakest last: each starts from the one before.
CANDIDATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
FOLDS = 5
MAX_ITERATIONS = 1000
#: Rows that are predicted together.
_ROWS_AT_ONCE = 4096

#: Stands for a label that all rows have.
_TRUSTED = ["sklearn.multiclass._ConstantPredictor"]

#: What goes into a sigmoid for a probability of as good as 1.
_SURE = 30.0

#: Below this size, handing work to BLAS's threads costs more than they save, and on a busy machine,
#: where they wait for each other, ten times more.
_THREADED_BYTES = 256 * 2**20


class _Fold(NamedTuple):
    weights: np.ndarray | None  # of the train rows; 0 for those held out
    X: np.ndarray  # features (n, width), among them those to predict
    held_out: np.ndarray  # numbers of the rows to predict
    true: np.ndarray  # their classes or labels


@dataclasses.dataclass(eq=False, repr=False)
class LogisticHead(Head):
    """`StandardScaler` and `LogisticRegression` in a pipeline, kept as `pipeline_`.

    Of multi-label data each label has a regression of its own, all with the same `C`. Features are scaled by
    the mean and deviation of the train split. `C` is chosen on the validation split by log loss, or by
    cross-validation on train where validation does not have every class; then the model is fitted on both
    splits. An image with its augmented views counts as much as one without.

    Args:
        C: inverse strength of regularization, as in scikit-learn; chosen where not given.
        seed: of the folds of a cross-validation; nothing else is random.
        class_weight, calibration: as of `heads.Head`; `C` is chosen by a log loss that is weighted likewise.
    """

    kind = "logistic"
    model_file = "head.skops"
    packages = ("numpy", "scikit-learn", "skops")
    takes_multi_label = True

    C: float | None = None
    seed: int = 0

    def check_parameters(self) -> None:
        super().check_parameters()
        if self.C is not None and not 0 < self.C < math.inf:
            raise BottleneckError(f"C is {self.C}, and a logistic head expects a number above 0")

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
        """As `Head.fit_matrix`; X is scaled where it is."""
        self.check_parameters()
        class_weight = self._weight_of_classes(classes, multi_label=y.ndim == 2)
        on_validation = _can_choose(y[:train], y[train:])
        if on_validation:
            folds = [_Fold(None, X[train:], np.arange(len(X) - train), y[train:])]
        elif self.C is not None and self.calibration is None and y.ndim == 1:
            folds = []  # nothing is left to choose
        else:
            folds = _cross_validation(X[:train], y[:train], self.seed, units, originals)
        with threadpool_limits(1 if X.nbytes < _THREADED_BYTES else None, user_api="blas"):
            scaler = _scale_in_place(X, train, _weights(y[:train], None, originals))
            candidates = CANDIDATES if self.C is None else (self.C,)
            search = _Search(X[:train], y[:train], folds, class_weight, originals) if folds else None
            log_losses = search.run(candidates, progress) if search else {}
            best = min(log_losses, key=lambda C: log_losses[C]) if log_losses else self.C
            if originals is None:
                model = _fit(_logistic_regression(C=best, class_weight=class_weight), X, y, None)
            else:
                of_all = np.concatenate([originals, np.arange(train, len(X))])
                model = _fit(_logistic_regression(C=best), X, y, _weights(y, class_weight, of_all))
        self.classes_, self.n_features_in_ = np.asarray(classes), X.shape[1]
        self.multi_label_ = y.ndim == 2
        if not self.multi_label_:
            # Trained on numbers of classes, which is quicker; from here on it speaks of labels.
            model.classes_ = self.classes_
        self.pipeline_ = make_pipeline(scaler, model)
        true = np.concatenate([fold.true for fold in folds]) if folds else y[:0]
        chosen, probabilities = self.choose_by((true, search.probabilities) if search else None)
        selected = "validation" if on_validation else "train"
        chosen_by = selected if on_validation else f"{FOLDS}-fold cross-validation on train"
        facts = {
            "C": best,
            "chosen_by": chosen_by if self.C is None else "the caller",
            "log_loss": [{"C": C, "log_loss": loss} for C, loss in log_losses.items()],
            "iterations": max((int(each.n_iter_[0]) for each in _regressions(model)), default=0),
            **chosen,
        }
        fitted = ["train", "validation"] if len(X) > train else ["train"]
        validation = (true, probabilities) if on_validation else None
        self.training_ = Training(facts, fitted, [selected], validation)
        return self

    def _scale_logits(self, factor: float) -> None:
        for model in _regressions(self.pipeline_[-1]):
            model.coef_ *= factor
            model.intercept_ *= factor

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        if not self.multi_label_:
            return self.pipeline_.predict_proba(X)
        # All labels at once: scikit-learn would ask each of the models by itself.
        kernel, bias = _decisions(self.pipeline_[-1], self.n_features_in_)
        return expit(self.pipeline_[0].transform(X) @ kernel + bias)

    def keras_model(self) -> keras.Model:
        """See `Head.keras_model`; of two classes, whose one decision is theirs together, each gets a unit."""
        import keras

        scaler, model = self.pipeline_[0], self.pipeline_[-1]
        kernel, bias = _decisions(model, self.n_features_in_)
        if len(bias) < len(self.classes_):
            kernel, bias = np.pad(kernel, [(0, 0), (1, 0)]), np.pad(bias, (1, 0))
        scale = keras.layers.Normalization(mean=scaler.mean_, variance=scaler.scale_**2)
        dense = keras.layers.Dense(len(bias), "sigmoid" if self.multi_label_ else "softmax")
        keras_model = keras.Sequential([keras.Input((self.n_features_in_,)), scale, dense], name="head")
        dense.set_weights([kernel, bias])
        return keras_model

    def save_model(self, path: Path) -> None:
        import skops.io

        skops.io.dump(self.pipeline_, path)

    def load_model(self, path: Path) -> None:
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        try:
            # Nothing but scikit-learn's and NumPy's own types; skops trusts the public ones by itself.
            self.pipeline_ = skops.io.load(path, trusted=_TRUSTED)
        except UntrustedTypesFoundException as error:
            raise BottleneckError(
                f"{path} is not loaded, for it is not as a logistic head was saved: {error}"
            ) from error

    @staticmethod
    def bytes_needed(rows: int, width: int, classes: int) -> int:
        """Memory that training takes at its peak.

        The matrix, once; a few float32 arrays of shape (rows, classes) in the loss and its gradient; the
        solver's last ten float64 steps and gradients; and what reading and the libraries take.
        """
        matrix = rows * width * 4
        predictions = 6 * rows * classes * 4
        solver = 30 * classes * (width + 1) * 8
        labels = rows * 100
        return matrix + predictions + solver + labels + 400 * 2**20


def _logistic_regression(**parameters: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=MAX_ITERATIONS, **parameters)


def _fit(
    model: LogisticRegression, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> LogisticRegression | OneVsRestClassifier:
    """The model fitted on all rows, or a copy of it for each label.

    Args:
        weights: as `_weights` gives them.
    """
    if y.ndim == 1:
        return model.fit(X, y, weights)
    if weights is None:
        return OneVsRestClassifier(model).fit(X, y)
    # It takes no weights, but without them two rows tell which labels all rows have, or none.
    several = OneVsRestClassifier(model).fit(X[:2], np.stack([y.min(axis=0), y.max(axis=0)]))
    for each, label, of_label in zip(several.estimators_, y.T, _of_labels(weights, y.shape[1]), strict=True):
        if isinstance(each, LogisticRegression):
            each.fit(X, label, of_label)
    return several


def _scale_in_place(X: np.ndarray, train: int, weights: np.ndarray | None = None) -> StandardScaler:
    """Bring all rows to the scale of the first `train` ones, without another matrix, and return how.

    Args:
        weights: how much each of these counts, (train,).
    """
    scaler = StandardScaler()
    for start in range(0, train, 1024):
        rows = slice(start, min(start + 1024, train))
        scaler.partial_fit(X[rows], sample_weight=None if weights is None else weights[rows])
    np.subtract(X, scaler.mean_.astype(np.float32), out=X)
    np.divide(X, scaler.scale_.astype(np.float32), out=X)
    return scaler


def _present(y: np.ndarray) -> np.ndarray:
    """The numbers of the classes, or labels, that rows have."""
    return np.unique(y) if y.ndim == 1 else np.flatnonzero(y.any(axis=0))


def _regressions(model: LogisticRegression | OneVsRestClassifier) -> list[LogisticRegression]:
    """The fitted models; a label that all rows have, or none, has no model of its own."""
    models = model.estimators_ if isinstance(model, OneVsRestClassifier) else [model]
    return [each for each in models if isinstance(each, LogisticRegression)]


def _decisions(model: LogisticRegression | OneVsRestClassifier, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of what goes into the softmax or sigmoid, (width, n_decisions) and (n_decisions,)."""
    if isinstance(model, LogisticRegression):
        return model.coef_.T, model.intercept_
    row = np.zeros((1, width))
    pairs = [
        (each.coef_[0], each.intercept_[0])
        if isinstance(each, LogisticRegression)
        else (row[0], _SURE if each.predict(row)[0] else -_SURE)  # a label that all rows have, or none
        for each in model.estimators_
    ]
    kernels, biases = zip(*pairs, strict=True)
    return np.stack(kernels, axis=1), np.array(biases)


def _can_choose(train: np.ndarray, validation: np.ndarray) -> bool:
    """Whether validation rows have every class that train rows have; of several labels, half of them do."""
    there, wanted = _present(validation), _present(train)
    return np.array_equal(there, wanted) if train.ndim == 1 else len(there) * 2 >= max(1, len(wanted))


def _cross_validation(
    X: np.ndarray, y: np.ndarray, seed: int, units: np.ndarray | None, originals: np.ndarray | None = None
) -> list[_Fold]:
    """Stratified folds, held out by weights of 0, since slices would be copies of most of X."""
    fold = share_images(deal, y, FOLDS, seed, units, originals)
    images = np.arange(len(y)) if originals is None else images_among(originals)
    of_folds = ((number, images[fold[images] == number]) for number in np.unique(fold))
    return [_Fold((fold != number).astype(np.float32), X, rows, y[rows]) for number, rows in of_folds]


class _Search:
    """Log losses of held-out rows along a path of C, where each model starts from the one before.

    Args:
        X, y: the train rows.
        folds: of them, or of validation rows.
        originals: as of `Head.fit_matrix`.

    Attributes:
        probabilities: after `run`, of all held-out rows, fold by fold, by the best C.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        folds: list[_Fold],
        class_weight: str | dict | None,
        originals: np.ndarray | None = None,
    ) -> None:
        self._X, self._folds = X, folds
        # Each label by itself; of single-label data all classes are one model's.
        self._targets = [y] if y.ndim == 1 else list(y.T)
        self._models = [[_logistic_regression(warm_start=True) for _ in self._targets] for _ in folds]
        self._true = np.concatenate([fold.true for fold in folds])
        self._weights = _weights(self._true, class_weight)
        # Of all train rows: in a fold, a class may have none, which no weight could balance.
        of_train = _weights(y, class_weight, originals)
        self._of_train = _of_labels(of_train, len(self._targets))
        self.probabilities = np.empty(0)

    def run(self, candidates: Iterable[float], progress: Progress) -> dict[float, float]:
        """The log loss of each C; ends once it has risen twice: it falls and rises again along the path."""
        candidates, losses, risen = list(candidates), dict[float, float](), 0
        for step, C in enumerate(candidates, start=1):
            each = [
                self._predict(models, fold, C) for models, fold in zip(self._models, self._folds, strict=True)
            ]
            probabilities = np.concatenate(each)
            loss = log_loss(self._true, probabilities, self._weights)
            if not losses or loss < min(losses.values()):
                self.probabilities, risen = probabilities, 0
            else:
                risen += 1
            losses[C] = loss
            progress(step, len(candidates), {"C": C, "log_loss": loss})
            if risen == 2:
                break
        return losses

    def _predict(self, models: list[LogisticRegression], fold: _Fold, C: float) -> np.ndarray:
        """Probabilities of the rows that a fold holds out."""
        columns = []
        for model, y, of_train in zip(models, self._targets, self._of_train, strict=True):
            if y.min() == y.max():  # a label that all rows have, or none
                columns.append(np.full((len(fold.true), 1), y[0], np.float32))
                continue
            model.set_params(C=C).fit(self._X, y, sample_weight=_product(fold.weights, of_train))
            probabilities = _predict_rows(model, fold.X, fold.held_out)
            columns.append(probabilities[:, 1:] if self._true.ndim == 2 else probabilities)
        return np.concatenate(columns, axis=1)


def _predict_rows(model: LogisticRegression, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Probabilities of some rows, without a copy of all of them."""
    starts = range(0, len(rows), _ROWS_AT_ONCE)
    return np.concatenate([model.predict_proba(X[rows[start : start + _ROWS_AT_ONCE]]) for start in starts])


def _product(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    if first is None or second is None:
        return second if first is None else first
    return first * second


def _of_labels(weights: np.ndarray | None, labels: int) -> Sequence[np.ndarray | None]:
    """How much each row counts, (n,), for each label.

    Args:
        weights: as `_weights` gives them.
    """
    if weights is None:
        return [None] * labels
    return [weights] * labels if weights.ndim == 1 else list(weights.T)


def _weights(
    y: np.ndarray, class_weight: str | dict | None, originals: np.ndarray | None = None
) -> np.ndarray | None:
    """How much each row counts, (n,), or each label of it, (n, n_labels); None for as much as any other.

    An image and its views together count as much as the image would alone, whatever there is of others.
    """
    if originals is not None:
        images, place, rows = np.unique(originals, return_inverse=True, return_counts=True)
        alone = _weights(y[images], class_weight)
        return ((1 if alone is None else alone.T) / rows).T[place]
    if class_weight is None:
        return None
    if y.ndim == 1:
        return compute_sample_weight(class_weight, y)
    return np.stack([compute_sample_weight(class_weight, label) for label in y.T], axis=1)
