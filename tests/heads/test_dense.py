from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import DenseHead, SavedHead
from heads.dense import moments
from tests.heads.conftest import MakeSmallTable
from tests.tables import make_table


def test_it_is_near_the_logistic_head(dense: SavedHead, logistic: SavedHead) -> None:
    accuracy = dense.facts["metrics"]["test"]["accuracy"]
    assert accuracy >= logistic.facts["metrics"]["test"]["accuracy"] - 0.03


def test_moments_are_those_of_the_train_split(digits: FeatureTable) -> None:
    X, _ = digits.matrix("train")
    mean, variance = moments(digits, "avg_pool", 2048)
    np.testing.assert_allclose(mean, X.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, X.var(axis=0, dtype=np.float64), rtol=1e-5)


def test_the_saved_model_normalizes_by_itself(dense: SavedHead, digits: FeatureTable) -> None:
    import keras

    model = keras.saving.load_model(dense.directory / "head.keras")
    X, _ = digits.matrix("test")
    np.testing.assert_allclose(model.predict(X, verbose=0), dense.head.predict_proba(X), atol=1e-5)


def test_the_best_epoch_is_kept(dense: SavedHead, digits: FeatureTable) -> None:
    told: list[tuple[int, int, dict[str, float]]] = []
    head = DenseHead(epochs=12, patience=2).fit(digits, progress=lambda *step: told.append(step))
    assert head.training_ is not None
    assert head.training_.validation is not None
    losses = [figures["val_loss"] for _, _, figures in told]
    assert [step for step, _, _ in told] == list(range(1, len(losses) + 1))
    assert head.training_.facts["epochs_run"] == len(losses)
    assert head.training_.facts["epochs"] == 1 + int(np.argmin(losses))
    assert head.training_.validation["log_loss"] == pytest.approx(min(losses), rel=1e-3)


def test_the_same_seed_gives_the_same_head(three_classes: FeatureTable) -> None:
    X, _ = three_classes.matrix("test")
    first, second, other = (
        DenseHead(hidden=16, epochs=3, batch_size=8, seed=seed).fit(three_classes) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert (first.predict_proba(X) != other.predict_proba(X)).any()


def test_a_hidden_layer(three_classes: FeatureTable) -> None:
    head = DenseHead(hidden=16, epochs=20).fit(three_classes)
    assert [layer.units for layer in head.model_.layers if hasattr(layer, "units")] == [16, 3]
    X, labels = three_classes.matrix("test")
    assert head.predict(X).tolist() == labels.tolist()


def test_without_validation_it_trains_for_all_epochs(small_table: MakeSmallTable) -> None:
    labels: list = ["daisy", "rose", []] * 10
    head = DenseHead(epochs=3, patience=1).fit(small_table(labels, ["train"] * 30))
    assert head.training_ is not None
    assert head.training_.facts["epochs"] == head.training_.facts["epochs_run"] == 3
    assert (head.training_.selected, head.training_.validation) == ([], None)


def test_keras_stays_silent(
    three_classes: FeatureTable, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    DenseHead(epochs=2).fit(three_classes)
    assert capfd.readouterr().out == ""
    assert [str(warning.message) for warning in recwarn if "keras" in warning.filename] == []


def test_a_feature_that_never_varies_in_train_does_not_drown_the_others(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(8, 2048)).astype(np.float32)
    X[:, 5] = 3
    X[:, 6] = 3000 + 0.01 * X[:, 6]
    table = make_table(tmp_path, X, ["daisy", "rose"] * 4, ["train"] * 8)
    mean, variance = moments(table, "avg_pool", 2048)
    assert (mean[5], variance[5]) == (3, 1)
    assert round(mean[6]) == 3000 and variance[6] == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epochs": 0}, "epochs is 0, and a dense head expects 1 or more"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"dropout": 1.0}, "0 ≤ dropout < 1"),
        ({"hidden": -3}, "hidden ≥ 0"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
    ],
)
def test_parameters_out_of_range_are_refused(
    three_classes: FeatureTable, parameters: dict[str, float], message: str
) -> None:
    with pytest.raises(BottleneckError, match=message):
        DenseHead(**parameters).fit(three_classes)  # type: ignore[arg-type]
