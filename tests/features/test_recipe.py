from __future__ import annotations

import dataclasses

import pytest

from features.errors import BottleneckError
from features.recipe import Column, FeatureRecipe, check_column

RECIPE = FeatureRecipe(weights="imagenet", weights_sha256="a" * 64)


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


def test_the_backbone_and_its_input_size_are_part_of_the_fingerprint():
    other = dataclasses.replace(RECIPE, backbone="resnet50", input_size=0)
    assert (RECIPE.input_size, other.input_size) == (299, 224)
    assert other.fingerprint("avg_pool") != RECIPE.fingerprint("avg_pool")
    assert RECIPE.differences(other) == {"backbone": ("inception_v3", "resnet50"), "input_size": (299, 224)}
