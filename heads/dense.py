"""The dense head: a small Keras network, trained from the store as a stream.

Use it for tables that do not fit in memory, or where a hidden layer or a Keras model is wanted.
Features are never held: two passes over train give mean and variance and the first epoch, and each
epoch is a pass of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import BottleneckError
from features.store import dataset
from heads.base import Head, Progress, Trained
from heads.examples import Examples

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from features.store.table import FeatureTable

#: Share of its mean by which a feature has to vary: with less, float32 rounding is part of what varies.
_LEAST_DEVIATION = 1e-4


@dataclasses.dataclass(eq=False)
class DenseHead(Head):
    """Normalization, dropout and a dense softmax layer, kept as `model_`.

    Trained with Adam on log loss until the validation loss has not fallen for `patience` epochs; the
    weights of the best epoch are kept. Without validation rows it trains for all `epochs`.

    Args:
        hidden: units of a hidden ReLU layer; 0 for none.
        dropout: share of the inputs of each dense layer that is dropped in training, the same ones for all
            rows of a step: to draw them for each row would cost more than all the rest.
        learning_rate: of Adam.
        batch_size: rows in a step; None for a hundredth of the train split, from 32 to 1,024.
        epochs: passes over the train split, at most.
        patience: epochs without a lower validation loss until training stops.
        seed: of initial weights, dropout and order of the rows.
    """

    kind = "dense"
    model_file = "head.keras"
    packages = ("numpy", "keras", "tensorflow")

    hidden: int = 0
    dropout: float = 0.2
    learning_rate: float = 1e-3
    batch_size: int | None = None
    epochs: int = 100
    patience: int = 5
    seed: int = 0

    def _check_parameters(self) -> None:
        counts = {name: getattr(self, name) for name in ("batch_size", "epochs", "patience")}
        wrong = [name for name, count in counts.items() if count is not None and count < 1]
        if wrong:
            raise BottleneckError(
                f"{wrong[0]} is {getattr(self, wrong[0])}, and a dense head expects 1 or more"
            )
        if self.hidden < 0 or not 0 <= self.dropout < 1 or not self.learning_rate > 0:
            raise BottleneckError(
                f"a dense head expects hidden ≥ 0, 0 ≤ dropout < 1 and learning_rate > 0, "
                f"not {self.hidden}, {self.dropout} and {self.learning_rate}"
            )

    def _fit(self, table: FeatureTable, layer: str, examples: Examples, progress: Progress) -> Trained:
        import keras

        batch_size = self.batch_size or min(1024, max(32, examples.count("train") // 100))

        def stream(split: str, *, shuffle: bool = False) -> tf.data.Dataset:
            return dataset(
                table,
                split,
                labels=examples.classes,
                layer=layer,
                batch_size=batch_size,
                shuffle=shuffle,
                seed=self.seed,
            )

        def report(epoch: int, logs: dict[str, float]) -> None:
            progress(epoch + 1, self.epochs, dict(logs))

        callbacks: list[keras.callbacks.Callback] = [keras.callbacks.LambdaCallback(on_epoch_end=report)]
        validated = examples.count("validation") > 0
        if validated:
            callbacks.append(
                keras.callbacks.EarlyStopping("val_loss", patience=self.patience, restore_best_weights=True)
            )
        self.model_, training = self._build(*moments(table, layer, self.n_features_in_, examples.classes))
        history = training.fit(
            stream("train", shuffle=True),
            validation_data=stream("validation") if validated else None,
            epochs=self.epochs,
            callbacks=callbacks,
            shuffle=False,  # the stream shuffles, with another order at each epoch
            verbose=0,
        ).history
        losses = history["val_loss"] if validated else history["loss"]
        facts: dict[str, Any] = {
            "epochs": int(np.argmin(losses)) + 1 if validated else len(losses),
            "epochs_run": len(losses),
            "batch_size": batch_size,
            "chosen_by": "validation" if validated else "no validation images: all epochs",
        }
        validation = self.evaluate(table, "validation", layer=layer) if validated else None
        return Trained(facts, ["train"], ["validation"] if validated else [], validation)

    def _build(self, mean: np.ndarray, variance: np.ndarray) -> tuple[keras.Model, keras.Model]:
        """The model, and the same layers in the form that they are trained in."""
        import keras
        from keras import layers

        from heads.folding import FoldedDense

        def dense(inputs: int, units: int, activation: str, seed: int) -> list[keras.Layer]:
            weights = keras.initializers.GlorotUniform(seed)
            return [
                layers.Dropout(self.dropout, noise_shape=(1, inputs), seed=seed),
                layers.Dense(units, activation, kernel_initializer=weights),
            ]

        width = self.n_features_in_
        first, *rest = [
            *(dense(width, self.hidden, "relu", self.seed + 1) if self.hidden else []),
            *dense(self.hidden or width, len(self.classes_), "softmax", self.seed),
        ]
        scale = layers.Normalization(mean=mean, variance=variance)
        model = keras.Sequential([keras.Input((width,)), scale, first, *rest], name="head")
        folded = FoldedDense(mean, variance, first, rest[0])
        training = keras.Sequential([keras.Input((width,)), folded, *rest[1:]])
        training.compile(
            keras.optimizers.Adam(self.learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=False,  # on a CPU, XLA takes longer for a layer as small as this
        )
        return model, training

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.model_(X, training=False))

    def _save_model(self, path: Path) -> None:
        self.model_.save(path)

    def _load_model(self, path: Path) -> None:
        import keras

        self.model_ = keras.saving.load_model(path, compile=False)


def moments(
    table: FeatureTable, layer: str, width: int, classes: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the train split's `classes` in one pass, float32 ndarrays of shape (width,).

    Batches are combined as in Chan, Golub and LeVeque (1979), Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances. A feature that as good as never varies gets a variance of 1:
    divided by a deviation near 0, the slightest difference in a new image would drown everything else.
    """
    count, mean, squares = 0, np.zeros(width), np.zeros(width)
    for X, _ in table.batches("train", layer=layer, labelled=True, classes=classes):
        batch_mean = X.mean(axis=0).astype(np.float64)
        delta = batch_mean - mean
        total = count + len(X)
        squares += X.var(axis=0).astype(np.float64) * len(X) + delta**2 * (count * len(X) / total)
        mean += delta * (len(X) / total)
        count = total
    variance = squares / count
    varies = variance > (_LEAST_DEVIATION * mean) ** 2
    return mean.astype(np.float32), np.where(varies, variance, 1).astype(np.float32)
