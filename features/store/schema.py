"""Columns of the two tables, and the facts that a feature table is created with.

The names and types are a promise to every reader of the table, in pandas, DuckDB, Polars or Spark.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pyarrow as pa

from features.backbones.weights import is_untrained
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

#: Beside them, after `split`, where the input gives groups: null for an image without one.
GROUP_FIELD = pa.field("group", pa.string())

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


def image_columns(*, groups: bool) -> list[str]:
    """What is known of images besides their features, in a table with or without groups."""
    after = IMAGE_COLUMNS.index("split") + 1
    return [*IMAGE_COLUMNS[:after], *([GROUP_FIELD.name] if groups else []), *IMAGE_COLUMNS[after:]]


def feature_schema(recipe: FeatureRecipe, layers: tuple[str, ...], *, groups: bool = False) -> pa.Schema:
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
    of_images = {field.name: field for field in [*IMAGE_FIELDS, GROUP_FIELD]}
    return pa.schema([*(of_images[name] for name in image_columns(groups=groups)), *columns])


def feature_widths(schema: pa.Schema) -> dict[str, int]:
    """The feature columns of a schema, with the width of each."""
    facts = {field.name: field.metadata or {} for field in schema}
    return {name: int(of_field[b"width"]) for name, of_field in facts.items() if b"width" in of_field}


@dataclasses.dataclass(frozen=True)
class TableFacts:
    """What a feature table is created with, once, and every later run must agree to.

    Attributes:
        source: the data set, as `features.inputs.list_images` names it.
        weights: where the weights came from, to find them again: `imagenet`, `random` or a path, which counts
            from the store for a file in it (`features.locations.weights_to_keep`).
        layers: the feature columns.
        recipe: how their numbers are computed.
        splits, classes: how the folders of `source` are read, where it was said
            (`features.inputs.folder.list_folder`).
        groups: whether the input gives groups, and the rows keep them.
        given_splits: whether the input gave a split to any image when the table was made.
    """

    source: str
    weights: str
    layers: tuple[str, ...]
    recipe: FeatureRecipe
    splits: tuple[tuple[str, str], ...] = ()
    classes: str | None = None
    groups: bool = False
    given_splits: bool = False

    @property
    def schema(self) -> pa.Schema:
        return feature_schema(self.recipe, self.layers, groups=self.groups)

    @property
    def untrained(self) -> bool:
        """Whether the features come from random weights, or such as were made from them: each run says so."""
        return is_untrained(self.recipe.weights)

    def to_json(self) -> str:
        facts = dataclasses.asdict(self)
        # As tables were written before these were known.
        for name in ("splits", "classes", "groups", "given_splits"):
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
            groups=facts.get("groups", False),
            given_splits=facts.get("given_splits", False),
        )
