from __future__ import annotations

import dataclasses

import pytest

from features.errors import BottleneckError
from features.recipe import LAYER_WIDTHS, Column, FeatureRecipe, check_column, parse_layers

RECIPE = FeatureRecipe(weights="imagenet", weights_sha256="a" * 64)


def test_layers_come_in_the_order_of_the_network_and_once():
    assert parse_layers("avg_pool, mixed3,mixed0,mixed3") == ("mixed0", "mixed3", "avg_pool")


def test_mixed10_is_avg_pool():
    assert parse_layers(["mixed10", "avg_pool"]) == ("avg_pool",)


def test_a_wrong_layer_name_lists_the_right_ones():
    with pytest.raises(BottleneckError, match="'mixed11'.*mixed0.*mixed9.*avg_pool.*mixed10"):
        parse_layers("mixed11")
    with pytest.raises(BottleneckError, match="no layer was named"):
        parse_layers(" , ")


def test_the_fingerprint_follows_whatever_decides_the_numbers_and_nothing_else():
    fingerprint = RECIPE.fingerprint("avg_pool")
    assert fingerprint == dataclasses.replace(RECIPE, weights="another-file").fingerprint("avg_pool")
    changed = [
        dataclasses.replace(RECIPE, weights_sha256="b" * 64),
        dataclasses.replace(RECIPE, precision="bfloat16"),
        dataclasses.replace(RECIPE, exif_orientation=True),
        dataclasses.replace(RECIPE, resize="bicubic"),
    ]
    others = {recipe.fingerprint("avg_pool") for recipe in changed} | {RECIPE.fingerprint("mixed9")}
    assert len(others) == 5
    assert fingerprint not in others


def test_a_recipe_survives_its_dictionary():
    assert FeatureRecipe.from_dict(RECIPE.to_dict()) == RECIPE


def test_columns_made_the_same_way_pass_without_a_notice():
    same = dataclasses.replace(RECIPE, weights="another-file")
    assert check_column(Column(RECIPE, "avg_pool"), Column(same, "avg_pool"), user="head 1") is None


def test_columns_that_differ_in_precision_alone_pass_with_a_notice():
    other = dataclasses.replace(RECIPE, precision="bfloat16")
    notice = check_column(Column(RECIPE, "avg_pool"), Column(other, "avg_pool"), user="head 1")
    assert notice is not None and "head 1" in notice and "bfloat16" in notice


def test_other_columns_are_refused_and_every_difference_is_named():
    other = dataclasses.replace(RECIPE, precision="bfloat16", weights_sha256="b" * 64)
    with pytest.raises(
        BottleneckError,
        match="head 1.*weights_sha256 was aaa.*precision was float32.*layer was avg_pool and is now mixed9",
    ):
        check_column(Column(RECIPE, "avg_pool"), Column(other, "mixed9"), user="head 1")


def test_layer_widths_sum_to_what_keras_gives():
    assert sum(LAYER_WIDTHS.values()) == 256 + 288 * 2 + 768 * 5 + 1280 + 2048 * 2
