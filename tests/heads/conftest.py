"""Feature tables and trained heads that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from sklearn.datasets import load_digits

from features.store.table import FeatureTable
from heads import DenseHead, LogisticHead, SavedHead, train_head
from tests.tables import make_table

#: Makes a table of few rows around class centers; the arguments are labels and splits.
MakeSmallTable = Callable[..., FeatureTable]

AnyHead = TypeVar("AnyHead", DenseHead, LogisticHead)


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
    """Real handwritten digits, 64 pixels each, spread over 2,048 numbers by a random matrix."""
    pixels, labels = load_digits(return_X_y=True)
    spread = np.random.default_rng(0).normal(size=(64, 2048))
    store = tmp_path_factory.mktemp("digits")
    return make_table(store, (pixels @ spread).astype(np.float32), [str(label) for label in labels])


@pytest.fixture(scope="session")
def logistic(digits: FeatureTable) -> SavedHead:
    return train_head(digits.store, kind="logistic")


@pytest.fixture(scope="session")
def dense(digits: FeatureTable) -> SavedHead:
    return train_head(digits.store, kind="dense")


@pytest.fixture
def small_table(tmp_path: Path) -> MakeSmallTable:
    def make(labels: list, splits: list[str], **options: object) -> FeatureTable:
        random = np.random.default_rng(0)
        names = sorted({str(label) for label in labels})
        centers = random.normal(size=(len(names), 2048))
        rows = [centers[names.index(str(label))] + random.normal(scale=0.5, size=2048) for label in labels]
        X = np.array(rows, np.float32).reshape(len(labels), 2048)
        return make_table(tmp_path / "store", X, labels, splits, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def three_classes(small_table: MakeSmallTable) -> FeatureTable:
    """60 easy images: 36 to train on, 12 for validation, 12 to test on."""
    splits = ["train"] * 3 + ["validation", "test"]
    return small_table(["daisy", "rose", "tulip"] * 20, [splits[number // 3 % 5] for number in range(60)])
