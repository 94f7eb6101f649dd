"""The network that every way runs: nothing else in the benchmark knows its name, its sizes or its scaling.

Imports nothing heavy: a way's start-up is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np

#: What this project calls the network, and its tables by default.
NAME = "inception_v3"
#: Height and width of the input, in pixels.
SIZE = 299
#: The layer whose features are extracted, which also names their column in every way's files.
LAYER = "avg_pool"
WIDTH = 2048


def build_keras_model() -> keras.Model:
    """The network without its top, as Keras's documentation has it, with arbitrary weights."""
    import keras

    return keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")


def load_keras_model(weights_file: str) -> keras.Model:
    """The network with the weights of a file that Keras wrote."""
    model = build_keras_model()
    model.load_weights(weights_file)
    return model


def preprocess(images: Any) -> Any:
    """Keras's scaling of pixels from 0 to 255, tensors or arrays."""
    import keras

    return keras.applications.inception_v3.preprocess_input(images)


def scale(pixels: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The same as `preprocess`, from -1 to 1, for a program that does without Keras."""
    import numpy as np

    return np.subtract(np.divide(pixels, np.float32(127.5), out=out), np.float32(1), out=out)
