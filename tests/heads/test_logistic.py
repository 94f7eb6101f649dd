from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import heads.logistic
from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import LogisticHead, SavedHead
from tests.heads.conftest import MakeSmallTable, facts, fit


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several wait for each other where other tests run beside these."""
    with threadpool_limits(1, user_api="blas"):
        yield


def test_it_is_what_scikit_learn_gives_directly(logistic: SavedHead, digits: FeatureTable) -> None:
    """The model: scaled by train, C chosen on validation, fitted on both."""
    X, y = digits.matrix(["train", "validation"])
    X_test, y_test = digits.matrix("test")
    train = len(digits.matrix("train")[0])
    scaler = StandardScaler().fit(X[:train])
    X, X_test, y, y_test = scaler.transform(X), scaler.transform(X_test), y.astype(int), y_test.astype(int)
    tried = {one["C"]: one["log_loss"] for one in logistic.facts["training"]["log_loss"]}
    C = logistic.facts["training"]["C"]

    losses = {}
    for neighbour in (C / 10**0.5, C, C * 10**0.5):
        model = LogisticRegression(C=neighbour, max_iter=1000).fit(X[:train], y[:train])
        losses[neighbour] = log_loss(y[train:], model.predict_proba(X[train:]))
    assert tried[C] == pytest.approx(losses[C], rel=0.02)
    assert losses[C] < 1.02 * min(losses.values())

    direct = LogisticRegression(C=C, max_iter=1000).fit(X, y)
    assert isinstance(logistic.head, LogisticHead)
    ours = logistic.head.pipeline_[-1]
    np.testing.assert_allclose(ours.coef_, direct.coef_, atol=0.02 * np.abs(direct.coef_).max())
    np.testing.assert_allclose(ours.predict_proba(X_test), direct.predict_proba(X_test), atol=0.01)
    accuracy = logistic.facts["metrics"]["test"]["accuracy"]
    assert accuracy == pytest.approx(direct.score(X_test, y_test), abs=0.006)


def test_it_is_as_accurate_as_the_usual_pipeline(logistic: SavedHead, digits: FeatureTable) -> None:
    X, y = digits.matrix(["train", "validation"])
    X_test, y_test = digits.matrix("test")
    usual = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(X, y.astype(str))
    assert logistic.facts["metrics"]["test"]["accuracy"] >= usual.score(X_test, y_test.astype(str)) - 0.02


def test_the_saved_file_holds_a_pipeline_that_speaks_of_labels(
    logistic: SavedHead, digits: FeatureTable
) -> None:
    import skops.io

    pipeline = skops.io.load(logistic.directory / "head.skops")
    assert isinstance(pipeline, Pipeline)
    X, _ = digits.matrix("test")
    assert pipeline.predict(X).tolist() == logistic.head.predict(X).tolist()


def test_the_matrix_is_scaled_where_it_is(digits: FeatureTable) -> None:
    X, _ = digits.matrix(["train", "validation"])
    train = len(digits.matrix("train")[0])
    usual = StandardScaler().fit(X[:train])
    expected = usual.transform(X)
    scaler = heads.logistic._scale_in_place(X, train)
    assert X.dtype == np.float32
    np.testing.assert_allclose(scaler.scale_, usual.scale_, rtol=1e-6)
    np.testing.assert_allclose(X, expected, atol=1e-4)


def test_validation_metrics_are_of_a_model_that_did_not_see_validation(logistic: SavedHead) -> None:
    facts = logistic.facts
    best = min(facts["training"]["log_loss"], key=lambda tried: tried["log_loss"])
    assert facts["training"]["C"] == best["C"]
    assert facts["metrics"]["validation"]["log_loss"] == pytest.approx(best["log_loss"])
    assert facts["splits"]["fitted"] == ["train", "validation"]


@parametrize_with_checks([LogisticHead()])  # nothing is excused: no expected_failed_checks
def test_it_passes_scikit_learns_checks(
    estimator: LogisticHead, check: Callable[[LogisticHead], None]
) -> None:
    check(estimator)


def test_a_given_C_is_taken(three_classes: FeatureTable) -> None:
    head = fit(LogisticHead(C=0.02), three_classes)
    assert facts(head)["C"] == head.pipeline_[-1].C == 0.02
    assert facts(head)["chosen_by"] == "the caller"


@pytest.mark.parametrize(
    ("validation", "fitted"), [([], ["train"]), (["daisy", "daisy"], ["train", "validation"])]
)
def test_cross_validation_where_validation_is_empty_or_lacks_a_class(
    small_table: MakeSmallTable, validation: list[str], fitted: list[str]
) -> None:
    labels = ["daisy"] * 7 + ["rose"] * 7 + ["tulip"] + validation
    splits = ["train"] * 15 + ["validation"] * len(validation)
    head = fit(LogisticHead(), small_table(labels, splits))
    assert head.training_ is not None
    assert facts(head)["chosen_by"] == "5-fold cross-validation on train"
    assert head.training_.selected == ["train"]
    assert head.training_.fitted == fitted
    assert head.training_.validation is None


def test_the_seed_is_that_of_the_folds(three_classes: FeatureTable) -> None:
    X, y = three_classes.matrix("train")
    losses = [facts(LogisticHead(seed=seed).fit(X, y.astype(str)))["log_loss"] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_cross_validation_is_that_of_scikit_learn(digits: FeatureTable) -> None:
    """Rows held out by a weight of 0 count as little as rows left out."""
    X, labels = digits.matrix("validation")
    X = StandardScaler().fit_transform(X)
    y = labels.astype(int)
    folds = heads.logistic._cross_validation(X, y, seed=0)
    tried, _ = heads.logistic._search(X, y, [0.001], folds, lambda *step: None)
    losses = np.empty(len(X))
    for fold in folds:
        held_out = np.asarray(fold.held_out)
        model = LogisticRegression(C=0.001, max_iter=1000).fit(X[~held_out], y[~held_out])
        losses[held_out] = -np.log(model.predict_proba(X)[np.arange(len(X)), y][held_out])
    assert tried[0.001] == pytest.approx(losses.mean(), rel=1e-3)
    shares = [np.bincount(fold.true, minlength=10) for fold in folds]
    assert np.ptp(shares, axis=0).max() <= 1, "each class is spread evenly over the folds"


def test_one_row_a_class_is_enough(small_table: MakeSmallTable) -> None:
    table = small_table(["daisy", "rose"], ["train", "train"])
    X, labels = table.matrix("train")
    assert fit(LogisticHead(), table).predict(X).tolist() == labels.tolist()


def test_two_classes(small_table: MakeSmallTable) -> None:
    table = small_table(["daisy", "rose"] * 20, ["train", "train", "test", "test", "validation"] * 8)
    head = fit(LogisticHead(), table)
    X, labels = table.matrix("test")
    assert head.predict_proba(X).shape == (len(X), 2)
    assert head.predict(X).tolist() == labels.tolist()


def test_features_that_never_vary_do_no_harm(
    three_classes: FeatureTable, small_table: MakeSmallTable
) -> None:
    X = np.ones((8, 2048), np.float32)
    scaler = heads.logistic._scale_in_place(X, 8)
    assert (scaler.scale_ == 1).all()
    assert (X == 0).all()


def test_memory_is_mostly_one_matrix() -> None:
    matrix = 1_000_000 * 2048 * 4
    assert matrix < LogisticHead.bytes_needed(1_000_000, 2048, 10) < 1.2 * matrix


@pytest.mark.parametrize("C", [0, -1.0, float("nan")])
def test_a_C_out_of_range_is_refused(three_classes: FeatureTable, C: float) -> None:
    with pytest.raises(BottleneckError, match="expects a number above 0"):
        fit(LogisticHead(C=C), three_classes)
