"""Feature tables and trained heads that several tests look at: small ones, so that training takes no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.recipe import FeatureRecipe
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads import DenseHead, LogisticHead
from tests.tables import add, as_views, make_rows

#: Makes a table of few rows around class centers; the arguments are labels and splits.
MakeSmallTable = Callable[[Sequence[str | Sequence[str]], Sequence[str]], FeatureTable]

AnyHead = TypeVar("AnyHead", DenseHead, LogisticHead)

#: The narrowest layers of any backbone, the deeper one last: 48 and 64 numbers.
LAYERS = ("block2d_add", "block3d_add")
WIDTH = 64
RECIPE = FeatureRecipe(backbone="efficientnet_v2_s", weights="random", weights_sha256="0" * 64)


def narrow_table(
    store: Path,
    features: Mapping[str, np.ndarray],
    labels: Sequence[str | Sequence[str]],
    splits: Sequence[str] | None = None,
    views: Sequence[int] | None = None,
    shown: Sequence[int] | None = None,
) -> FeatureTable:
    """A table of some of `LAYERS`: X of shape (n, width) for each.

    Args:
        splits: of each image; by hash where not given.
        views, shown: of each row, see `as_views`; all are the images themselves where not given.
    """
    first, *others = features
    facts = TableFacts(source="digits", weights="random", layers=(first,), recipe=RECIPE)
    rows = make_rows(facts, features[first], labels, splits)
    facts = TableFacts(source="digits", weights="random", layers=tuple(features), recipe=RECIPE)
    columns = [
        pa.array(list(features[layer].astype(np.float32)), facts.schema.field(layer).type) for layer in others
    ]
    rows = as_views(rows, views, shown) if views else rows
    rows = pa.RecordBatch.from_arrays([*rows.columns, *columns], schema=facts.schema)
    table = feature_store.create(store, "inception_v3", facts)
    add(table, write_part(table.folder, [rows], facts.schema) if len(rows) else None, run_id="run-1")
    return feature_store.open(store)


def facts(head: DenseHead | LogisticHead) -> dict[str, Any]:
    """What `head.json` would say of its training."""
    assert head.training_ is not None
    return head.training_.facts


def approximate(value: Any, rel: float = 1e-5, abs: float = 1e-7) -> Any:
    """What is equal to facts whose broken numbers are near enough."""
    if isinstance(value, dict):
        return {name: approximate(inner, rel, abs) for name, inner in value.items()}
    if isinstance(value, list):
        return [approximate(inner, rel, abs) for inner in value]
    return pytest.approx(value, rel=rel, abs=abs) if isinstance(value, float) else value


@pytest.fixture
def small_table(tmp_path: Path) -> MakeSmallTable:
    def make(labels: Sequence[str | Sequence[str]], splits: Sequence[str]) -> FeatureTable:
        random = np.random.default_rng(0)
        names = sorted({str(label) for label in labels})
        centers = random.normal(size=(len(names), WIDTH))
        rows = [centers[names.index(str(label))] + random.normal(scale=0.5, size=WIDTH) for label in labels]
        return narrow_table(tmp_path / "store", {LAYERS[1]: np.reshape(rows, (-1, WIDTH))}, labels, splits)

    return make


@pytest.fixture
def three_classes(small_table: MakeSmallTable) -> FeatureTable:
    """60 easy images: 36 to train on, 12 for validation, 12 to test on."""
    splits = ["train"] * 3 + ["validation", "test"]
    return small_table(["daisy", "rose", "tulip"] * 20, [splits[number // 3 % 5] for number in range(60)])
