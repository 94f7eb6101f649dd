"""Each backbone on each engine against Keras: `preprocess_input`, `include_top=False`, `pooling="avg"`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from features.backbones import BACKBONES, Backbone, get_backbone
from features.backbones.network import build_network, feature_model
from features.engines import ENGINES, engine_module, load_engine
from tests.conftest import photo

#: The module of each backbone in `keras.applications`, for its `preprocess_input`.
MODULES = {
    "inception_v3": keras.applications.inception_v3,
    "resnet50": keras.applications.resnet,
    "resnet50_v2": keras.applications.resnet_v2,
    "efficientnet_v2_s": keras.applications.efficientnet_v2,
}


class Reference(NamedTuple):
    """A backbone with random weights, and Keras's own features of some pixels."""

    backbone: Backbone
    network: keras.Model
    pixels: np.ndarray
    features: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=BACKBONES)
def reference(request: pytest.FixtureRequest) -> Iterator[Reference]:
    backbone = get_backbone(request.param)
    size = backbone.input_size
    network = build_network(backbone, None)
    pixels = np.stack([np.asarray(photo(seed, size, size), np.float32) for seed in range(8)])
    scaled = MODULES[request.param].preprocess_input(pixels.copy())
    pooled = getattr(keras.applications, backbone.keras_name)(
        include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3)
    )
    pooled.set_weights(network.get_weights())
    outputs = [network.get_layer(layer).output for layer in backbone.layers if layer != "avg_pool"]
    maps = keras.Model(network.inputs, outputs).predict(scaled, verbose=0)
    features = dict(zip(backbone.layers, [one.mean(axis=(1, 2)) for one in maps], strict=False))
    features["avg_pool"] = pooled.predict(scaled, verbose=0)
    yield Reference(backbone, network, pixels, features)
    keras.utils.clear_session()


@pytest.mark.parametrize("engine", ENGINES)
def test_features_are_those_of_keras(engine: str, reference: Reference, tmp_path: Path) -> None:
    backbone = reference.backbone
    engine_module(engine).convert(backbone, feature_model(backbone, reference.network), tmp_path)
    for precision in ("float32", "bfloat16"):
        loaded = load_engine(engine, tmp_path, tuple(reference.features), precision)
        assert loaded.precision in ("float32", precision)
        images = np.resize(reference.pixels, (loaded.batch_size, *reference.pixels.shape[1:]))
        pairs = zip(reference.features.items(), loaded.infer(images), strict=True)
        for (layer, expected), features in pairs:
            assert features.shape == (loaded.batch_size, backbone.layers[layer])
            rows, norms = features[:8], np.linalg.norm(expected, axis=1)
            if loaded.precision == "float32":
                assert (np.linalg.norm(rows - expected, axis=1) / norms).max() < 1e-4, layer
            cosines = (rows * expected).sum(axis=1) / np.linalg.norm(rows, axis=1) / norms
            assert cosines.min() > 0.998, layer
            assert np.ptp(expected, axis=0).max() > 1e-3  # the images differ in it


def test_every_layer_has_the_width_that_the_backbone_says(reference: Reference) -> None:
    model = feature_model(reference.backbone, reference.network)
    assert [output.shape[1] for output in model.outputs] == [*reference.backbone.layers.values()]
