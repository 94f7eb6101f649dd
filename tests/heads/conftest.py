"""Feature tables and trained heads that several tests look at: small ones, so that training takes no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from features import store as feature_store
from features.recipe import FeatureRecipe
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads import DenseHead, LogisticHead, SavedHead, train_head
from tests.tables import add, make_rows

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
) -> FeatureTable:
    """A table of some of `LAYERS`: X of shape (n, width) for each; splits are by hash where not given."""
    first, *others = features
    facts = TableFacts(source="digits", weights="random", layers=(first,), recipe=RECIPE)
    rows = make_rows(facts, features[first], labels, splits)
    facts = TableFacts(source="digits", weights="random", layers=tuple(features), recipe=RECIPE)
    columns = [
        pa.array(list(np.float32(features[layer])), facts.schema.field(layer).type) for layer in others
    ]
    rows = pa.RecordBatch.from_arrays([*rows.columns, *columns], schema=facts.schema)
    table = feature_store.create(store, "inception_v3", facts)
    add(table, write_part(table.folder, [rows], facts.schema) if len(rows) else None)
    return feature_store.open(store)


def fit(head: AnyHead, table: FeatureTable) -> AnyHead:
    """`head`, fitted on the train and validation splits of `table`."""
    X, y = table.matrix("train", labelled=True)
    X_validation, y_validation = table.matrix("validation", labelled=True)
    return head.fit(X, y.astype(str), (X_validation, y_validation.astype(str)) if len(X_validation) else None)


def facts(head: DenseHead | LogisticHead) -> dict[str, Any]:
    """What `head.json` would say of its training."""
    assert head.training_ is not None
    return head.training_.facts


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """500 handwritten digits: the deeper layer has all 64 pixels, the other one the upper 48."""
    pixels, labels = load_digits(return_X_y=True)
    pixels, labels = pixels[:500], [str(label) for label in labels[:500]]
    features = {LAYERS[0]: pixels[:, :48], LAYERS[1]: pixels}
    return narrow_table(tmp_path_factory.mktemp("digits"), features, labels)


@pytest.fixture(scope="session")
def logistic(digits: FeatureTable) -> SavedHead:
    return train_head(digits.store)


@pytest.fixture(scope="session")
def dense(digits: FeatureTable) -> SavedHead:
    return train_head(digits.store, kind="dense", learning_rate=0.01)


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
