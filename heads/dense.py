"""The dense head: a small Keras network, trained from a stream.

Use it for tables that do not fit in memory, or where a hidden layer or a Keras model is wanted.
Of a stream nothing is held: a pass gives mean and variance, and each epoch is a pass of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from features.errors import BottleneckError
from features.store.streams import as_dataset
from heads.base import Head, Labels, Training
from heads.progress import Progress, silent
from heads.shares import class_counts, hold_out, images_among, share_images

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

#: Share of its mean by which a feature has to vary: with less, float32 rounding is part of what varies.
_LEAST_DEVIATION = 1e-4
#: One of so many rows is for validation, where none is given.
_PARTS = 10
#: Rows of a batch where there is nothing to learn from it.
_ROWS_AT_ONCE = 1024


#: Called with `batch_size` and perhaps `shuffle` and `seed`: a pass over rows: X, float32 (batch, width), and
#: y, int (batch,), the numbers of their classes, or int8 (batch, n_labels), 0 or 1. `functools.partial(
#: features.store.dataset, table, "train", labels=classes)` is one.
Stream = Callable[..., "tf.data.Dataset"]


@dataclasses.dataclass(eq=False, repr=False)
class DenseHead(Head):
    """Normalization, dropout and a dense layer, of softmax or for multi-label data sigmoid, kept as `model_`.

    Trained with AdamW on log loss until the validation loss has not fallen for `patience` epochs; the
    weights of the best epoch are kept. Without validation rows it trains for all `epochs`. The last
    layer's weights begin at 0: of more features than rows, what random weights say beside the rows would
    never be unlearned.

    Args:
        hidden: units of a hidden ReLU layer; 0 for none.
        dropout: share of the inputs of each dense layer that is dropped in training, the same ones for all
            rows of a step: to draw them for each row would cost more than all the rest.
        learning_rate: of Adam.
        weight_decay: by which each weight shrinks at a step, times the learning rate.
        batch_size: rows in a step; None for a hundredth of the train rows, from 32 to 1,024.
        epochs: passes over the train rows, at most.
        patience: epochs without a lower validation loss until training stops.
        seed: of initial weights, dropout, order of the rows and the part cut off for validation.
        class_weight, calibration: as of `heads.Head`.
    """

    kind = "dense"
    model_file = "head.keras"
    packages = ("numpy", "keras", "tensorflow")
    takes_multi_label = True

    hidden: int = 0
    dropout: float = 0.2
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    batch_size: int | None = None
    epochs: int = 100
    patience: int = 5
    seed: int = 0

    def check_parameters(self) -> None:
        super().check_parameters()
        limits = {"batch_size": 1, "epochs": 1, "patience": 1, "hidden": 0, "dropout": 0, "weight_decay": 0}
        for name, least in limits.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise BottleneckError(f"{name} is {value}, and a dense head expects {least} or more")
        if not (self.dropout < 1 and self.learning_rate > 0):
            raise BottleneckError(
                f"a dense head expects dropout < 1 and learning_rate > 0, "
                f"not {self.dropout} and {self.learning_rate}"
            )

    def fit_matrix(
        self,
        X: np.ndarray,
        y: np.ndarray,
        train: int,
        classes: Labels,
        progress: Progress = silent,
        units: np.ndarray | None = None,
        originals: np.ndarray | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> Self:
        """As `Head.fit_matrix`; of train rows alone, a tenth of each class, or a row, is for validation.

        Args:
            callbacks: further ones of Keras.
        """
        held_out = np.arange(len(X)) >= train
        if train == len(X):
            held_out = share_images(hold_out, y, _PARTS, self.seed, units, originals)
        chosen_on = np.flatnonzero(held_out)
        if originals is not None and train == len(X):
            chosen_on = np.intersect1d(chosen_on, images_among(originals))
        validation = _stream_of(X[chosen_on], y[chosen_on]) if len(chosen_on) else None
        self.fit_stream(_stream_of(X[~held_out], y[~held_out]), validation, classes, progress, callbacks)
        if train == len(X) and validation and self.training_:
            facts = self.training_.facts | {"chosen_by": "a part of train"}
            self.training_ = Training(facts, ["train"], ["train"])
        return self

    def fit_stream(
        self,
        train: Stream,
        validation: Stream | None,
        classes: Labels,
        progress: Progress = silent,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> Self:
        """Learn from rows that need not fit in memory.

        Args:
            train: the rows to learn from, in another order at each pass.
            validation: the rows on which the best epoch is chosen; with None all epochs are made.
            classes: the labels, sorted; y of the streams is the index into them.
            progress: called at each epoch.
            callbacks: further ones of Keras, called after the head's own.

        Raises:
            BottleneckError: for a parameter out of range.
        """
        self.check_parameters()
        # Asserted by the stream, not counted.
        rows = int(train(batch_size=1).cardinality())
        batch_size = self.batch_size or _batch_size(rows)
        seen = moments(train(batch_size=_ROWS_AT_ONCE).as_numpy_iterator(), len(classes))
        self.classes_, self.n_features_in_ = np.asarray(classes), len(seen.mean)
        self.multi_label_ = seen.multi_label
        self.model_, training = self._build(seen)
        history = training.fit(
            train(batch_size=batch_size, shuffle=True, seed=self.seed),
            validation_data=validation(batch_size=batch_size) if validation else None,
            epochs=self.epochs,
            callbacks=[*self._callbacks(progress, stop_early=validation is not None), *callbacks],
            shuffle=False,  # the stream shuffles, with another order at each epoch
            verbose=0,
        ).history
        losses = history["val_loss"] if validation else history["loss"]
        if not np.isfinite(losses).any():
            raise BottleneckError(
                f"training diverged, no epoch has a finite loss: lower learning_rate, {self.learning_rate:g}"
            )
        chosen = self.choose_by(self._held_out(validation))[0]
        facts: dict[str, Any] = {
            "epochs": int(np.nanargmin(losses)) + 1 if validation else len(losses),
            "epochs_run": len(losses),
            "batch_size": batch_size,
            "chosen_by": "validation" if validation else "no validation images: all epochs",
            **chosen,
        }
        self.training_ = Training(facts, ["train"], ["validation"] if validation else [])
        return self

    def _held_out(self, validation: Stream | None) -> tuple[np.ndarray, np.ndarray] | None:
        """y and probabilities of the validation rows, where something is chosen by them after training."""
        if validation is None or not (self.calibration or self.multi_label_):
            return None
        true, probabilities = [], []
        for X, y in validation(batch_size=_ROWS_AT_ONCE).as_numpy_iterator():
            true.append(y)
            probabilities.append(self._probabilities(X))
        return np.concatenate(true), np.concatenate(probabilities)

    def _callbacks(self, progress: Progress, *, stop_early: bool) -> list[keras.callbacks.Callback]:
        from keras.callbacks import EarlyStopping, LambdaCallback

        report = LambdaCallback(on_epoch_end=lambda epoch, logs: progress(epoch + 1, self.epochs, dict(logs)))
        stop = EarlyStopping("val_loss", patience=self.patience, restore_best_weights=True)
        return [report, *([stop] if stop_early else [])]

    def _build(self, seen: Moments) -> tuple[keras.Model, keras.Model]:
        """The model, and the same layers in the form that they are trained in."""
        import keras

        from heads.folding import FoldedDense

        model = self.build(seen)
        _, dropout, dense, *rest = model.layers
        folded = FoldedDense(seen.mean, seen.variance, dropout, dense)
        training = keras.Sequential([keras.Input((len(seen.mean),)), folded, *rest])
        self.compile(training, seen)
        return model, training

    def build(self, seen: Moments) -> keras.Sequential:
        """A head that has not learned yet, from features (batch, width) to probabilities (batch, n_classes).

        Args:
            seen: what is known of the train rows.
        """
        import keras
        from keras import layers

        def dense(inputs: int, units: int, activation: str, weights: Any, seed: int) -> list[keras.Layer]:
            return [
                layers.Dropout(self.dropout, noise_shape=(1, inputs), seed=seed),
                layers.Dense(units, activation, kernel_initializer=weights),
            ]

        width, first_weights = len(seen.mean), keras.initializers.GlorotUniform(self.seed + 1)
        activation = "sigmoid" if seen.multi_label else "softmax"
        return keras.Sequential(
            [
                keras.Input((width,)),
                layers.Normalization(mean=seen.mean, variance=seen.variance),
                *(dense(width, self.hidden, "relu", first_weights, self.seed + 1) if self.hidden else []),
                *dense(self.hidden or width, len(seen.counts), activation, "zeros", self.seed),
            ],
            name="head",
        )

    def compile(self, model: keras.Model, seen: Moments) -> None:
        """Give a model that ends in this head, whose `classes_` are known, its loss and its optimizer."""
        import keras

        loss = "binary_crossentropy" if seen.multi_label else "sparse_categorical_crossentropy"
        model.compile(
            keras.optimizers.AdamW(self.learning_rate, self.weight_decay),
            loss=self._weighted_loss(seen) if self.class_weight else loss,
            metrics=["binary_accuracy" if seen.multi_label else "accuracy"],
            jit_compile=False,  # on a CPU, XLA takes longer
        )

    def _weighted_loss(self, seen: Moments) -> Callable[[Any, Any], Any]:
        """Log loss in which each class, or having a label and not having it, has a weight."""
        from keras import ops

        def balanced(counts: np.ndarray, kinds: int) -> np.ndarray:
            return (seen.rows / (kinds * np.maximum(counts, 1))).astype(np.float32)

        having, missing = balanced(seen.counts, 2), balanced(seen.rows - seen.counts, 2)
        of_class = balanced(seen.counts, int(np.count_nonzero(seen.counts)))
        if isinstance(
            by_number := self._weight_of_classes(self.classes_, multi_label=seen.multi_label), dict
        ):
            of_class = np.array([by_number.get(number, 1) for number in range(len(of_class))], np.float32)

        def of_classes(y: Any, probabilities: Any) -> Any:
            y = ops.reshape(ops.cast(y, "int32"), (-1,))
            return ops.sparse_categorical_crossentropy(y, probabilities) * ops.take(of_class, y)

        def of_labels(y: Any, probabilities: Any) -> Any:
            y = ops.cast(y, probabilities.dtype)
            losses = ops.binary_crossentropy(y, probabilities) * ops.where(y > 0, having, missing)
            return ops.mean(losses, axis=-1)

        return of_labels if seen.multi_label else of_classes

    def _scale_logits(self, factor: float) -> None:
        last = self.model_.layers[-1]
        last.set_weights([weights * factor for weights in last.get_weights()])

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.model_(X, training=False))

    def keras_model(self) -> keras.Model:
        """`model_` itself."""
        return self.model_

    def save_model(self, path: Path) -> None:
        self.model_.save(path)

    def load_model(self, path: Path) -> None:
        import keras

        self.model_ = keras.saving.load_model(path, compile=False)


def _batch_size(rows: int) -> int:
    """A hundredth of the train rows, within bounds."""
    return min(1024, max(32, rows // 100))


class Moments(NamedTuple):
    """What one pass over train rows tells.

    Attributes:
        mean, variance: of the features, float32 ndarrays of shape (width,).
        counts: rows of each class, or with each label, int ndarray of shape (n_classes,).
        rows: in all.
        multi_label: whether rows have several labels.
    """

    mean: np.ndarray
    variance: np.ndarray
    counts: np.ndarray
    rows: int
    multi_label: bool


def moments(batches: Iterable[tuple[np.ndarray, np.ndarray]], classes: int) -> Moments:
    """Mean and variance of the columns of X, and what y holds, in one pass.

    Batches are combined as in Chan, Golub and LeVeque (1979), Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances. A feature that as good as never varies gets a variance of 1:
    divided by a deviation near 0, the slightest difference in a new image would drown everything else.
    """
    rows, mean, squares = 0, np.zeros(1), np.zeros(1)
    counts, multi_label = np.zeros(classes, int), False
    for X, y in batches:
        batch_mean = X.mean(axis=0).astype(np.float64)
        delta = batch_mean - mean
        total = rows + len(X)
        squares = squares + X.var(axis=0).astype(np.float64) * len(X) + delta**2 * (rows * len(X) / total)
        mean = mean + delta * (len(X) / total)
        rows, multi_label = total, y.ndim == 2
        counts += class_counts(y, classes)
    variance = squares / rows
    varies = variance > (_LEAST_DEVIATION * mean) ** 2
    variance = np.where(varies, variance, 1).astype(np.float32)
    return Moments(mean.astype(np.float32), variance, counts, rows, multi_label)


def _stream_of(X: np.ndarray, y: np.ndarray) -> Stream:
    """Rows in memory as a stream."""

    def stream(*, batch_size: int, shuffle: bool = False, seed: int = 0) -> tf.data.Dataset:
        def epoch(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            numbers = np.random.default_rng(seed).permutation(len(X)) if shuffle else np.arange(len(X))
            for start in range(0, len(X), batch_size):
                rows = numbers[start : start + batch_size]
                yield X[rows], y[rows]

        labels = y.shape[1] if y.ndim == 2 else None
        return as_dataset(epoch, X.shape[1], len(X), batch_size, seed, labels=labels)

    return stream
