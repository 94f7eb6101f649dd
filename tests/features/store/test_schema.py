"""Names and types that every reader of a table relies on, as literals: none may change."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pytest

from features.store.schema import (
    IMAGE_COLUMNS,
    REJECTED_SCHEMA,
    TableFacts,
    feature_schema,
    feature_widths,
    image_columns,
)
from tests.tables import RECIPE

FACTS = TableFacts("/data/flowers", "imagenet", ("mixed8", "avg_pool"), RECIPE)

FEATURES = """\
image_id: string not null
uri: string not null
labels: list<element: string not null> not null
split: string not null
view: int32 not null
width: int32 not null
height: int32 not null
format: string not null
size: int64 not null
modified_at: timestamp[us, tz=UTC] not null
extracted_at: timestamp[us, tz=UTC] not null
run_id: string not null
mixed8: list<element: float not null> not null
avg_pool: list<element: float not null> not null"""

REJECTED = """\
uri: string not null
reason: string not null
detail: string not null
size: int64
modified_at: timestamp[us, tz=UTC]
run_id: string not null
rejected_at: timestamp[us, tz=UTC] not null"""


def columns(schema: pa.Schema) -> str:
    return "\n".join(str(field).removeprefix("pyarrow.Field<")[:-1] for field in schema)


def test_the_columns_of_both_tables_are_those_promised() -> None:
    assert columns(FACTS.schema) == FEATURES
    assert columns(REJECTED_SCHEMA) == REJECTED
    assert [line.partition(":")[0] for line in FEATURES.splitlines()] == [*IMAGE_COLUMNS, *FACTS.layers]


def test_where_there_are_groups_a_column_of_them_follows_the_split() -> None:
    grouped = dataclasses.replace(FACTS, groups=True)
    lines = FEATURES.splitlines()
    assert columns(grouped.schema) == "\n".join([*lines[:4], "group: string", *lines[4:]])
    assert image_columns(groups=False) == IMAGE_COLUMNS
    assert image_columns(groups=True) == [name for name in grouped.schema.names if name not in FACTS.layers]
    assert feature_widths(grouped.schema) == feature_widths(FACTS.schema)
    fingerprints = [field.metadata for field in FACTS.schema if field.metadata]
    assert [field.metadata for field in grouped.schema if field.metadata] == fingerprints


def test_a_feature_column_carries_its_fingerprint_and_width() -> None:
    schema = feature_schema(RECIPE, FACTS.layers)
    assert {field.name: field.metadata for field in schema if field.metadata} == {
        "mixed8": {b"fingerprint": b"81909fc13d6cdbec", b"width": b"1280"},
        "avg_pool": {b"fingerprint": b"968c67f6695b5d46", b"width": b"2048"},
    }
    assert feature_widths(schema) == {"mixed8": 1280, "avg_pool": 2048}
    assert feature_widths(REJECTED_SCHEMA) == {}


def test_facts_are_written_as_they_were_before_some_of_them_were_known() -> None:
    assert FACTS.to_json() == (
        '{"layers": ["mixed8", "avg_pool"], "recipe": {"backbone": "inception_v3", "exif_orientation": '
        'false, "input_size": 299, "precision": "float32", "resize": "bilinear", "weights": "random", '
        f'"weights_sha256": "{"0" * 64}"}}, "source": "/data/flowers", "weights": "imagenet"}}'
    )
    assert TableFacts.from_json(FACTS.to_json()) == FACTS
    read = TableFacts("/data", "random", ("mixed0",), RECIPE, (("site_a", "train"),), "deepest", True)
    facts = json.loads(read.to_json())
    assert (facts["splits"], facts["classes"], facts["groups"]) == ([["site_a", "train"]], "deepest", True)
    assert TableFacts.from_json(read.to_json()) == read


@pytest.mark.parametrize(
    ("weights", "untrained"), [("random", True), ("x-fine-tuned-1a2b-untrained", True), ("imagenet", False)]
)
def test_random_weights_and_such_as_were_made_from_them_are_untrained(weights: str, untrained: bool) -> None:
    recipe = dataclasses.replace(RECIPE, weights=weights)
    assert dataclasses.replace(FACTS, recipe=recipe).untrained is untrained
