"""Feature tables for tests: real Delta tables around features that a test makes up."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import store as feature_store
from features.decodings import DECODING
from features.locations import features_path, rejected_path
from features.recipe import FeatureRecipe
from features.schemas import to_schema
from features.splits import assign_split
from features.store.commit import Basis, Change, commit
from features.store.conflicts import rows_of_parts
from features.store.log import read_parts
from features.store.parts import Part, write_part
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.store.table import FeatureTable
from features.store.vectors import list_array, matrix

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
RECIPE = FeatureRecipe(weights="random", weights_sha256="0" * 64)


class Rejected(NamedTuple):
    """A rejected image; `modified_at` in microseconds since the epoch."""

    uri: str
    reason: str
    detail: str
    size: int | None
    modified_at: int | None


#: Of one layer, or from each layer to its own: of shape (n, width).
Features = np.ndarray | Mapping[str, np.ndarray]


def _by_layer(X: Features, *layers: str) -> Mapping[str, np.ndarray]:
    if isinstance(X, Mapping):
        return X
    (layer,) = layers
    return {layer: X}


def _column(X: np.ndarray, field: pa.Field) -> pa.Array:
    return list_array(np.asarray(X, np.float32)).cast(field.type)


def make_rows(
    facts: TableFacts,
    X: Features,
    labels: Sequence[str | Sequence[str]],
    splits: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    *,
    prefix: str = "image",
    run_id: str = "run-1",
) -> pa.RecordBatch:
    """Rows of features; image n is `/images/<prefix>-<n>.png`."""
    layers = _by_layer(X, *facts.layers)
    count = len(layers[facts.layers[0]])
    uris = [f"/images/{prefix}-{number}.png" for number in range(count)]
    image_ids = [hashlib.sha256(uri.encode()).hexdigest() for uri in uris]
    groups = groups if groups is not None else [None] * count
    cut = [assign_split(one, None, group) for one, group in zip(image_ids, groups, strict=True)]
    rows = {
        "image_id": image_ids,
        "uri": uris,
        "labels": [[label] if isinstance(label, str) else list(label) for label in labels],
        "split": list(splits) if splits is not None else cut,
        **({"group": list(groups)} if facts.groups else {}),
        "view": [0] * count,
        "width": [8] * count,
        "height": [8] * count,
        "format": ["png"] * count,
        "size": [100] * count,
        "modified_at": [NOON] * count,
        "extracted_at": [NOON] * count,
        "run_id": [run_id] * count,
        **{layer: _column(layers[layer], facts.schema.field(layer)) for layer in facts.layers},
    }
    return pa.RecordBatch.from_pydict(rows, schema=facts.schema)


def as_views(
    rows: pa.RecordBatch, views: Sequence[int], shown: Sequence[int] | None = None
) -> pa.RecordBatch:
    """The same rows, of which some are augmented views of others: with the name and bytes of that image.

    Args:
        views: the number of the view that each row is; 0 for the image itself.
        shown: number of the row of the image that each row shows; by default the last image before it.
    """
    if shown is None:
        shown = np.maximum.accumulate([0 if view else number for number, view in enumerate(views)]).tolist()
    changed = {name: rows.column(name).take(pa.array(shown, pa.int64())) for name in ("image_id", "uri")}
    changed["view"] = pa.array(views, pa.int32())
    columns = [changed.get(name, rows.column(name)) for name in rows.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def make_table(
    store: Path,
    X: Features,
    labels: Sequence[str | Sequence[str]],
    splits: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    *,
    views: Sequence[int] = (),
    name: str = "inception_v3",
    recipe: FeatureRecipe = RECIPE,
    rejected: Sequence[Rejected] = (),
) -> FeatureTable:
    """A feature table.

    Args:
        X: features of shape (n, 2048) for one `avg_pool` column, or those of each layer.
        labels: of each image: one name, or several, or none.
        splits: of each image; by hash where not given.
        groups: of each image; without them the table has no such column.
        views: of each row, see `as_views`; all are the images themselves where not given.
    """
    layers = _by_layer(X, "avg_pool")
    facts = TableFacts("digits", recipe.weights, tuple(layers), recipe, groups=groups is not None)
    table = feature_store.create(store, name, facts)
    part = None
    if len(labels):
        rows = make_rows(facts, X, labels, splits, groups)
        rows = as_views(rows, views) if views else rows
        part = write_part(features_path(table.store, name), [rows], facts.schema, run_id="run-1")
    add(table, part, rejected, run_id="run-1", facts={"decoding": DECODING})
    return feature_store.open(store, name)


def add(
    table: FeatureTable,
    part: Part | None = None,
    rejected: Sequence[Rejected] = (),
    *,
    replacing: Sequence[str] = (),
    run_id: str = "run-2",
    slice: int = 0,
    facts: Mapping[str, Any] | None = None,
) -> int:
    """Commit rows to `table`, planned on it as it is given; the version that holds them.

    Args:
        replacing: uris whose rows leave, in either table.
    """
    outdated = rows_of_parts(
        map(Path, table.paths), map(Path, table.rejected_paths), pa.array(replacing, pa.string())
    )
    change = Change(f"{run_id}/{slice}", run_id, Basis.of(table), outdated)
    bad = None
    if rejected:
        rows, folder = rejections(rejected, run_id), rejected_path(table.store, table.name)
        bad = write_part(folder, rows.to_batches(), REJECTED_SCHEMA, run_id=run_id)
    return commit(table.store, table.name, change, facts or {}, part=part, rejected=bad)


def add_views(table: FeatureTable) -> FeatureTable:
    """The same table with a view of each training image, which has the opposite features."""
    rows = read_parts(table.paths, table.facts.schema)
    views = to_schema(rows.filter(pc.equal(rows.column("split"), "train")), table.facts.schema, view=1)
    opposite = {
        column.layer: _column(-matrix(views.column(column.layer), column.width), views.field(column.layer))
        for column in table.columns(table.layers)
    }
    views = to_schema(views, table.facts.schema, **opposite)
    part = write_part(table.folder, [*rows.to_batches(), *views.to_batches()], table.facts.schema)
    add(table, part, replacing=rows.column("uri").to_pylist(), run_id="views")
    return feature_store.open(table.store, table.name)


def rejections(images: Sequence[Rejected], run_id: str = "run-2") -> pa.Table:
    """Rows of the rejected table."""
    rows = [{**image._asdict(), "run_id": run_id, "rejected_at": NOON} for image in images]
    return pa.Table.from_pylist(rows, REJECTED_SCHEMA)
