"""The logistic head: scikit-learn's multinomial logistic regression on scaled features.

Use it first: seconds, nothing to tune, and hard to beat on bottleneck features. It holds the features
of the train and validation splits in memory, once; for tables that do not fit there is `heads.dense`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.errors import BottleneckError
from features.machine import available_memory
from heads.base import Head, Progress, Trained
from heads.examples import Examples
from heads.metrics import log_loss

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from features.store.table import FeatureTable

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


@dataclasses.dataclass(eq=False)
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

    def _check_parameters(self) -> None:
        if self.C is not None and not self.C > 0:
            raise BottleneckError(f"C is {self.C}, and a logistic head expects a number above 0")

    def _check_memory(self, rows: int) -> None:
        needed, available = bytes_needed(rows, self.n_features_in_, len(self.classes_)), available_memory()
        if available is not None and needed > available:
            raise BottleneckError(
                f"a logistic head on {rows:,} rows needs about {needed / 1e9:,.1f} GB of memory, and "
                f"{available / 1e9:,.1f} GB are available: train with HEAD=dense, which streams the features"
            )

    def _fit(self, table: FeatureTable, layer: str, examples: Examples, progress: Progress) -> Trained:
        from sklearn.pipeline import make_pipeline
        from threadpoolctl import threadpool_limits

        train = examples.count("train")
        rows = train + examples.count("validation")
        self._check_memory(rows)
        X, labels = table.matrix(["train", "validation"], layer=layer, classes=examples.classes)
        y = self._class_numbers(labels)
        with threadpool_limits(1 if X.nbytes < _THREADED_BYTES else None, user_api="blas"):
            scaler = _scale_in_place(X, train)
            tried, selected, validation = self._select(X, y, train, progress)
            best = min(tried, key=lambda C: tried[C])
            model = _logistic_regression(C=best).fit(X, y)
        # Trained on numbers of classes, which is quicker; from here on it speaks of labels.
        model.classes_ = self.classes_
        self.pipeline_ = make_pipeline(scaler, model)
        chosen_by = "validation" if validation else f"{FOLDS}-fold cross-validation on train"
        facts = {
            "C": best,
            "chosen_by": chosen_by if self.C is None else "the caller",
            "log_loss": [{"C": C, "log_loss": loss} for C, loss in tried.items()],
            "iterations": int(model.n_iter_[0]),
        }
        fitted = ["train", "validation"] if rows > train else ["train"]
        return Trained(facts, fitted, selected, validation)

    def _select(
        self, X: np.ndarray, y: np.ndarray, train: int, progress: Progress
    ) -> tuple[dict[float, float], list[str], dict[str, Any] | None]:
        """Log loss of each C tried, the splits it was measured on, and the best one's validation metrics."""
        candidates = CANDIDATES if self.C is None else (self.C,)
        if np.array_equal(np.unique(y[train:]), np.unique(y[:train])):
            folds = [_Fold(None, X[train:], slice(None), y[train:])]
            tried, best = _search(X[:train], y[:train], candidates, folds, progress)
            return tried, ["validation"], self._metrics(y[train:], best)
        folds = _cross_validation(X[:train], y[:train], self.seed)
        tried, _ = _search(X[:train], y[:train], candidates, folds, progress)
        return tried, ["train"], None

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        return self.pipeline_.predict_proba(X)

    def _save_model(self, path: Path) -> None:
        import skops.io

        skops.io.dump(self.pipeline_, path)

    def _load_model(self, path: Path) -> None:
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        try:
            # Nothing but what skops trusts by itself, which is scikit-learn's and NumPy's own types.
            self.pipeline_ = skops.io.load(path, trusted=[])
        except UntrustedTypesFoundException as error:
            raise BottleneckError(
                f"{path} is not loaded, for it is not as a logistic head was saved: {error}"
            ) from error


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
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=MAX_ITERATIONS, **parameters)


def _scale_in_place(X: np.ndarray, train: int) -> StandardScaler:
    """Bring all rows to the scale of the first `train` ones, without another matrix, and return how."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for start in range(0, train, 1024):
        scaler.partial_fit(X[start : min(start + 1024, train)])
    np.subtract(X, scaler.mean_.astype(np.float32), out=X)
    np.divide(X, scaler.scale_.astype(np.float32), out=X)
    return scaler


def _cross_validation(X: np.ndarray, y: np.ndarray, seed: int) -> list[_Fold]:
    """Stratified folds, held out by weights of 0, since slices would be copies of most of X.

    Rows are dealt in turn, class by class: unlike `StratifiedKFold` this takes classes of fewer rows
    than folds.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), int)
    fold[order] = np.arange(len(y)) % FOLDS
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
