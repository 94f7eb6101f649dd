"""A model that stays in inference mode while the model around it is trained."""

from __future__ import annotations

from typing import Any

import keras


class InferenceMode(keras.layers.Layer):  # pragma: no mutate block, since Keras reads signatures
    """Calls a model with `training=False`, whose variables may be trained all the same.

    `model(x, training=False)` in a functional model is not enough: `fit` calls that one with `training=True`,
    which Keras hands on to each layer in it, whatever was said when the layer was called.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def call(self, x: Any) -> Any:
        return self.model(x, training=False)
