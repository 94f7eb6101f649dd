from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from features.errors import BottleneckError
from features.store import dataset
from features.store.table import FeatureTable
from heads import DenseHead, SavedHead
from heads.base import deal
from heads.dense import moments
from tests.heads.conftest import facts, fit
from tests.tables import make_table


def test_it_is_near_the_logistic_head(dense: SavedHead, logistic: SavedHead) -> None:
    accuracy = dense.facts["metrics"]["test"]["accuracy"]
    assert accuracy >= logistic.facts["metrics"]["test"]["accuracy"] - 0.02


def test_moments_are_those_of_the_train_split(digits: FeatureTable) -> None:
    X, _ = digits.matrix("train")
    mean, variance = moments(digits.batches("train"))
    np.testing.assert_allclose(mean, X.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, X.var(axis=0, dtype=np.float64), rtol=1e-5)


def test_the_saved_model_normalizes_by_itself(dense: SavedHead, digits: FeatureTable) -> None:
    import keras

    model = keras.saving.load_model(dense.directory / "head.keras")
    X, _ = digits.matrix("test")
    np.testing.assert_allclose(model.predict(X, verbose=0), dense.head.predict_proba(X), atol=1e-5)


def streams(table: FeatureTable) -> tuple[Any, Any]:
    """The train and validation splits of a table, as `fit_stream` takes them."""
    stream = functools.partial(dataset, table, labels=sorted(set(table.matrix(labelled=True)[1])))
    return functools.partial(stream, "train"), functools.partial(stream, "validation")


def test_the_best_epoch_is_kept(digits: FeatureTable) -> None:
    steps: list[tuple[int, int, dict[str, float]]] = []
    labels = [str(number) for number in range(10)]
    head = DenseHead(epochs=12, patience=2, learning_rate=3e-3)
    head.fit_stream(*streams(digits), labels, lambda *step: steps.append(step))
    losses = [figures["val_loss"] for _, _, figures in steps]
    assert [step for step, _, _ in steps] == list(range(1, len(losses) + 1))
    assert facts(head)["epochs_run"] == len(losses) == facts(head)["epochs"] + 2 < 12
    assert facts(head)["epochs"] == 1 + int(np.argmin(losses))
    X, y = digits.matrix("validation")
    assert log_loss(y, head.predict_proba(X), labels=labels) == pytest.approx(min(losses), rel=1e-3)


def test_a_stream_and_arrays_give_the_same_head_but_for_the_order(three_classes: FeatureTable) -> None:
    """With all rows in one batch there is no order."""
    head = DenseHead(epochs=3, batch_size=64)
    X, _ = three_classes.matrix("test")
    of_arrays = fit(head, three_classes).predict_proba(X)
    classes = np.array(["daisy", "rose", "tulip"])
    of_stream = head.fit_stream(*streams(three_classes), classes).predict_proba(X)
    np.testing.assert_allclose(of_arrays, of_stream, atol=1e-5)


@pytest.fixture(scope="module")
def noisy() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(40, 8)).astype(np.float32), np.arange(40) % 2


@pytest.fixture(scope="module")
def usual(noisy: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return DenseHead(epochs=4, batch_size=8).fit(*noisy).predict_proba(noisy[0])


def test_the_same_seed_gives_the_same_head(noisy: tuple[np.ndarray, np.ndarray], usual: np.ndarray) -> None:
    again = DenseHead(epochs=4, batch_size=8).fit(*noisy).predict_proba(noisy[0])
    np.testing.assert_array_equal(again, usual)


def test_the_seed_is_that_of_the_order_of_rows(noisy: tuple[np.ndarray, np.ndarray]) -> None:
    head = DenseHead(epochs=1, batch_size=8, dropout=0)
    first, other = (head.set_params(seed=n).fit(*noisy, noisy).predict_proba(noisy[0]) for n in (0, 1))
    assert np.abs(first - other).max() > 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": 16},
        {"dropout": 0.0},
        {"learning_rate": 2e-3},
        {"weight_decay": 0.0},
        {"batch_size": 16},
        {"epochs": 1},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_parameter_has_an_effect(
    noisy: tuple[np.ndarray, np.ndarray], usual: np.ndarray, change: dict[str, Any]
) -> None:
    other = DenseHead(**{"epochs": 4, "batch_size": 8} | change).fit(*noisy)
    assert np.abs(other.predict_proba(noisy[0]) - usual).max() > 1e-6


def test_patience_is_how_long_it_waits(noisy: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = noisy
    for patience in (1, 4):
        head = DenseHead(epochs=60, patience=patience, learning_rate=0.05).fit(X, y, (X, 1 - y))
        assert facts(head)["epochs_run"] == facts(head)["epochs"] + patience < 60


def test_rows_without_validation_are_cut(noisy: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = noisy
    head = DenseHead(epochs=3).fit(X, y)
    assert facts(head)["chosen_by"] == "a part of train"
    held_out = deal(y, 10, seed=0) == 0
    mean = head.model_.layers[0].mean
    np.testing.assert_allclose(np.ravel(mean), X[~held_out].mean(axis=0), atol=1e-6)


def test_a_class_of_one_row_is_not_cut_off() -> None:
    X = np.eye(3, dtype=np.float32)
    head = DenseHead(epochs=2).fit(X, ["a", "b", "c"])
    assert head.training_ is not None
    assert (facts(head)["epochs_run"], head.training_.selected) == (2, [])


def test_more_features_than_rows_are_no_noise() -> None:
    """Features that never varied in train have no say: they would, with random weights to begin with."""
    random = np.random.default_rng(0)
    X = np.zeros((40, 100), np.float32)
    y = np.arange(40) % 2
    X[:, 0] = y + random.normal(scale=0.1, size=40)
    head = DenseHead(epochs=5).fit(X, y)
    other = X + np.r_[0, random.normal(size=99)].astype(np.float32)
    np.testing.assert_allclose(head.predict_proba(other), head.predict_proba(X), atol=1e-6)


def test_a_hidden_layer(three_classes: FeatureTable) -> None:
    head = fit(DenseHead(hidden=16, epochs=20), three_classes)
    assert [layer.units for layer in head.model_.layers if hasattr(layer, "units")] == [16, 3]
    X, labels = three_classes.matrix("test")
    assert head.predict(X).tolist() == labels.tolist()


def test_keras_stays_silent(
    three_classes: FeatureTable, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    fit(DenseHead(epochs=2), three_classes)
    assert capfd.readouterr().out == ""
    assert [str(warning.message) for warning in recwarn if "keras" in warning.filename] == []


def test_a_feature_that_never_varies_in_train_does_not_drown_the_others(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(8, 2048)).astype(np.float32)
    X[:, 5] = 3
    X[:, 6] = 3000 + 0.01 * X[:, 6]
    table = make_table(tmp_path, X, ["daisy", "rose"] * 4, ["train"] * 8)
    mean, variance = moments(table.batches("train", batch_size=3))
    assert (mean[5], variance[5]) == (3, 1)
    assert round(mean[6]) == 3000 and variance[6] == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epochs": 0}, "epochs is 0, and a dense head expects 1 or more"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"dropout": 1.0}, "expects dropout < 1"),
        ({"hidden": -3}, "hidden is -3, and a dense head expects 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
    ],
)
def test_parameters_out_of_range_are_refused(
    three_classes: FeatureTable, parameters: dict[str, float], message: str
) -> None:
    with pytest.raises(BottleneckError, match=message):
        fit(DenseHead(**parameters), three_classes)  # type: ignore[arg-type]
