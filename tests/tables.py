"""Feature tables for tests: real Delta tables around features that a test makes up."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from features import store as feature_store
from features.commit import Chunk, Rejected, commit_chunk
from features.locations import features_path
from features.parts import Part, write_part
from features.recipe import FeatureRecipe
from features.schema import TableFacts
from features.splits import assign_split
from features.table import FeatureTable

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
RECIPE = FeatureRecipe(weights="random", weights_sha256="0" * 64)


def make_rows(
    facts: TableFacts,
    X: np.ndarray,
    labels: Sequence[str | Sequence[str]],
    splits: Sequence[str] | None = None,
    *,
    prefix: str = "image",
    run_id: str = "run-1",
) -> pa.RecordBatch:
    """Rows of one feature column; image n is `/images/<prefix>-<n>.png`."""
    uris = [f"/images/{prefix}-{number}.png" for number in range(len(X))]
    image_ids = [hashlib.sha256(uri.encode()).hexdigest() for uri in uris]
    (layer,) = facts.layers
    rows = {
        "image_id": image_ids,
        "uri": uris,
        "labels": [[label] if isinstance(label, str) else list(label) for label in labels],
        "split": list(splits) if splits is not None else [assign_split(one, None) for one in image_ids],
        "view": [0] * len(X),
        "width": [8] * len(X),
        "height": [8] * len(X),
        "format": ["png"] * len(X),
        "size": [100] * len(X),
        "modified_at": [NOON] * len(X),
        "extracted_at": [NOON] * len(X),
        "run_id": [run_id] * len(X),
        layer: list(np.asarray(X, np.float32)),
    }
    return pa.RecordBatch.from_pydict(rows, schema=facts.schema)


def make_table(
    store: Path,
    X: np.ndarray,
    labels: Sequence[str | Sequence[str]],
    splits: Sequence[str] | None = None,
    *,
    name: str = "inception_v3",
    recipe: FeatureRecipe = RECIPE,
    rejected: Sequence[Rejected] = (),
) -> FeatureTable:
    """A feature table of one `avg_pool` column.

    Args:
        X: features of shape (n, 2048).
        labels: of each image: one name, or several, or none.
        splits: of each image; by hash where not given.
    """
    facts = TableFacts(source="digits", weights=recipe.weights, layers=("avg_pool",), recipe=recipe)
    table = feature_store.create(store, name, facts)
    parts: list[Part] = []
    if len(X):
        rows = make_rows(facts, X, labels, splits)
        parts = [write_part(features_path(table.store, name), [rows], facts.schema)]
    commit_chunk(store, name, Chunk("run-1", 1, table.version), parts, rejected, {})
    return feature_store.open(store, name)
