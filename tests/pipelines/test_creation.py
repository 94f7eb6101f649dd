"""Making a table: what is left to `auto` is decided, and said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features import store as feature_store
from features.extractor import Extractor
from features.inputs import LISTING_SCHEMA, Listing
from features.recipe import FeatureRecipe
from features.store.schema import TableFacts
from pipelines import extractor
from pipelines.creation import create_table
from pipelines.options import ExtractOptions
from tests.tiny import BACKBONE, RANDOM

IMAGES = [{"uri": "/a/away.png", "labels": []}, {"uri": "/a/one.png", "labels": [], "size": 8}]
LISTING = Listing("/a", pa.Table.from_pylist(IMAGES, LISTING_SCHEMA), 0, ["folders are read so"])
SAID = [*RANDOM.notices, *LISTING.notices, "Preparing Tiny for openvino …"]


@pytest.fixture
def recipe(tiny: str) -> FeatureRecipe:
    return Extractor("random", backbone=tiny, engine="openvino").recipe


@pytest.fixture
def options(tiny: str) -> ExtractOptions:
    return ExtractOptions(
        backbone=tiny, features="mine", weights="random", engine="openvino", precision="float32"
    )


def facts(recipe: FeatureRecipe, **others: Any) -> TableFacts:
    return TableFacts(
        **{"source": "/a", "weights": "random", "layers": ("avg_pool",), **others}, recipe=recipe
    )


def test_a_table_is_made_as_it_is_asked_for(tmp_path: Path, recipe: FeatureRecipe, options: ExtractOptions):
    said: list[str] = []
    table = create_table(tmp_path, options, LISTING, None, said.append)
    assert (table.store, table.name, table.facts) == (tmp_path, "mine", facts(recipe))
    assert said == SAID


def test_all_that_is_asked_for_is_kept(tmp_path: Path, recipe: FeatureRecipe, options: ExtractOptions):
    more = options.replace(
        layers="avg_pool,early",
        exif_orientation=True,
        precision="bfloat16",
        splits={"a": "train"},
        classes="top",
    )
    table = create_table(tmp_path, more, LISTING, None, print)
    assert table.facts == facts(
        dataclasses.replace(recipe, precision="bfloat16", exif_orientation=True),
        layers=("early", "avg_pool"),
        splits=(("a", "train"),),
        classes="top",
    )


@pytest.mark.parametrize("groups", [[None, None], [None, "p"]])
def test_a_table_has_groups_where_any_image_has_one(
    tmp_path: Path, recipe: FeatureRecipe, options: ExtractOptions, groups: list[str | None]
):
    images = LISTING.images.set_column(
        LISTING_SCHEMA.get_field_index("group"), LISTING_SCHEMA.field("group"), pa.array(groups, pa.string())
    )
    table = create_table(tmp_path, options, LISTING._replace(images=images), None, print)
    assert table.facts == facts(recipe, groups="p" in groups)


def test_the_precision_is_decided_by_the_first_images_that_are_there(
    tmp_path: Path, recipe: FeatureRecipe, options: ExtractOptions, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[Extractor, Extractor, list[str]]] = []

    def choose(
        float32: Callable[[], Extractor], bfloat16: Callable[[], Extractor], images: pa.ChunkedArray
    ) -> tuple[str, str]:
        asked.append((float32(), bfloat16(), images.to_pylist()))
        return "bfloat16", "they allow it"

    monkeypatch.setattr("features.precision.choose_precision", choose)
    monkeypatch.setattr(extractor, "_loaded", {})
    said: list[str] = []
    auto = options.replace(precision="auto", layers="early")
    table = create_table(tmp_path, auto, LISTING, None, said.append)
    narrow = dataclasses.replace(recipe, precision="bfloat16")
    assert table.facts == facts(narrow, layers=("early",))
    assert said == [*SAID, "precision: bfloat16 (they allow it)"]
    ((first, second, images),) = asked
    assert [(one.recipe, one.layers) for one in (first, second)] == [
        (recipe, ("early",)),
        (narrow, ("early",)),
    ]
    assert images == ["/a/one.png"]
    assert list(extractor._loaded.values()) == [second], "which goes on with the images"


def test_a_table_without_features_is_decided_anew(
    tmp_path: Path, recipe: FeatureRecipe, options: ExtractOptions
):
    empty = feature_store.create(tmp_path, "mine", facts(recipe, source="/b", layers=("early",)))
    assert create_table(tmp_path, options, LISTING, empty, print).facts == facts(recipe)
    assert feature_store.open(tmp_path, "mine").facts == facts(recipe)


def test_the_table_of_a_run_that_was_faster_is_taken(
    tmp_path: Path, recipe: FeatureRecipe, options: ExtractOptions
):
    feature_store.create(tmp_path, "mine", facts(recipe, layers=("early",)))
    assert create_table(tmp_path, options, LISTING, None, print).layers == ("early",)


def test_the_default_is_the_first_of_the_backbones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: str
):
    monkeypatch.setattr("pipelines.creation.DEFAULT_BACKBONE", tiny)
    options = ExtractOptions(features="mine", weights="random", engine="openvino", precision="float32")
    assert create_table(tmp_path, options, LISTING, None, print).backbone == BACKBONE
