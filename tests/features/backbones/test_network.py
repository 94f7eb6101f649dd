"""The network that Keras builds, its random weights and its features, by the smallest of backbones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from features.backbones.network import (
    _random_arrays,
    arrays_sha256,
    build_network,
    feature_model,
    freeze,
    last_blocks,
    write_weights,
)
from features.errors import BottleneckError
from tests.tiny import BACKBONE as TINY
from tests.tiny import SHA256


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build_network(TINY, None)


def test_random_weights_are_the_same_for_ever():
    shapes = {
        "a/conv/kernel": (3, 3, 2, 4),
        "a/depthwise_kernel": (3, 3, 5, 1),
        "a/bn/gamma": (3,),
        "a/bn/beta": (3,),
        "bn_moving_variance": (2,),
        "a/bn/moving_mean": (2,),
        "a/conv/bias": (2,),
    }
    kernel, depthwise, *constants = _random_arrays([*shapes], [*shapes.values()])
    assert [array.tolist() for array in constants] == [
        [np.float32(0.85)] * 3, [0.0] * 3, [1.0] * 2, [0.0] * 2, [0.0] * 2,
    ]  # fmt: skip
    assert {array.dtype for array in (kernel, depthwise, *constants)} == {np.dtype("float32")}
    assert arrays_sha256([kernel, depthwise]) == (
        "1c9a25717b9da05b439d1ecaac23950838f1ac636f4b5abb222faf23b72b5e3b"
    )
    assert arrays_sha256(build_network(TINY, None).get_weights()) == SHA256


def test_random_kernels_keep_activations_at_their_size():
    random = _random_arrays(["kernel", "depthwise_kernel"], [(3, 3, 64, 64), (5, 5, 512, 1)])
    kernel, depthwise = random
    assert kernel.std() == pytest.approx(np.sqrt(2 / (3 * 3 * 64)), rel=0.02)
    assert depthwise.std() == pytest.approx(np.sqrt(2 / (5 * 5)), rel=0.02)


@pytest.mark.parametrize("scaling", ["tf", "caffe", "torch", "inside"])
def test_features_are_pooled_maps_of_pixels_scaled_as_keras_does_it(network: keras.Model, scaling: Any):
    backbone = dataclasses.replace(TINY, scaling=scaling)
    model = feature_model(backbone, network)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    scaled = pixels
    if scaling != "inside":
        scaled = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=scaling)
    maps = keras.Model(network.input, [network.get_layer(name).output for name in ("early", "late")])
    expected = [one.numpy().mean(axis=(1, 2)) for one in maps(scaled)]
    for features, reference, width in zip(model(pixels), expected, (8, 16), strict=True):
        assert features.shape == (2, width)
        np.testing.assert_allclose(features, reference, rtol=1e-4, atol=1e-4)
    assert [tensor.name for tensor in model.inputs] == ["pixels"]


def test_layers_that_are_wanted_are_computed_and_nothing_beyond_them(network: keras.Model):
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    early, late = feature_model(TINY, network)(pixels)
    for layers, expected in (
        (["early"], [early]),
        (["avg_pool"], [late]),
        (["avg_pool", "early"], [late, early]),
    ):
        model = feature_model(TINY, network, layers)
        outputs = model(pixels)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        np.testing.assert_array_equal(np.concatenate(outputs, axis=1), np.concatenate(expected, axis=1))
        assert len(model.weights) == (2 if layers == ["early"] else 4)


class Branching(type(TINY)):  # type: ignore[misc]
    """Of the branches that are added up, the one from `early` on is listed last but one."""

    def build(self, **options: Any) -> keras.Model:
        layers = keras.layers
        pixels = keras.Input((32, 32, 3))
        early = layers.Conv2D(4, 1, name="early")(pixels)
        side = layers.Conv2D(4, 1, name="side")(early)
        deep = layers.Conv2D(4, 1, name="deep")(layers.Conv2D(4, 1, name="of_middle")(early))
        middle = layers.Add(name="middle")([deep, early])
        last = layers.Add(name="late")([layers.Conv2D(4, 1, name="of_late")(middle), side])
        return keras.Model(pixels, layers.Conv2D(4, 1, name="top")(last))


BRANCHING = Branching(**dataclasses.asdict(TINY) | {"layers": {"early": 4, "middle": 4, "avg_pool": 4}})


@pytest.mark.parametrize(
    ("layer", "blocks", "expected"),
    [
        ("avg_pool", 1, {"of_late", "side", "late"}),
        ("avg_pool", 2, {"of_late", "side", "late", "of_middle", "deep", "middle"}),
        ("middle", 1, {"of_middle", "deep", "middle"}),
        ("middle", 2, {"of_middle", "deep", "middle", "early"}),
        ("early", 1, {"early"}),
    ],
)
def test_the_last_blocks_are_what_only_they_need(layer: str, blocks: int, expected: set[str]):
    layers = last_blocks(BRANCHING, BRANCHING.build(), layer, blocks)
    assert {one.name for one in layers if not isinstance(one, keras.layers.InputLayer)} == expected


@pytest.mark.parametrize("blocks", [0, 3])
def test_blocks_that_there_are_not(network: keras.Model, blocks: int):
    with pytest.raises(BottleneckError) as error:
        last_blocks(TINY, network, "avg_pool", blocks)
    assert str(error.value) == (
        f"`blocks={blocks}`: expected a number from 1 to 2, for Tiny has 2 blocks up to avg_pool"
    )
    with pytest.raises(BottleneckError, match="a number from 1 to 1, for Tiny has 1 block up to early"):
        last_blocks(TINY, network, "early", 2)


def test_weights_that_were_written_are_read_again(network: keras.Model, tmp_path: Path):
    other = build_network(TINY, None)
    other.set_weights([array + 1 for array in other.get_weights()])
    write_weights(other, tmp_path / "weights" / "other.weights.h5")
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["other.weights.h5"]
    again = build_network(TINY, tmp_path / "weights" / "other.weights.h5")
    assert arrays_sha256(again.get_weights()) == arrays_sha256(other.get_weights()) != SHA256
    with pytest.raises(ValueError, match=r"weights\.h5"):
        write_weights(other, tmp_path / "weights" / "half.keras")
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["other.weights.h5"]


def test_a_frozen_graph_is_fed_pixels_and_names_its_outputs_in_order(network: keras.Model):
    graph, outputs = freeze(feature_model(TINY, network))
    (pixels,) = [node for node in graph.node if node.op == "Placeholder"]
    sides = [dim.size for dim in pixels.attr["shape"].shape.dim]
    assert (pixels.name, sides) == ("pixels", [-1, 32, 32, 3])
    assert outputs == ["Identity:0", "Identity_1:0"]
    assert not [node.op for node in graph.node if "Variable" in node.op]


_arrays = st.lists(arrays.arrays(np.float32, arrays.array_shapes(max_dims=4, max_side=3)), max_size=3)


@given(_arrays)
def test_the_hash_knows_values_and_shapes_and_not_how_they_lie_in_memory(given: list[np.ndarray]):
    expected = arrays_sha256(given)
    assert arrays_sha256(map(np.asfortranarray, given)) == expected
    assert arrays_sha256(array.astype(">f4") for array in given) == expected
    assert arrays_sha256(array[..., ::-1][..., ::-1] for array in given) == expected
    for place, array in enumerate(given):
        for other in (array[None], np.nextafter(array, np.float32(np.inf)), array.reshape(-1, 1)):
            changed = [*given[:place], other, *given[place + 1 :]]
            same = other.shape == array.shape and other.tobytes() == array.tobytes()
            assert (arrays_sha256(changed) == expected) == same


def test_the_hash_of_known_arrays():
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.float32)
    assert arrays_sha256([first, second]) == (
        "138898dbc50b22221ab6e79d6b109e357565a611b16a91e225d63183396d27b6"
    )
    assert arrays_sha256([second, first]) != arrays_sha256([first, second])
