"""Layer names, and what each backbone of the registry says of itself."""

from __future__ import annotations

import pytest

from features.backbones import BACKBONES, DEFAULT_BACKBONE, get_backbone
from features.errors import BottleneckError

parse_layers = get_backbone("inception_v3").parse_layers


def test_inception_v3_is_the_default_and_its_layers_are_those_of_stored_tables():
    backbone = get_backbone(DEFAULT_BACKBONE)
    assert backbone.name == "inception_v3" and backbone.input_size == 299
    assert [*backbone.layers.items()] == [
        *[("mixed0", 256), ("mixed1", 288), ("mixed2", 288)],
        *[(f"mixed{number}", 768) for number in range(3, 8)],
        *[("mixed8", 1280), ("mixed9", 2048), ("avg_pool", 2048)],
    ]


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_goes_by_its_name_and_ends_in_avg_pool(name: str):
    backbone = get_backbone(name)
    assert backbone.name == name
    assert [*backbone.layers][-1] == "avg_pool"
    assert backbone.parse_layers(None) == backbone.parse_layers(backbone.last) == ("avg_pool",)
    assert backbone.weights_file.endswith("notop.h5") and backbone.weights_hash.startswith("md5:")


def test_an_unknown_backbone_lists_the_known_ones():
    with pytest.raises(BottleneckError, match="no backbone 'vgg16': choose from inception_v3, resnet50"):
        get_backbone("vgg16")


def test_layers_come_in_the_order_of_the_network_and_once():
    assert parse_layers("avg_pool, mixed3,mixed0,mixed3") == ("mixed0", "mixed3", "avg_pool")


def test_mixed10_is_avg_pool():
    assert parse_layers(["mixed10", "avg_pool"]) == ("avg_pool",)


def test_a_wrong_layer_name_lists_the_right_ones():
    with pytest.raises(BottleneckError, match="'mixed11'.*mixed0.*mixed9.*avg_pool.*mixed10"):
        parse_layers("mixed11")
    with pytest.raises(BottleneckError, match="no layer was named"):
        parse_layers(" , ")
