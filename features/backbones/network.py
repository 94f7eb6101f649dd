"""Inception V3 as Keras defines it: the reference, and what the engines are converted from.

Imports Keras inside its functions: a run that finds its converted graph in the cache never comes here.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.errors import BottleneckError
from features.recipe import LAYER_WIDTHS

if TYPE_CHECKING:
    import keras

_SEED = 20151202  # the day "Rethinking the Inception Architecture" was published: arXiv 1512.00567


def build_backbone(weights: Path | None) -> keras.Model:
    """Keras's Inception V3 without its top, carrying the given weights.

    Args:
        weights: a `.weights.h5`, `.h5` or `.keras` file, with or without the top, or None for seeded
            random weights (He-normal kernels, so that activations keep their size through the layers).

    Raises:
        BottleneckError: for a file that does not hold Inception V3.
    """
    import keras

    base = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(299, 299, 3))
    shapes = [tuple(array.shape) for array in base.weights]
    if weights is None:
        base.set_weights(list(_random_arrays([variable.path for variable in base.weights], shapes)))
    else:
        base.set_weights(_read_arrays(weights, shapes))
    return base


def feature_model(base: keras.Model) -> keras.Model:
    """A model from pixels to every layer of `LAYER_WIDTHS`, average-pooled.

    Its input is named `pixels`: float32 (batch, 299, 299, 3), RGB from 0 to 255; scaling to [-1, 1]
    (`keras.applications.inception_v3.preprocess_input`) happens inside. Its outputs come in the order
    of `LAYER_WIDTHS`, float32 (batch, width) each.
    """
    import keras

    pixels = keras.Input((299, 299, 3), name="pixels", dtype="float32")
    tensors = [base.get_layer("mixed10" if name == "avg_pool" else name).output for name in LAYER_WIDTHS]
    pooled = [
        keras.layers.GlobalAveragePooling2D(name=f"{name}_features")(tensor)
        for name, tensor in zip(LAYER_WIDTHS, tensors, strict=True)
    ]
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    return keras.Model(pixels, keras.Model(base.inputs, pooled)(scaled))


def arrays_sha256(arrays: Iterable[np.ndarray]) -> str:
    """Hash over the backbone's arrays, in Keras's order: the same for the same weights in any file."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def _random_arrays(paths: list[str], shapes: list[tuple[int, ...]]) -> Iterable[np.ndarray]:
    random = np.random.Generator(np.random.PCG64(_SEED))
    for path, shape in zip(paths, shapes, strict=True):
        if len(shape) == 4:
            deviation = np.sqrt(2 / np.prod(shape[:3]))
            yield random.standard_normal(shape, np.float32) * np.float32(deviation)
        else:
            yield np.full(shape, 1.0 if path.endswith("variance") else 0.0, np.float32)


def _read_arrays(path: Path, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """The backbone's arrays from a file, whichever of Keras's forms it has."""
    errors = []
    for read in (_read_saved_model, _read_weights, _read_weights_with_top):
        try:
            models = read(path)
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            errors.append(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
            continue
        for model in models:
            arrays = model.get_weights()[: len(shapes)]
            if [array.shape for array in arrays] == shapes:
                return arrays
    reason = errors[-1] if errors else "its arrays have other shapes"
    raise BottleneckError(f"{path} does not hold the weights of Keras's Inception V3 ({reason})")


def _read_saved_model(path: Path) -> list[keras.Model]:
    """A whole model: itself, and the models that are layers of it."""
    import keras

    if path.name.endswith(".weights.h5"):
        return []
    model = keras.saving.load_model(path, compile=False)
    return [model, *(layer for layer in model.layers if isinstance(layer, keras.Model))]


def _read_weights(path: Path) -> list[keras.Model]:
    import keras

    model = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(299, 299, 3))
    return [_load_whole(model, path)]


def _read_weights_with_top(path: Path) -> list[keras.Model]:
    import h5py
    import keras

    with h5py.File(path) as file:
        sizes: list[int] = []
        file.visititems(
            lambda _, item: (
                sizes.append(item.shape[1])
                if isinstance(item, h5py.Dataset) and item.shape[:1] == (2048,) and len(item.shape) == 2
                else None
            )
        )
    if not sizes:
        raise ValueError("no arrays of Inception V3 in it")
    model = keras.applications.InceptionV3(weights=None, classes=sizes[0])
    return [_load_whole(model, path)]


def _load_whole(model: keras.Model, path: Path) -> keras.Model:
    """Load weights and make sure that every array came from the file: Keras skips what it does not find."""
    model.set_weights([np.full(array.shape, np.nan, np.float32) for array in model.weights])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning for each part that is looked for under a second name
        model.load_weights(path)
    if any(np.isnan(array).any() for array in model.get_weights()):
        raise ValueError("some arrays of Inception V3 are missing from it")
    return model
