"""Backbones as Keras builds them: the reference, and what the engines are converted from.

Imports Keras inside its functions: a run that finds its converted graph in the cache never comes here.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features import files
from features.backbones.base import Backbone
from features.backbones.weight_files import read_arrays
from features.errors import BottleneckError
from features.text import counted

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

#: What random weights have instead of what training would have learned. With a gain of 1, residual branches
#: would add up to features of EfficientNetV2-S that no two engines agree on.
_CONSTANTS = {"variance": 1.0, "gamma": 0.85}
_SEED = 20151202  # the day "Rethinking the Inception Architecture" was published: arXiv 1512.00567


def build_network(backbone: Backbone, weights: Path | None) -> keras.Model:
    """Keras's network without its top, carrying the given weights.

    Args:
        weights: a `.weights.h5`, `.h5` or `.keras` file, with or without the top, or None for seeded
            random weights (He-normal kernels, so that activations keep their size through the layers).

    Raises:
        BottleneckError: for a file that does not hold this backbone.
    """
    network = backbone.build(include_top=False, input_shape=backbone.input_shape)
    shapes = [tuple(array.shape) for array in network.weights]
    if weights is None:
        arrays = list(_random_arrays([variable.path for variable in network.weights], shapes))
    else:
        arrays = read_arrays(backbone, weights, shapes)
    network.set_weights(arrays)
    return network


def feature_model(
    backbone: Backbone, network: keras.Model, layers: Sequence[str] | None = None
) -> keras.Model:
    """A model from pixels to layers of `backbone`, average-pooled.

    Its input is named `pixels`: float32 (batch, input_size, input_size, 3), RGB from 0 to 255, which are
    scaled inside. Its outputs come in the order of `layers`, float32 (batch, width) each.

    Args:
        layers: those that are wanted, and nothing beyond them is computed; by default all of
            `backbone.layers`, in that order.
    """
    import keras

    pixels = keras.Input(backbone.input_shape, name="pixels", dtype="float32")
    pooled = [
        keras.layers.GlobalAveragePooling2D(name=f"{layer}_features")(
            network.get_layer(backbone.keras_layer(layer)).output
        )
        for layer in layers or backbone.layers
    ]
    return keras.Model(pixels, keras.Model(network.inputs, pooled)(_scaled(pixels, backbone.scaling)))


def last_blocks(backbone: Backbone, network: keras.Model, layer: str, blocks: int) -> list[keras.Layer]:
    """The layers of the last blocks that lead to a layer of `backbone`.

    A block is what lies between one of `backbone.layers` and the next. What an earlier block needs is of
    that, wherever Keras lists it.

    Args:
        blocks: how many, at most those that there are: the first one begins at the input.

    Raises:
        BottleneckError: for fewer than one, or more than there are.
    """
    names = list(backbone.layers)
    place = names.index(layer)
    if not 1 <= blocks <= place + 1:
        raise BottleneckError(
            f"`blocks={blocks}`: expected a number from 1 to {place + 1}, for {backbone.title} has "
            f"{counted(place + 1, 'block')} up to {layer}"
        )
    before = names[place - blocks] if blocks <= place else None
    frozen = _layers_below(backbone, network, before) if before else []
    return [
        one for one in _layers_below(backbone, network, layer) if not any(one is other for other in frozen)
    ]


def _layers_below(backbone: Backbone, network: keras.Model, layer: str) -> list[keras.Layer]:
    """What `layer` is computed by, itself included."""
    import keras

    return keras.Model(network.inputs, network.get_layer(backbone.keras_layer(layer)).output).layers


def write_weights(network: keras.Model, path: Path) -> None:
    """Keep a network's weights for `build_network`, in a file that appears whole or not at all.

    Args:
        path: it ends in `.weights.h5`.
    """
    with tempfile.TemporaryDirectory() as folder:  # for a name that Keras takes
        network.save_weights(Path(folder) / path.name)
        with files.writing(path) as file:
            file.write(files.read(Path(folder) / path.name))


def freeze(model: keras.Model) -> tuple[tf.compat.v1.GraphDef, list[str]]:
    """A feature model as a graph of TensorFlow, the weights in it, and the names of its outputs, in order."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = tf.TensorSpec(model.input_shape, tf.float32, name="pixels")
    function = tf.function(lambda pixels: model(pixels, training=False), input_signature=[shape])
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return frozen.graph.as_graph_def(), [tensor.name for tensor in frozen.outputs]


def arrays_sha256(arrays: Iterable[np.ndarray]) -> str:
    """Hash over a backbone's arrays, in Keras's order: the same for the same weights in any file."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def _scaled(pixels: keras.KerasTensor, scaling: str) -> keras.KerasTensor:
    """As `preprocess_input` of the backbone's module in `keras.applications` does it."""
    import keras

    if scaling == "inside":
        return pixels
    if scaling == "tf":
        # One multiplication where `preprocess_input` divides: what stored features were made with.
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    return keras.applications.imagenet_utils.preprocess_input(pixels, mode=scaling)


def _random_arrays(paths: list[str], shapes: list[tuple[int, ...]]) -> Iterable[np.ndarray]:
    random = np.random.Generator(np.random.PCG64(_SEED))
    for path, shape in zip(paths, shapes, strict=True):
        if len(shape) == 4:
            inputs = np.prod(shape[:2] if shape[3] == 1 else shape[:3])  # one channel each, if depthwise
            deviation = np.sqrt(2 / inputs)
            yield random.standard_normal(shape, np.float32) * np.float32(deviation)
        else:
            kind = path.rpartition("_")[2].rpartition("/")[2]
            yield np.full(shape, _CONSTANTS.get(kind, 0.0), np.float32)
