from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.backbones import BACKBONES
from features.errors import BottleneckError
from features.recipe import Column, FeatureRecipe, check_column

RECIPE = FeatureRecipe(weights="imagenet", weights_sha256="a" * 64)

#: Values of each fact, few enough that two recipes often share them.
FACTS: dict[str, tuple[Any, ...]] = {
    "weights": ("imagenet", "random"),
    "weights_sha256": ("a" * 64, "b" * 64),
    "precision": ("float32", "bfloat16"),
    "exif_orientation": (False, True),
    "backbone": BACKBONES,
    "input_size": (224, 299),
    "resize": ("bilinear", "bicubic"),
}
LAYERS = ("avg_pool", "mixed9")

recipes = st.builds(FeatureRecipe, **{name: st.sampled_from(values) for name, values in FACTS.items()})


def column(layer: str = "avg_pool", **facts: Any) -> Column:
    return Column(dataclasses.replace(RECIPE, **facts), layer)


def test_a_recipe_as_it_is_stored() -> None:
    recipe = FeatureRecipe("imagenet", "a" * 64)
    assert recipe.to_dict() == {
        "weights": "imagenet",
        "weights_sha256": "a" * 64,
        "precision": "float32",
        "exif_orientation": False,
        "backbone": "inception_v3",
        "input_size": 299,
        "resize": "bilinear",
    }
    assert FACTS.keys() == recipe.to_dict().keys()


@pytest.mark.parametrize(
    ("layer", "facts", "fingerprint", "width"),
    [
        ("avg_pool", {}, "b88715f4c4e365ff", 2048),
        ("mixed8", {}, "6545aa737065143f", 1280),
        ("avg_pool", {"precision": "bfloat16"}, "76ee13f34468c991", 2048),
        ("avg_pool", {"exif_orientation": True}, "2ef1de67e27a6d34", 2048),
        ("avg_pool", {"backbone": "resnet50"}, "838b34d10924e181", 2048),
        ("avg_pool", {"backbone": "resnet50_v2"}, "d59e155ed19085b5", 2048),
        ("avg_pool", {"backbone": "efficientnet_v2_s"}, "6e66d2eec98df6a3", 1280),
        ("conv4_block6_out", {"backbone": "resnet50"}, "1bf73aeaadab82d4", 1024),
        ("block6o_add", {"backbone": "efficientnet_v2_s"}, "6aa7b95afb5a5aaa", 256),
    ],
)
def test_tables_that_exist_keep_their_fingerprints(
    layer: str, facts: dict[str, Any], fingerprint: str, width: int
) -> None:
    column = Column(FeatureRecipe("imagenet", "a" * 64, **facts), layer)
    assert (column.fingerprint, column.width) == (fingerprint, width)


@settings(max_examples=100)
@given(recipes, recipes, st.sampled_from(LAYERS), st.sampled_from(LAYERS))
def test_fingerprints_differ_where_what_decides_the_numbers_does_and_nowhere_else(
    one: FeatureRecipe, other: FeatureRecipe, layer: str, other_layer: str
) -> None:
    mine, theirs = one.to_dict(), other.to_dict()
    differing = {name: (mine[name], theirs[name]) for name in FACTS if mine[name] != theirs[name]}
    differing.pop("weights", None)  # its hash decides, not its name
    assert one.differences(other) == differing
    same = not differing and layer == other_layer
    assert (one.fingerprint(layer) == other.fingerprint(other_layer)) == same


@pytest.mark.parametrize("name", sorted(FACTS.keys() - {"weights"}))
def test_each_fact_alone_changes_the_fingerprint(name: str) -> None:
    fingerprints = {column(**{name: value}).fingerprint for value in FACTS[name]}
    assert len(fingerprints) == len(FACTS[name])


@settings(max_examples=100)
@given(recipes)
def test_a_recipe_survives_its_dictionary(recipe: FeatureRecipe) -> None:
    assert FeatureRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_columns_made_the_same_way_pass_without_a_notice() -> None:
    assert check_column(column(), column(weights="another-file"), user="head 1") is None


def test_columns_that_differ_in_precision_alone_pass_with_a_notice() -> None:
    assert check_column(column(), column(precision="bfloat16"), user="head 1") == (
        "head 1 was built on float32 features and is given bfloat16 ones: close, but not the same numbers"
    )


@pytest.mark.parametrize(
    ("given", "differences"),
    [
        (column("mixed9"), "layer was avg_pool and is now mixed9"),
        (
            column("mixed9", precision="bfloat16"),
            "precision was float32 and is now bfloat16; layer was avg_pool and is now mixed9",
        ),
        (
            column(weights_sha256="b" * 64, precision="bfloat16"),
            "weights_sha256 was aaaaaaaaaaaa… and is now bbbbbbbbbbbb…; "
            "precision was float32 and is now bfloat16",
        ),
        (
            column(backbone="resnet50", input_size=0),
            "backbone was inception_v3 and is now resnet50; input_size was 299 and is now 224",
        ),
    ],
)
def test_other_columns_are_refused_and_every_difference_is_named(given: Column, differences: str) -> None:
    with pytest.raises(BottleneckError) as refusal:
        check_column(column(), given, user="head 1")
    assert str(refusal.value) == f"head 1 was built on features made another way: {differences}"
