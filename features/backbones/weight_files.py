"""A backbone's arrays from a file, in whichever of Keras's forms, with or without the classifier on top."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.backbones.base import AVG_POOL, Backbone
from features.errors import BottleneckError

if TYPE_CHECKING:
    import keras


def read_arrays(backbone: Backbone, path: Path, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """The backbone's arrays, in Keras's order.

    Args:
        shapes: of the arrays, without the top.

    Raises:
        BottleneckError: for a file that does not hold them all.
    """
    errors = []
    for read in (_read_saved_model, _read_weights, _read_weights_with_top):
        try:
            models = read(backbone, path)
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            errors.append(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
            continue
        for model in models:
            arrays = model.get_weights()[: len(shapes)]
            if [array.shape for array in arrays] == shapes:
                return arrays
    reason = errors[-1] if errors else "its arrays have other shapes"
    raise BottleneckError(f"{path} does not hold the weights of Keras's {backbone.title} ({reason})")


def _read_saved_model(backbone: Backbone, path: Path) -> list[keras.Model]:
    """A whole model: itself, and the models that are layers of it."""
    import keras

    if path.name.endswith(".weights.h5"):
        return []
    model = keras.saving.load_model(path, compile=False)
    return [model, *(layer for layer in model.layers if isinstance(layer, keras.Model))]


def _read_weights(backbone: Backbone, path: Path) -> list[keras.Model]:
    return [_load_whole(backbone, path, include_top=False, input_shape=backbone.input_shape)]


def _read_weights_with_top(backbone: Backbone, path: Path) -> list[keras.Model]:
    import h5py

    classes: list[int] = []

    def note_classifier(_: str, item: Any) -> None:
        shape: tuple[int, ...] = item.shape if isinstance(item, h5py.Dataset) else ()
        if len(shape) == 2 and shape[0] == backbone.layers[AVG_POOL]:
            classes.append(shape[1])

    with h5py.File(path) as file:
        file.visititems(note_classifier)
    if not classes:
        raise ValueError(f"no arrays of {backbone.title} in it")
    return [_load_whole(backbone, path, classes=classes[0])]


def _load_whole(backbone: Backbone, path: Path, **options: Any) -> keras.Model:
    """Load weights and make sure that every array came from the file: Keras skips those that are missing."""
    model = backbone.build(**options)
    model.set_weights([np.full(array.shape, np.nan, np.float32) for array in model.weights])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning for each part that is looked for under a second name
        model.load_weights(path)
    if any(np.isnan(array).any() for array in model.get_weights()):
        raise ValueError(f"some arrays of {backbone.title} are missing from it")
    return model
