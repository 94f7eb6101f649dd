from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import DenseHead, Head, LogisticHead, SavedHead
from tests.heads.conftest import MakeSmallTable


@pytest.fixture(params=["logistic", "dense"])
def saved(request: pytest.FixtureRequest) -> SavedHead:
    return request.getfixturevalue(request.param)


def test_probabilities_and_labels(saved: SavedHead, digits: FeatureTable) -> None:
    X, labels = digits.matrix("test")
    probabilities = saved.head.predict_proba(X)
    assert probabilities.shape == (len(X), 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    predicted = saved.head.predict(X)
    assert predicted.tolist() == saved.head.classes_[probabilities.argmax(axis=1)].tolist()
    assert (predicted == labels).mean() > 0.9


def test_features_are_not_changed_by_prediction(saved: SavedHead, digits: FeatureTable) -> None:
    X, _ = digits.matrix("test")
    before = X.copy()
    saved.head.predict_proba(X)
    np.testing.assert_array_equal(X, before)


def test_no_rows_give_no_predictions(saved: SavedHead) -> None:
    assert saved.head.predict_proba(np.empty((0, 2048), np.float32)).shape == (0, 10)
    assert saved.head.predict(np.empty((0, 2048), np.float32)).shape == (0,)


@pytest.mark.parametrize("shape", [(5, 768), (2048,)])
def test_features_of_another_width_are_refused(saved: SavedHead, shape: tuple[int, ...]) -> None:
    with pytest.raises(BottleneckError, match=re.escape(f"expects features of shape (n, 2048), not {shape}")):
        saved.head.predict_proba(np.zeros(shape, np.float32))


@pytest.mark.parametrize("head", [LogisticHead(), DenseHead()])
def test_a_head_without_training_says_so(head: Head) -> None:
    with pytest.raises(BottleneckError, match="not trained"):
        head.predict_proba(np.zeros((1, 2048), np.float32))


@pytest.mark.parametrize("head", [LogisticHead(C=0.01), DenseHead(hidden=8, epochs=2)])
def test_a_head_is_the_same_after_saving_and_loading(
    head: Head, three_classes: FeatureTable, tmp_path: Path
) -> None:
    head.fit(three_classes)
    head.save(tmp_path, {"id": "one"})
    loaded = type(head).load(tmp_path)
    X, _ = three_classes.matrix("test")
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))
    assert loaded.predict(X).tolist() == head.predict(X).tolist()
    assert loaded.parameters() == head.parameters()
    assert loaded.classes_.tolist() == ["daisy", "rose", "tulip"]
    assert sorted(path.name for path in tmp_path.glob("head.*")) == ["head.json", head.model_file]


def test_head_json_keeps_rows_of_numbers_on_one_line(three_classes: FeatureTable, tmp_path: Path) -> None:
    head = LogisticHead(C=0.01).fit(three_classes)
    facts = {"matrix": [[1, 2], [3, 4]], "odd": ["[1,", "2]"], "interval": [0.5, 1e-07]}
    head.save(tmp_path, facts)
    text = (tmp_path / "head.json").read_text()
    assert "[ 1, 2 ]" in text
    assert "[ 0.5, 1e-07 ]" in text
    assert json.loads(text).items() >= facts.items()


def test_evaluation_is_of_the_split_that_is_named(logistic: SavedHead, digits: FeatureTable) -> None:
    X, labels = digits.matrix("validation")
    metrics = logistic.head.evaluate(digits, "validation")
    assert metrics["count"] == len(X)
    assert metrics["accuracy"] == pytest.approx((logistic.head.predict(X) == labels).mean())


def test_evaluation_refuses_labels_that_were_not_taught(
    logistic: SavedHead, three_classes: FeatureTable
) -> None:
    with pytest.raises(BottleneckError, match="was not taught the labels 'daisy', 'rose', 'tulip'"):
        logistic.head.evaluate(three_classes)


def test_evaluation_refuses_an_empty_split(logistic: SavedHead, small_table: MakeSmallTable) -> None:
    table = small_table(["0", "1"], ["train", "train"])
    with pytest.raises(BottleneckError, match="the test split of table 'inception_v3' has no rows"):
        logistic.head.evaluate(table)
