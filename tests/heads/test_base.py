from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from features.store.table import FeatureTable
from heads import DenseHead, Head, LogisticHead, SavedHead
from heads.base import deal


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


def test_features_of_another_width_are_refused(saved: SavedHead) -> None:
    with pytest.raises(ValueError, match="X has 768 features, but .* is expecting 2048 features"):
        saved.head.predict_proba(np.zeros((5, 768), np.float32))
    with pytest.raises(ValueError, match="Expected 2D array"):
        saved.head.predict_proba(np.zeros(2048, np.float32))


@pytest.mark.parametrize("head", [LogisticHead(), DenseHead()])
def test_a_head_without_training_says_so(head: Head) -> None:
    for answer in (head.predict, head.predict_proba):
        with pytest.raises(NotFittedError):
            answer(np.zeros((1, 2048), np.float32))


EACH = pytest.mark.parametrize(
    "head", [LogisticHead(C=0.01), DenseHead(epochs=20, learning_rate=0.01)], ids=lambda h: h.kind
)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """60 rows of 3 classes that are easy to tell apart, and their labels, which are numbers."""
    random = np.random.default_rng(0)
    y = np.arange(60) % 3 * 10
    return random.normal(size=(3, 20))[y // 10] * 3 + random.normal(size=(60, 20)), y


@EACH
def test_a_head_can_be_cloned(head: Head, rows: tuple[np.ndarray, np.ndarray]) -> None:
    changed = clone(head).set_params(seed=7).fit(*rows)
    copy = clone(changed)
    assert copy.get_params() == head.get_params() | {"seed": 7}
    assert not hasattr(copy, "classes_")


@EACH
def test_a_head_is_cross_validated_in_a_pipeline(head: Head, rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    model = make_pipeline(PCA(5), clone(head))
    assert cross_val_score(model, X, y, cv=3).min() > 0.8
    fitted = model.fit(X, y)
    assert fitted.predict(X).dtype == y.dtype
    assert fitted.score(X, y) == (fitted.predict(X) == y).mean()


@EACH
def test_what_is_given_is_not_changed(head: Head, rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows[0].astype(np.float32), rows[1].copy()
    before = X.copy(), y.copy()
    clone(head).fit(X, y)
    clone(head).fit(X, y, (X, y))
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("head", [LogisticHead(), DenseHead(epochs=30)], ids=lambda head: head.kind)
def test_it_is_chosen_on_the_validation_that_is_given(
    head: Head, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    """Where that has its labels at random, as little as can be is learned."""
    X, y = rows
    wrong = clone(head).fit(X, y, (X, np.random.default_rng(0).permutation(y)))
    right = clone(head).fit(X, y, (X, y))
    assert wrong.training_.selected == right.training_.selected == ["validation"]
    assert wrong.predict_proba(X).max(axis=1).mean() < right.predict_proba(X).max(axis=1).mean() - 0.2
    assert clone(head).fit(X, y).training_.selected == ["train"]


@EACH
def test_arrays_that_do_not_fit_together_are_refused(head: Head, rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    with pytest.raises(ValueError, match="y has one class, 0, and a head needs two"):
        clone(head).fit(X, np.zeros(len(X), int))
    with pytest.raises(ValueError, match="X has 3 features, but .* is expecting 20 features"):
        clone(head).fit(X, y, (X[:, :3], y))
    with pytest.raises(ValueError, match="the validation part has labels that y does not have"):
        clone(head).fit(X, y, (X, y + 1))


def test_parts_share_out_each_class_evenly() -> None:
    y = np.array([0] * 17 + [1] * 9 + [2] * 2)
    parts = deal(y, 4, seed=0)
    for number in range(3):
        assert np.ptp(np.bincount(parts[y == number], minlength=4)) <= 1
    assert deal(y, 4, seed=0).tolist() == parts.tolist() != deal(y, 4, seed=1).tolist()
