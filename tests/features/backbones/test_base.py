"""Layer names, and what each backbone of the registry says of itself."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.backbones import BACKBONES, DEFAULT_BACKBONE, Backbone, get_backbone
from features.errors import BottleneckError

INCEPTION = get_backbone("inception_v3")
parse_layers = INCEPTION.parse_layers
NAMES = [*INCEPTION.layers, "mixed10"]


def test_inception_v3_is_the_default_and_its_layers_are_those_of_stored_tables():
    backbone = get_backbone(DEFAULT_BACKBONE)
    assert backbone.name == "inception_v3" and backbone.input_size == 299
    assert [*backbone.layers.items()] == [
        *[("mixed0", 256), ("mixed1", 288), ("mixed2", 288)],
        *[(f"mixed{number}", 768) for number in range(3, 8)],
        *[("mixed8", 1280), ("mixed9", 2048), ("avg_pool", 2048)],
    ]


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_ends_in_avg_pool(name: str):
    backbone = get_backbone(name)
    assert [*backbone.layers][-1] == "avg_pool"
    assert backbone.parse_layers(None) == backbone.parse_layers(backbone.last) == ("avg_pool",)
    layers = [backbone.keras_layer(layer) for layer in backbone.layers]
    assert layers == [*[*backbone.layers][:-1], backbone.last]
    assert backbone.input_shape == (backbone.input_size, backbone.input_size, 3)
    assert f"{backbone.weights_url.removesuffix(backbone.weights_file)}".endswith("/")
    assert backbone.weights_file.endswith("notop.h5") and "/" not in backbone.weights_file


def test_keras_builds_what_the_backbone_names(monkeypatch: pytest.MonkeyPatch):
    applications = SimpleNamespace(ResNet50=lambda **options: options)
    monkeypatch.setitem(
        sys.modules, "keras", SimpleNamespace(applications=applications)
    )  # quicker than Keras
    assert get_backbone("resnet50").build(classes=3) == {"weights": None, "classes": 3}


@settings(max_examples=100)
@given(st.lists(st.sampled_from(NAMES), min_size=1), st.data())
def test_layers_named_in_any_way_come_in_the_order_of_the_network_and_once(names: list[str], data):
    wanted = {"avg_pool" if name == "mixed10" else name for name in names}
    expected = tuple(layer for layer in INCEPTION.layers if layer in wanted)
    assert parse_layers(names) == parse_layers(iter(names)) == expected
    spaces = st.sampled_from(["", " ", ",", " , ", "\t"])
    padded = [f"{data.draw(spaces)}{name}{data.draw(spaces)}" for name in names]
    assert parse_layers(",".join(padded)) == expected


@pytest.mark.parametrize(
    "layers, problem",
    [
        ("mixed11", "unknown layer 'mixed11'"),
        (["one", "b", "a"], "unknown layer 'a', 'b'"),
        (" , ", "no layer was named"),
        ([], "no layer was named"),
    ],
)
def test_wrong_layers_are_answered_with_the_right_ones(layers: str | list[str], problem: str):
    small = Backbone("small", "Small", "", 8, "tf", {"one": 1, "avg_pool": 2}, "two", "", "")
    with pytest.raises(BottleneckError) as error:
        small.parse_layers(layers)
    assert str(error.value) == f"{problem}: Small has one, avg_pool, two (two is the same as avg_pool)"
