"""One Keras model from pixels to probabilities: augmentation, backbone and head.

Use `whole_model` to deploy a saved head together with its backbone. To label many images, `make predict` is
faster: it runs the backbone by an engine made for inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from features.backbones import Backbone, get_backbone
from features.backbones.network import arrays_sha256, build_network, feature_model
from features.backbones.weights import WeightsSource, find_weights
from features.downloads import DownloadProgress
from features.errors import BottleneckError
from heads.pixels.augmentation import Strengths, augment_features, augment_pixels

if TYPE_CHECKING:
    import keras

    from heads.saved import SavedHead


def whole_model(saved: SavedHead, weights: str | None = None) -> keras.Model:
    """The backbone and a saved head as one model, to be deployed.

    Args:
        weights: as of `features.backbones.weights.find_weights`; by default those that the head names.

    Returns:
        A model from pixels, float32 (batch, input_size, input_size, 3) from 0 to 255, to probabilities,
        (batch, n_classes), in the order of `saved.facts["labels"]`: what the head gives for stored float32
        features of the same images.

    Raises:
        BottleneckError: for other weights than the head's, or a head that can't be put as layers of Keras.
    """
    import keras

    backbone, network, _ = network_of(saved, weights)
    features = pooled_features(backbone, network, saved.layers)
    return keras.Model(features.input, saved.head.keras_model()(features.output))


def network_of(
    saved: SavedHead, weights: str | None = None, progress: DownloadProgress | None = None
) -> tuple[Backbone, keras.Model, WeightsSource]:
    """The backbone that the features of a head came from, its network with the weights, and where they are.

    Raises:
        BottleneckError: for other weights than the head's.
    """
    recipe = saved.columns[0].recipe
    backbone = get_backbone(recipe.backbone)
    source = find_weights(weights or saved.weights, backbone, progress)
    network = build_network(backbone, source.path)
    sha256 = arrays_sha256(network.get_weights())
    if sha256 != recipe.weights_sha256:
        raise BottleneckError(
            f"head {saved.id} was trained with the weights {recipe.weights} "
            f"(sha256 {recipe.weights_sha256[:12]}…), and {source.spec} are others (sha256 {sha256[:12]}…): "
            f"give its own as `weights=PATH`"
        )
    return backbone, network, source


def pooled_features(backbone: Backbone, network: keras.Model, layers: Sequence[str]) -> keras.Model:
    """A model from pixels to the features of `layers` side by side, float32 (batch, width)."""
    import keras

    model = feature_model(backbone, network, layers)
    outputs = model.outputs
    return keras.Model(model.input, keras.layers.Concatenate()(outputs) if outputs[1:] else outputs[0])


def join(
    features: keras.Model,
    head: keras.Model,
    strengths: Strengths,
    deviation: np.ndarray,
    seed: int,
) -> keras.Model:
    """Features and head as one model to be trained, with augmentation that is at work in training alone.

    The backbone is in inference mode at all times: its BatchNormalization keeps the moments it has learned.

    Args:
        features: from pixels to features.
        strengths: of the augmentation.
        deviation: of each feature, (width,).
        seed: of the augmentation.
    """
    import keras

    from heads.pixels.inference_mode import InferenceMode

    pixels = keras.Input(features.input_shape[1:], name="pixels", dtype="float32")
    X = InferenceMode(features)(augment_pixels(pixels, strengths, seed))
    return keras.Model(pixels, head(augment_features(X, strengths, deviation, seed)))
