"""Each backbone on each engine against Keras: `preprocess_input`, `include_top=False`, `pooling="avg"`."""

from __future__ import annotations

import inspect
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet_v2, inception_v3, resnet

from features.backbones import BACKBONES, Backbone, get_backbone
from features.backbones.network import arrays_sha256, build_network, feature_model
from features.engines import ENGINES, engine_module, load_engine
from tests.conftest import photo

#: The module of each backbone in `keras.applications`, for its `preprocess_input`.
MODULES = {
    "inception_v3": keras.applications.inception_v3,
    "resnet50": keras.applications.resnet,
    "resnet50_v2": keras.applications.resnet_v2,
    "efficientnet_v2_s": keras.applications.efficientnet_v2,
}

_OF_INCEPTION = re.search(r'WEIGHTS_PATH_NO_TOP,\s.*\s.*file_hash="(.*)"', inspect.getsource(inception_v3))
_OF_RESNET = f"{resnet.BASE_WEIGHTS_PATH}{{}}_weights_tf_dim_ordering_tf_kernels_notop.h5"
#: The address and the MD5 of the weights without the classifier, in Keras's own code.
PUBLISHED = {
    "inception_v3": (inception_v3.WEIGHTS_PATH_NO_TOP, _OF_INCEPTION and _OF_INCEPTION[1]),
    "resnet50": (_OF_RESNET.format("resnet50"), resnet.WEIGHTS_HASHES["resnet50"][1]),
    "resnet50_v2": (_OF_RESNET.format("resnet50v2"), resnet.WEIGHTS_HASHES["resnet50v2"][1]),
    "efficientnet_v2_s": (
        f"{efficientnet_v2.BASE_WEIGHTS_PATH}efficientnetv2-s_notop.h5",
        efficientnet_v2.WEIGHTS_HASHES["-s"][1],
    ),
}

#: Of the seeded random weights: features that were stored with them are known by it.
RANDOM_SHA256 = {
    "inception_v3": "3a44f9ff11164f072b469039b25f5b43a77eb9e6fe0f3c2035144b29345cce17",
    "resnet50": "52840c95cf8efb8c62497277ff16a7bf785e85a16b4988dfe8f5737f5ec2fcad",
    "resnet50_v2": "f0f8b83a1ac12915e1d394c989e21cf55ff0e8b8e194e3b340b4dfe1c4f54da6",
    "efficientnet_v2_s": "08c8ce506ecb90bebe3d385e7c20445109a9dd7f36197e1312e18b782a5e3de1",
}

#: Shapes of the kernels that OpenVINO is told to keep in float32.
PRECISE_KERNELS = {"inception_v3": [["32", "3", "3", "3"], ["32", "32", "3", "3"]]}


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
    scaled = MODULES[request.param].preprocess_input(pixels[:4].copy())
    *layers, avg_pool = backbone.layers
    outputs = [*(network.get_layer(layer).output for layer in layers), network.output]
    maps = keras.Model(network.input, outputs)(scaled, training=False)
    features = [one.numpy().mean(axis=(1, 2)) for one in maps]
    yield Reference(backbone, network, pixels, dict(zip(backbone.layers, features, strict=True)))
    keras.utils.clear_session()


@pytest.mark.parametrize("name", BACKBONES)
def test_the_published_weights_are_those_that_keras_names(name: str) -> None:
    backbone = get_backbone(name)
    url, md5 = PUBLISHED[name]
    assert (backbone.weights_url, backbone.weights_hash) == (url, f"md5:{md5}")


def test_the_random_weights_are_those_that_stored_features_were_made_with(reference: Reference) -> None:
    assert arrays_sha256(reference.network.get_weights()) == RANDOM_SHA256[reference.backbone.name]


def precise_kernels(folder: Path) -> list[list[str | None]]:
    """Of OpenVINO's graph: shapes of the kernels of the convolutions that are marked in it."""
    layers = ElementTree.parse(folder / "graph_precise.xml").getroot().iter("layer")
    marked = [layer for layer in layers if layer.find("rt_info/attribute[@name='precise']") is not None]
    assert all(layer.get("type") == "Convolution" for layer in marked)
    return [[dim.text for dim in layer.findall("input/port")[1].iter("dim")] for layer in marked]


@pytest.mark.parametrize("engine", ENGINES)
def test_features_are_those_of_keras(engine: str, reference: Reference, tmp_path: Path) -> None:
    backbone = reference.backbone
    engine_module(engine).convert(backbone, feature_model(backbone, reference.network), tmp_path)
    if engine == "openvino":
        assert precise_kernels(tmp_path) == PRECISE_KERNELS.get(backbone.name, [])
    for precision in ("float32", "bfloat16"):
        loaded = load_engine(engine, tmp_path, tuple(reference.features), precision)
        assert loaded.precision in ("float32", precision)
        images = np.resize(reference.pixels, (loaded.batch_size, *reference.pixels.shape[1:]))
        pairs = zip(reference.features.items(), loaded.infer(images), strict=True)
        for (layer, expected), features in pairs:
            assert features.shape == (loaded.batch_size, backbone.layers[layer])
            rows, norms = features[: len(expected)], np.linalg.norm(expected, axis=1)
            if loaded.precision == "float32":
                assert (np.linalg.norm(rows - expected, axis=1) / norms).max() < 1e-4, layer
            cosines = (rows * expected).sum(axis=1) / np.linalg.norm(rows, axis=1) / norms
            assert cosines.min() > 0.998, layer
            assert np.ptp(expected, axis=0).max() > 1e-3  # the images differ in it
