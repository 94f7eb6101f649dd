from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import heads.fitting
from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import DenseHead, LogisticHead
from heads.examples import find_examples
from heads.fitting import Data, Watch, check_memory, column_facts, fit_and_test
from heads.folds import find_shared_out
from tests.heads.conftest import LAYERS, RECIPE, approximate


def nobody(*step: Any) -> None:
    """Watches nothing."""


def data_of(table: FeatureTable, folds: int = 0) -> Data:
    shared_out = find_shared_out(table, 1, folds)
    examples = shared_out.examples if shared_out else find_examples(table)
    return Data(table, table.columns(), examples, shared_out)


def test_what_just_fits_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = LogisticHead.bytes_needed(1000, 2048, 10)
    for available in (needed, None):
        monkeypatch.setattr(heads.fitting, "available_memory", lambda available=available: available)
        check_memory(LogisticHead(), 1, 1000, 2048, 10)
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: needed - 1)
    with pytest.raises(BottleneckError, match="on 1,000 rows needs about 0.4 GB"):
        check_memory(LogisticHead(), 1, 1000, 2048, 10)


def test_what_a_head_keeps_of_its_columns(three_classes: FeatureTable) -> None:
    (column,) = three_classes.columns()
    assert column_facts([column]) == [
        {"layer": LAYERS[1], "fingerprint": column.fingerprint, "recipe": RECIPE.to_dict()}
    ]


def test_steps_of_the_head_and_folds_are_told_apart(three_classes: FeatureTable) -> None:
    steps: list[Any] = []
    folds: list[Any] = []
    watch = Watch(lambda *step: steps.append(step), lambda *fold: folds.append(fold))
    head = LogisticHead(C=0.1)
    fit_and_test(head, data_of(three_classes), watch)
    assert [step[:2] for step in steps] == [(1, 1)] and not folds
    fit_and_test(head, data_of(three_classes, folds=3), watch)
    assert [step[:2] for step in steps] == [(1, 1)] * 2
    assert [fold[:2] for fold in folds] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("folds", [0, 2])
def test_callbacks_are_for_the_head_that_is_kept(three_classes: FeatureTable, folds: int) -> None:
    from keras.callbacks import LambdaCallback

    trained: list[int] = []
    callback = LambdaCallback(on_epoch_end=lambda epoch, logs: trained.append(epoch))
    fit_and_test(DenseHead(epochs=2), data_of(three_classes, folds), Watch(nobody, nobody, [callback]))
    assert trained == [0, 1]


def test_folds_need_twice_the_memory(three_classes: FeatureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 2 * LogisticHead.bytes_needed(60, 64, 3)
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: needed - 1)
    watch = Watch(nobody, nobody)
    fit_and_test(LogisticHead(C=0.1), data_of(three_classes), watch)
    with pytest.raises(BottleneckError, match="a logistic head on 60 rows needs about .*: keep to `folds=0`"):
        fit_and_test(LogisticHead(C=0.1), data_of(three_classes, folds=2), watch)
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: needed)
    fit_and_test(LogisticHead(C=0.1), data_of(three_classes, folds=2), watch)


def test_folds_measure_what_a_head_of_the_other_folds_says(three_classes: FeatureTable) -> None:
    """As somebody would do it by hand, with the same folds."""
    from heads.folds import share_out, units_of
    from heads.metrics import evaluate

    data = data_of(three_classes, folds=4)
    facts = fit_and_test(LogisticHead(C=0.1, seed=3), data, Watch(nobody, nobody))
    assert data.shared_out is not None
    X, labels = three_classes.matrix()
    splits = three_classes.metadata(["split"]).column("split").to_numpy()
    X, names = X[splits != "test"], labels[splits != "test"].astype(str)
    classes, y = np.unique(names, return_inverse=True)
    fold = share_out(y, units_of(data.shared_out.rows), 4, seed=3)
    probabilities = np.empty((48, 3))
    for number in range(4):
        train, test = fold != number, fold == number
        scale = X[train].mean(axis=0), X[train].std(axis=0)
        model = LogisticRegression(C=0.1, max_iter=1000).fit((X[train] - scale[0]) / scale[1], y[train])
        probabilities[test] = model.predict_proba((X[test] - scale[0]) / scale[1])
    expected = evaluate(y, probabilities, classes.tolist(), majority_class="daisy")
    assert facts["metrics"]["folds"] == approximate(expected, rel=2e-3, abs=1e-3)
