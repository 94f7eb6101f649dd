from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from heads.probabilities import fit_temperature, fit_thresholds, log_loss, tempered


def test_log_loss_is_that_of_scikit_learn_weights_and_labels_included() -> None:
    random = np.random.default_rng(0)
    true, probabilities = random.integers(3, size=20), softmax(random.normal(size=(20, 3)), axis=1)
    weights = random.random(20)
    assert log_loss(true, probabilities) == pytest.approx(sklearn_log_loss(true, probabilities))
    expected = sklearn_log_loss(true, probabilities, sample_weight=weights)
    assert log_loss(true, probabilities, weights) == pytest.approx(expected)
    several, weights = random.integers(2, size=(20, 3)), random.random((20, 3))
    alone = [sklearn_log_loss(y, p) for y, p in zip(several.T, probabilities.T, strict=True)]
    assert log_loss(several, probabilities) == pytest.approx(np.mean(alone))
    flat = sklearn_log_loss(several.ravel(), probabilities.ravel(), sample_weight=weights.ravel())
    assert log_loss(several, probabilities, weights) == pytest.approx(flat)


def test_one_sure_error_stays_finite() -> None:
    assert log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(15.942385)
    assert log_loss(np.array([[1, 0]]), np.array([[0.0, 0.0]])) == pytest.approx(15.942385 / 2)


@given(st.floats(0.2, 5))
def test_a_temperature_divides_the_logits(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(scale=2, size=(10, 3))
    for multi_label, function in ((False, lambda x: softmax(x, axis=1)), (True, expit)):
        found = tempered(function(logits), temperature, multi_label=multi_label)
        np.testing.assert_allclose(found, function(logits / temperature), rtol=1e-9)
    sure = tempered(np.array([[1.0, 0.0]]), temperature, multi_label=False)
    assert np.isfinite(sure).all() and sure[0, 0] > 0.99


@pytest.mark.parametrize("confidence", [0.3, 4.0])
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_temperature_undoes_what_a_model_is_too_sure_of(confidence: float, multi_label: bool) -> None:
    """Labels are drawn by the probabilities; the model's logits are `confidence` times as large."""
    random = np.random.default_rng(1)
    logits = random.normal([-3, -1, 1], scale=1.5, size=(20_000, 3))
    if multi_label:
        true = (random.random(logits.shape) < expit(logits)).astype(int)
        given_by_model = expit(confidence * logits)
    else:
        true = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
        given_by_model = softmax(confidence * logits, axis=1)
    assert fit_temperature(true, given_by_model) == pytest.approx(confidence, rel=0.05)


def test_the_temperature_is_that_of_scikit_learn() -> None:
    X, y = make_blobs(600, centers=4, cluster_std=4, random_state=0)
    model = LogisticRegression(C=100).fit(X[:30], y[:30])
    calibrated = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(X[30:], y[30:])
    probabilities = model.predict_proba(X[30:])
    temperature = fit_temperature(y[30:], probabilities)
    assert temperature
    ours = tempered(probabilities, temperature, multi_label=False)
    np.testing.assert_allclose(ours, calibrated.predict_proba(X[30:]), atol=2e-3)


@given(st.integers(0, 1000), st.integers(1, 60))
def test_no_other_threshold_gives_a_better_f1(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    true = random.integers(2, size=(rows, 2))
    probabilities = np.round(random.random((rows, 2)), 1)  # with ties
    thresholds = fit_thresholds(true, probabilities)
    for label, threshold in enumerate(thresholds):
        y, p = true[:, label], probabilities[:, label]
        assert 0 <= threshold <= 1
        if y.sum() < 5:
            assert threshold == 0.5
            continue
        best = max(f1_score(y, p >= other, zero_division=0) for other in [*np.unique(p), 0.5])
        assert f1_score(y, p >= threshold, zero_division=0) == pytest.approx(best)


def test_thresholds_lie_half_way_and_near_one_half() -> None:
    true = np.array([[1, 1, 0]] * 6 + [[0, 0, 0]] * 2)
    rows = [[0.9, 0.3, 0.1]] * 3 + [[0.8, 0.4, 0.1]] * 3 + [[0.6, 0.1, 0.9], [0.1, 0.2, 0.9]]
    np.testing.assert_allclose(fit_thresholds(true, np.array(rows)), [0.7, 0.25, 0.5])
    easy = np.array([[0.9]] * 3 + [[0.8]] * 3 + [[0.3], [0.1]])
    assert fit_thresholds(true[:, :1], easy).tolist() == [0.5]
    all_have_it = np.array([[0.3], [0.4]] * 3)
    np.testing.assert_allclose(fit_thresholds(np.ones((6, 1), int), all_have_it), [0.15])
    assert fit_thresholds(np.empty((0, 2), int), np.empty((0, 2))).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("rows", "threshold"), [(4, 0.5), (5, 0.25)])
def test_few_rows_with_a_label_do_not_decide_who_gets_it(rows: int, threshold: float) -> None:
    """The best threshold for the one row that has a label, and ranks last, would give it to all."""
    true = np.array([[1]] * rows + [[0]] * 10)
    probabilities = np.array([[0.3]] * rows + [[0.2]] * 10)
    np.testing.assert_allclose(fit_thresholds(true, probabilities), [threshold])


@pytest.mark.parametrize("sure", [0.6, 0.9])
def test_rows_that_are_all_right_or_all_wrong_tell_no_temperature(sure: float) -> None:
    probabilities = np.array([[sure, 1 - sure], [1 - sure, sure]])
    assert fit_temperature(np.array([0, 1]), probabilities) is None
    assert fit_temperature(np.array([1, 0]), probabilities) is None
    assert fit_temperature(np.array([0, 1, 0, 0]), probabilities[[0, 1, 0, 1]]) is not None
