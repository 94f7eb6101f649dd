"""Columns of the two tables, and the facts that a feature table is created with.

The names and types are a promise to every reader of the table, in pandas, DuckDB, Polars or Spark.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pyarrow as pa

from features.recipe import Column, FeatureRecipe

_TIME = pa.timestamp("us", tz="UTC")

#: What is known of an image besides its features; the types of the values that Python sees are
#: str, list[str], int and aware datetime.
IMAGE_FIELDS = [
    pa.field("image_id", pa.string(), nullable=False),
    pa.field("uri", pa.string(), nullable=False),
    pa.field("labels", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("view", pa.int32(), nullable=False),
    pa.field("width", pa.int32(), nullable=False),
    pa.field("height", pa.int32(), nullable=False),
    pa.field("format", pa.string(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),
    pa.field("modified_at", _TIME, nullable=False),
    pa.field("extracted_at", _TIME, nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
]
IMAGE_COLUMNS = [field.name for field in IMAGE_FIELDS]

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("modified_at", _TIME),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("rejected_at", _TIME, nullable=False),
    ]
)


def feature_schema(recipe: FeatureRecipe, layers: tuple[str, ...]) -> pa.Schema:
    """The feature table's schema; each layer's field carries the layer's fingerprint and width.

    Delta has no fixed-size lists, so a layer is `list<float>` and its width is checked on the way
    in (`features.store.parts`) and out (`features.store.streams`).
    """
    element = pa.field("element", pa.float32(), nullable=False)
    columns = [
        pa.field(
            column.layer,
            pa.list_(element),
            nullable=False,
            metadata={"fingerprint": column.fingerprint, "width": str(column.width)},
        )
        for column in (Column(recipe, layer) for layer in layers)
    ]
    return pa.schema([*IMAGE_FIELDS, *columns])


def feature_widths(schema: pa.Schema) -> dict[str, int]:
    """The feature columns of a schema, with the width of each."""
    facts = {field.name: field.metadata or {} for field in schema}
    return {name: int(of_field[b"width"]) for name, of_field in facts.items() if b"width" in of_field}


@dataclasses.dataclass(frozen=True)
class TableFacts:
    """What a feature table is created with, once, and every later run must agree to.

    Attributes:
        source: the data set, as `features.inputs.list_images` names it.
        weights: where the weights came from (`imagenet`, `random` or a path), to find them again.
        layers: the feature columns.
        recipe: how their numbers are computed.
        splits, classes: how the folders of `source` are read, where it was said
            (`features.inputs.folder.list_folder`).
    """

    source: str
    weights: str
    layers: tuple[str, ...]
    recipe: FeatureRecipe
    splits: tuple[tuple[str, str], ...] = ()
    classes: str | None = None

    @property
    def schema(self) -> pa.Schema:
        return feature_schema(self.recipe, self.layers)

    @property
    def untrained(self) -> bool:
        """Whether the features come from random weights, which every run and head must say."""
        return self.weights == "random"

    def to_json(self) -> str:
        facts = dataclasses.asdict(self)
        for name in ("splits", "classes"):  # as tables were written before these were known
            if not facts[name]:
                del facts[name]
        return json.dumps(facts, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TableFacts:
        facts: dict[str, Any] = json.loads(text)
        return cls(
            source=facts["source"],
            weights=facts["weights"],
            layers=tuple(facts["layers"]),
            recipe=FeatureRecipe.from_dict(facts["recipe"]),
            splits=tuple((folder, split) for folder, split in facts.get("splits", ())),
            classes=facts.get("classes"),
        )
