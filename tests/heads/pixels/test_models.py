from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from features import Extractor
from features.backbones.network import build_network
from features.errors import BottleneckError
from features.recipe import Column, FeatureRecipe
from heads import DenseHead, LogisticHead
from heads.fitting import column_facts
from heads.pixels.epochs import predict_stream
from heads.pixels.models import join, pooled_features, whole_model
from heads.pixels.streams import PixelReader, PixelStream
from heads.saved import save_head
from tests.heads.pictures import make_photos
from tests.tiny import BACKBONE, SHA256, weights_file

LAYERS = ("early", "avg_pool")


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return sorted(map(str, make_photos(tmp_path_factory.mktemp("photos"), 4).rglob("*.png")))


@pytest.fixture(scope="module")
def images(uris: list[str]) -> PixelStream:
    return PixelStream(uris, np.arange(len(uris)) % 3, PixelReader(32))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build_network(BACKBONE, None)


def stored(uris: list[str]) -> np.ndarray:
    """Features of both layers, as an engine makes them."""
    features = Extractor("random", backbone="tiny", layers=LAYERS, engine="openvino").features(uris)
    return np.concatenate([features[layer] for layer in LAYERS], axis=1)


@pytest.mark.parametrize("head", [DenseHead(epochs=3, hidden=4), LogisticHead(C=1.0)], ids=lambda h: h.kind)
def test_a_saved_head_and_its_backbone_are_one_model(
    tiny: str, head: Any, uris: list[str], images: PixelStream, tmp_path: Path
) -> None:
    X = stored(uris)
    head.fit(X, images.y)
    recipe = FeatureRecipe(weights="random", weights_sha256=SHA256, backbone="tiny")
    columns = column_facts([Column(recipe, layer) for layer in LAYERS])
    saved = save_head(tmp_path, "tiny", head, {"columns": columns, "weights": "random"})
    model = whole_model(saved)
    np.testing.assert_allclose(predict_stream(model, images), head.predict_proba(X), atol=1e-5)
    model.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    np.testing.assert_array_equal(predict_stream(again, images), predict_stream(model, images))


def test_other_weights_than_those_of_the_head_are_refused(tiny: str, tmp_path: Path) -> None:
    head = DenseHead(epochs=1).fit(np.eye(16, dtype=np.float32), np.arange(16) % 2)
    recipe = FeatureRecipe(weights="mine", weights_sha256="f" * 64, backbone="tiny")
    columns = column_facts([Column(recipe, "avg_pool")])
    saved = save_head(tmp_path, "tiny", head, {"columns": columns, "weights": "/mine.weights.h5"})
    with pytest.raises(BottleneckError) as error:
        whole_model(saved, "random")
    assert str(error.value) == (
        f"head {saved.id} was trained with the weights mine (sha256 ffffffffffff…), and random are others "
        f"(sha256 {SHA256[:12]}…): give its own as `weights=PATH`"
    )
    with pytest.raises(BottleneckError, match="there is no weights file /mine.weights.h5"):
        whole_model(saved)


def test_features_of_layers_lie_side_by_side(network: keras.Model, uris: list[str], tiny: str) -> None:
    pixels = np.stack([PixelReader(32).read(uri) for uri in uris])
    model = pooled_features(BACKBONE, network, LAYERS)
    np.testing.assert_allclose(model(pixels), stored(uris), atol=1e-5)
    alone = pooled_features(BACKBONE, network, ["avg_pool"])
    np.testing.assert_allclose(alone(pixels), stored(uris)[:, 8:], atol=1e-5)


class Halves(keras.layers.Layer):
    """Tells in which mode it is called."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x * (0.5 if training else 1.0)


def test_the_backbone_is_in_inference_mode_and_the_head_is_trained() -> None:
    inputs, features = keras.Input((4, 4, 3)), keras.Input((3,))
    backbone = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(Halves()(inputs)))
    head = keras.Model(features, Halves()(features))
    model = join(backbone, head, {}, np.ones(3), 0)
    pixels = np.full((2, 4, 4, 3), 8, np.float32)
    assert np.unique(model(pixels, training=True)).tolist() == [4.0]
    assert np.unique(model(pixels, training=False)).tolist() == [8.0]


def test_pixels_and_features_are_augmented_in_training_alone() -> None:
    inputs, features = keras.Input((4, 4, 3)), keras.Input((3,))
    backbone = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    head = keras.Model(features, keras.layers.Identity()(features))
    pixels, deviation = np.full((500, 4, 4, 3), 8, np.float32), np.array([1, 2, 3], np.float32)
    model = join(backbone, head, {"feature_noise": 0.5}, deviation, seed=1)
    np.testing.assert_allclose(np.std(model(pixels, training=True), axis=0), 0.5 * deviation, rtol=0.2)
    np.testing.assert_array_equal(model(pixels, training=False), 8)
    model = join(backbone, head, {"noise": 0.5}, deviation, seed=1)
    assert np.std(model(pixels, training=True)) > 10
    np.testing.assert_array_equal(join(backbone, head, {}, deviation, 1)(pixels, training=True), 8)


def test_weights_that_are_named_in_the_store_are_found(tiny: str, tmp_path: Path) -> None:
    head = DenseHead(epochs=1).fit(np.eye(16, dtype=np.float32), np.arange(16) % 2)
    recipe = FeatureRecipe(weights="mine", weights_sha256=SHA256, backbone="tiny")
    columns = column_facts([Column(recipe, "avg_pool")])
    saved = save_head(tmp_path, "tiny", head, {"columns": columns, "weights": "weights/mine.weights.h5"})
    (tmp_path / "weights").mkdir()
    weights_file(tmp_path / "weights" / "mine.weights.h5", BACKBONE, SHA256)
    with pytest.raises(
        BottleneckError, match=f"{tmp_path}/weights/mine.weights.h5 does not hold the weights"
    ):
        whole_model(saved)  # there is nothing in this file


@pytest.mark.slow
@pytest.mark.parametrize("layers", [["avg_pool"], ["mixed3", "avg_pool"]])
def test_inception_v3_and_a_head_are_one_model(photos: Path, tmp_path: Path, layers: list[str]) -> None:
    uris = sorted(map(str, photos.rglob("*.jpg")))[:8]
    extractor = Extractor("random", layers=layers, engine="openvino")
    features = extractor.features(uris)
    X, y = np.concatenate([features[layer] for layer in layers], axis=1), np.arange(8) % 2
    head = DenseHead(epochs=20).fit(X, y)
    columns = column_facts([Column(extractor.recipe, layer) for layer in layers])
    saved = save_head(tmp_path, "inception_v3", head, {"columns": columns, "weights": "random"})
    on_pixels = predict_stream(whole_model(saved), PixelStream(uris, y, PixelReader(299)))
    np.testing.assert_allclose(on_pixels, head.predict_proba(X), atol=1e-4)
