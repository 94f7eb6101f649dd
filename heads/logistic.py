"""The logistic head: scikit-learn's multinomial logistic regression on scaled features.

Use it first: seconds, nothing to tune, and hard to beat on bottleneck features. It holds the features
of the train and validation splits in memory, once; for tables that do not fit there is `heads.dense`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from features.errors import BottleneckError
from heads.base import Head, Labels, Progress, Training, deal, silent
from heads.metrics import log_loss

#: Inverse strengths of regularization to choose from, weakest last: each starts from the one before.
CANDIDATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
FOLDS = 5
MAX_ITERATIONS = 1000

#: Below this size, handing work to BLAS's threads costs more than they save, and on a busy machine,
#: where they wait for each other, ten times more.
_THREADED_BYTES = 256 * 2**20


class _Fold(NamedTuple):
    weights: np.ndarray | None  # of the train rows; 0 for those held out
    scored: np.ndarray  # features (n, width) to predict
    held_out: np.ndarray | slice  # which of the predictions count
    true: np.ndarray  # their classes


@dataclasses.dataclass(eq=False, repr=False)
class LogisticHead(Head):
    """`StandardScaler` and `LogisticRegression` in a pipeline, kept as `pipeline_`.

    Features are scaled by the mean and deviation of the train split. `C` is chosen on the validation
    split by log loss, or by cross-validation on train where validation does not have every class;
    then the model is fitted on both splits.

    Args:
        C: inverse strength of regularization, as in scikit-learn; chosen where not given.
        seed: of the folds of a cross-validation; nothing else is random.
    """

    kind = "logistic"
    model_file = "head.skops"
    packages = ("numpy", "scikit-learn", "skops")

    C: float | None = None
    seed: int = 0

    def check_parameters(self) -> None:
        if self.C is not None and not self.C > 0:
            raise BottleneckError(f"C is {self.C}, and a logistic head expects a number above 0")

    def fit_matrix(
        self, X: np.ndarray, y: np.ndarray, train: int, classes: Labels, progress: Progress = silent
    ) -> Self:
        """As `Head.fit_matrix`; X is scaled where it is."""
        self.check_parameters()
        with threadpool_limits(1 if X.nbytes < _THREADED_BYTES else None, user_api="blas"):
            scaler = _scale_in_place(X, train)
            log_losses, probabilities = self._select(X, y, train, progress)
            best = min(log_losses, key=lambda C: log_losses[C])
            model = _logistic_regression(C=best).fit(X, y)
        self.classes_, self.n_features_in_ = np.asarray(classes), X.shape[1]
        # Trained on numbers of classes, which is quicker; from here on it speaks of labels.
        model.classes_ = self.classes_
        self.pipeline_ = make_pipeline(scaler, model)
        selected = "train" if probabilities is None else "validation"
        chosen_by = selected if selected == "validation" else f"{FOLDS}-fold cross-validation on train"
        facts = {
            "C": best,
            "chosen_by": chosen_by if self.C is None else "the caller",
            "log_loss": [{"C": C, "log_loss": loss} for C, loss in log_losses.items()],
            "iterations": int(model.n_iter_[0]),
        }
        fitted = ["train", "validation"] if len(X) > train else ["train"]
        validation = None if probabilities is None else (y[train:], probabilities)
        self.training_ = Training(facts, fitted, [selected], validation)
        return self

    def _select(
        self, X: np.ndarray, y: np.ndarray, train: int, progress: Progress
    ) -> tuple[dict[float, float], np.ndarray | None]:
        """Log loss of each C tried; the best one's probabilities of validation if that has every class."""
        candidates = CANDIDATES if self.C is None else (self.C,)
        if np.array_equal(np.unique(y[train:]), np.unique(y[:train])):
            folds = [_Fold(None, X[train:], slice(None), y[train:])]
            return _search(X[:train], y[:train], candidates, folds, progress)
        folds = _cross_validation(X[:train], y[:train], self.seed)
        return _search(X[:train], y[:train], candidates, folds, progress)[0], None

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        return self.pipeline_.predict_proba(X)

    def save_model(self, path: Path) -> None:
        import skops.io

        skops.io.dump(self.pipeline_, path)

    def load_model(self, path: Path) -> None:
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        try:
            # Nothing but what skops trusts by itself, which is scikit-learn's and NumPy's own types.
            self.pipeline_ = skops.io.load(path, trusted=[])
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


def _scale_in_place(X: np.ndarray, train: int) -> StandardScaler:
    """Bring all rows to the scale of the first `train` ones, without another matrix, and return how."""
    scaler = StandardScaler()
    for start in range(0, train, 1024):
        scaler.partial_fit(X[start : min(start + 1024, train)])
    np.subtract(X, scaler.mean_.astype(np.float32), out=X)
    np.divide(X, scaler.scale_.astype(np.float32), out=X)
    return scaler


def _cross_validation(X: np.ndarray, y: np.ndarray, seed: int) -> list[_Fold]:
    """Stratified folds, held out by weights of 0, since slices would be copies of most of X."""
    fold = deal(y, FOLDS, seed)
    return [
        _Fold((fold != number).astype(np.float32), X, fold == number, y[fold == number])
        for number in range(min(FOLDS, len(y)))
    ]


def _search(
    X: np.ndarray, y: np.ndarray, candidates: Iterable[float], folds: list[_Fold], progress: Progress
) -> tuple[dict[float, float], np.ndarray]:
    """Log loss over all held-out rows for each C, and the best one's predictions of the last fold.

    Ends once the loss has risen twice: it falls and rises again along the path.
    """
    candidates = list(candidates)
    models = [_logistic_regression(warm_start=True) for _ in folds]
    losses: dict[float, float] = {}
    best, risen = np.empty(0), 0
    for step, C in enumerate(candidates, start=1):
        total = 0.0
        for model, fold in zip(models, folds, strict=True):
            model.set_params(C=C).fit(X, y, sample_weight=fold.weights)
            probabilities = model.predict_proba(fold.scored)[fold.held_out]
            total += log_loss(fold.true, probabilities) * len(fold.true)
        loss = total / sum(len(fold.true) for fold in folds)
        better = not losses or loss < min(losses.values())
        best, risen = (probabilities, 0) if better else (best, risen + 1)
        losses[C] = loss
        progress(step, len(candidates), {"C": C, "log_loss": loss})
        if risen == 2:
            break
    return losses, best
