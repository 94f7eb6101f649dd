"""Normalization, dropout and a dense layer as one product: how the dense head sees the features in training.

Use it to train layers that an ordinary `keras.Sequential` holds as well: that is what predicts and is saved.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class FoldedDense(keras.layers.Layer):  # pragma: no mutate block, since Keras reads signatures
    """`dense(dropout(normalization(x)))`, reading `x` once forward and once back.

    Normalization scales and shifts each column, and dropout with one mask for all rows scales it: both go
    into the kernel and the bias, which are small, rather than into every row. Otherwise they would be most of
    the work of a head that is trained from a stream.

    Args:
        mean, variance: of the columns, float32 ndarrays of shape (width,).
        dropout: a layer that drops columns, the same ones for all rows.
        dense: a built layer, whose variables are trained.
    """

    def __init__(
        self, mean: np.ndarray, variance: np.ndarray, dropout: keras.layers.Dropout, dense: keras.layers.Dense
    ) -> None:
        super().__init__()
        self._mean = mean[None]
        self._scale = _scale(variance)[None]
        self.dropout = dropout
        self.dense = dense

    def call(self, x: Any, training: bool = False) -> Any:
        scale = self.dropout(ops.convert_to_tensor(self._scale), training=training)
        kernel, bias = _folded(self.dense, self._mean, scale)
        return self.dense.activation(ops.matmul(x, kernel) + bias)


def _scale(variance: np.ndarray) -> np.ndarray:
    """By which normalization multiplies, as `keras.layers.Normalization` does it."""
    return 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())


def _folded(dense: keras.layers.Dense, mean: np.ndarray, scale: Any) -> tuple[Any, Any]:
    """The kernel and bias that `dense` has for features that are not normalized: mean, scale (1, width)."""
    kernel = dense.kernel * ops.transpose(scale)
    return kernel, dense.bias - ops.matmul(mean, kernel)
