from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from features.errors import BottleneckError
from heads import DenseHead, Head, LogisticHead
from heads.base import Labels, Training
from heads.probabilities import fit_temperature, fit_thresholds, tempered
from heads.progress import Progress, silent


@dataclasses.dataclass(eq=False, repr=False)
class NearestHead(Head):
    """The nearest of the classes' means: the least that a kind of head has to have."""

    kind = "nearest"
    model_file = "head.npy"
    packages = ("numpy",)

    seed: int = 0

    def check_parameters(self) -> None:
        if self.seed < 0:
            raise BottleneckError("seed is below 0")

    def fit_matrix(
        self,
        X: np.ndarray,
        y: np.ndarray,
        train: int,
        classes: Labels,
        progress: Progress = silent,
        units: np.ndarray | None = None,
        originals: np.ndarray | None = None,
    ) -> Self:
        progress(1, 1, {})
        self.given_ = (X.copy(), y, train, np.asarray(classes).tolist())
        self.units_ = units
        self.classes_, self.n_features_in_ = np.asarray(classes), X.shape[1]
        self.means_ = np.array([X[y == number].mean(axis=0) for number in range(len(classes))])
        X[:] = 0  # which it may
        self.training_ = Training({}, ["train"], ["train"])
        return self

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        nearness = np.exp(-np.square(X[:, None] - self.means_).sum(axis=2))
        return nearness / nearness.sum(axis=1, keepdims=True)

    def save_model(self, path: Path) -> None:
        np.save(path, self.means_)

    def load_model(self, path: Path) -> None:
        self.means_ = np.load(path)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """60 rows of 3 classes that are easy to tell apart, and their labels, which are numbers."""
    random = np.random.default_rng(0)
    y = np.arange(60) % 3 * 10
    return random.normal(size=(3, 20))[y // 10] * 3 + random.normal(size=(60, 20)), y


@pytest.fixture(scope="module")
def fitted(rows: tuple[np.ndarray, np.ndarray]) -> NearestHead:
    return NearestHead().fit(*rows)


def test_a_head_is_handed_checked_features_and_numbers_of_labels(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    X32 = X.astype(np.float32)
    given, numbers, train, classes = NearestHead().fit(X32, y).given_
    assert (given.dtype, numbers.tolist(), train, classes) == (
        np.float32,
        (y // 10).tolist(),
        60,
        [0, 10, 20],
    )
    np.testing.assert_array_equal(given, X32)

    validation = X[:4].tolist(), [20, 0, 0, 10]
    given, numbers, train, classes = NearestHead().fit(X.tolist(), y.tolist(), validation).given_
    assert (given.dtype, train, classes) == (np.float32, 60, [0, 10, 20])
    assert numbers.tolist() == [*(y // 10), 2, 0, 0, 1]
    np.testing.assert_array_equal(given, np.concatenate([X32, X32[:4]]))


def test_what_is_given_is_not_changed(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows[0].astype(np.float32), rows[1].copy()
    before = X.copy(), y.copy()
    head = NearestHead().fit(X, y)
    head.fit(X, y, (X, y)).predict(X)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda X, y: (X, np.full(60, 7)), "y has one class, 7, and a head needs two"),
        (lambda X, y: (X[:59], y), "Found input variables with inconsistent numbers of samples: [59, 60]"),
        (lambda X, y: (X, y / 3), "Unknown label type: continuous. "),
        (lambda X, y: (X, y, (X[:, :3], y)), "X has 3 features, but NearestHead is expecting 20 features"),
        (lambda X, y: (X, y, (X, y + 1)), "y of the validation part has labels that y does not have"),
        (lambda X, y: (X + np.inf, y), "Input X contains infinity"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    rows: tuple[np.ndarray, np.ndarray], arguments: Any, message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        NearestHead().fit(*arguments(*rows))
    assert str(caught.value).startswith(message)


def test_parameters_are_checked_before_the_arrays() -> None:
    with pytest.raises(BottleneckError, match="seed is below 0"):
        NearestHead(-1).fit([], [])


def test_probabilities_and_labels(fitted: NearestHead, rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    probabilities = fitted.predict_proba(X)
    assert (probabilities.shape, probabilities.dtype) == ((60, 3), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert fitted.predict(X).tolist() == y.tolist()
    assert fitted.predict(X.tolist()).dtype == y.dtype


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 8193])
def test_each_row_has_its_own_answer_however_many_there_are(
    fitted: NearestHead, rows: tuple[np.ndarray, np.ndarray], count: int
) -> None:
    numbers = np.arange(count) * 7 % 60
    probabilities = fitted.predict_proba(rows[0][numbers].reshape(-1, 20))
    np.testing.assert_array_equal(probabilities, fitted.predict_proba(rows[0])[numbers])
    assert fitted.predict(rows[0][numbers].reshape(-1, 20)).shape == (count,)


def test_few_rows_at_once_are_predicted(monkeypatch: pytest.MonkeyPatch, fitted: NearestHead) -> None:
    """So that what it takes beside the features does not grow with the rows."""
    seen: list[int] = []

    def probabilities(X: np.ndarray) -> np.ndarray:
        seen.append(len(X))
        return np.ones((len(X), 3))

    monkeypatch.setattr(fitted, "_probabilities", probabilities)
    fitted.predict_proba(np.zeros((9000, 20), np.float32))
    assert seen == [4096, 4096, 808]


def test_features_that_can_not_be_predicted_are_refused(fitted: NearestHead) -> None:
    with pytest.raises(ValueError, match="X has 3 features, but NearestHead is expecting 20 features"):
        fitted.predict_proba(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="Expected 2D array"):
        fitted.predict_proba(np.zeros(20))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fitted.predict_proba(np.full((1, 20), np.nan))


def test_a_head_without_training_says_so() -> None:
    for answer in (NearestHead().predict, NearestHead().predict_proba):
        with pytest.raises(NotFittedError, match="This NearestHead instance is not fitted yet"):
            answer(np.zeros((1, 20)))


def test_a_head_is_an_estimator_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    head = LogisticHead(C=0.01)
    copy = clone(clone(head).set_params(seed=7).fit(*rows))
    assert copy.get_params() == {"C": 0.01, "seed": 7, "class_weight": None, "calibration": None}
    assert not hasattr(copy, "classes_")
    model = make_pipeline(PCA(5), head)
    assert cross_val_score(model, *rows, cv=3).min() > 0.8
    fitted = model.fit(*rows)
    assert fitted.score(*rows) == (fitted.predict(rows[0]) == rows[1]).mean() > 0.8


def test_a_head_need_not_be_layers_of_keras() -> None:
    message = "^a nearest head can't be put as layers of Keras, which this needs$"
    with pytest.raises(BottleneckError, match=message):
        NearestHead().keras_model()


def test_a_head_takes_three_times_its_features_unless_it_says_otherwise() -> None:
    """Read, joined and worked on, as float32."""
    assert NearestHead.bytes_needed(1000, 2048, 5) == 3 * 1000 * 2048 * 4


def test_several_labels_are_for_kinds_that_take_them(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    several = np.stack([y == y[0], y == y[1]], axis=1).astype(int)
    with pytest.raises(ValueError, match="a nearest head takes one label a row, and y has several"):
        NearestHead().fit(X, several)
    for head in (LogisticHead(class_weight={7: 2.0}), DenseHead(class_weight={7: 2.0})):
        with pytest.raises(BottleneckError, match="class_weight names classes: several labels take balanced"):
            head.fit(X, several)
    head = LogisticHead(C=0.1).fit(X[:40], several[:40])
    assert head.classes_.tolist() == [0, 1] and head.predict(X[40:]).shape == (20, 2)
    with pytest.raises(ValueError, match="y has 1 labels, and 2 were expected|Unknown label type|multi"):
        LogisticHead(C=0.1).fit(X, several, (X, several[:, :1]))
    with pytest.raises(ValueError, match="y of several labels holds other numbers than 0 and 1"):
        LogisticHead(C=0.1).fit(X, several * 2)
    same = LogisticHead(C=0.1).fit(X[:40], csr_array(several[:40]))
    np.testing.assert_array_equal(same.predict_proba(X), head.predict_proba(X))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"class_weight": "even"}, "class_weight is 'even', and a head expects balanced or none"),
        ({"calibration": "platt"}, "calibration is 'platt', and a head expects temperature or none"),
        ({"calibration": {}}, "calibration is {}, and a head expects temperature or none"),
    ],
)
def test_common_parameters_out_of_range_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BottleneckError) as refusal:
        LogisticHead(**parameters).check_parameters()
    assert str(refusal.value) == message


def test_a_kind_without_logits_says_that_it_can_not_be_calibrated() -> None:
    with pytest.raises(BottleneckError, match="a nearest head can't be calibrated"):
        NearestHead()._scale_logits(2.0)


class Sure(NearestHead):
    """Gives as many probabilities as it is asked for, and notes how its logits are scaled."""

    kind = "sure"
    takes_multi_label = True

    def _scale_logits(self, factor: float) -> None:
        self.factor_ = factor


def held_out(rows: int, *, several: bool, sure: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose labels are drawn by logits, and what a model says that is `sure` times as sure."""
    random = np.random.default_rng(0)
    logits = random.normal([-1, 0, 1], size=(rows, 3))
    if several:
        return (random.random(logits.shape) < expit(logits)).astype(np.int8), expit(sure * logits)
    return (logits + random.gumbel(size=logits.shape)).argmax(axis=1), softmax(sure * logits, axis=1)


@pytest.mark.parametrize("several", [False, True])
def test_temperature_and_thresholds_are_chosen_on_rows_that_are_held_out(several: bool) -> None:
    true, raw = held_out(5000, several=several)
    head = Sure(calibration="temperature")
    head.classes_, head.multi_label_ = np.arange(3), several
    facts, probabilities = head.choose_by((true, raw))
    assert facts == {"temperature": fit_temperature(true, raw)}
    assert facts["temperature"] == pytest.approx(3, rel=0.1)
    assert head.factor_ == 1 / facts["temperature"] and head.notices_ == ()
    np.testing.assert_array_equal(probabilities, tempered(raw, facts["temperature"], multi_label=several))
    if several:
        np.testing.assert_array_equal(head.thresholds_, fit_thresholds(true, probabilities))
    plain = Sure()
    plain.classes_, plain.multi_label_ = np.arange(3), several
    assert plain.choose_by((true, raw))[0] == {} and not hasattr(plain, "factor_")


def test_what_can_not_be_chosen_is_said() -> None:
    head = Sure(calibration="temperature")
    head.classes_, head.multi_label_ = np.arange(3), True
    facts, _ = head.choose_by(None)
    assert facts == {"temperature": None} and head.thresholds_.tolist() == [0.5] * 3
    assert head.notices_ == (
        "not calibrated: there are no images that it was not trained on",
        "a label is given from a probability of 0.5 on: there are no images that it was not trained on",
    )
    head.multi_label_ = False
    right = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]])
    facts, probabilities = head.choose_by((np.array([0, 1]), right))
    assert facts == {"temperature": None} and not hasattr(head, "factor_")
    np.testing.assert_array_equal(probabilities, right)
    assert head.notices_ == (
        "not calibrated: the 2 images that it was not trained on can't tell how sure it should be",
    )


def test_groups_are_numbered(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    head = NearestHead().fit(X, y, groups=[f"patient {number % 7}" for number in range(60)])
    assert head.units_ is not None and head.units_.tolist() == [number % 7 for number in range(60)]
    assert NearestHead().fit(X, y).units_ is None
    both = NearestHead().fit(X[:40], y[:40], (X[40:], y[40:]), groups=np.zeros(40))
    assert both.units_ is not None and len(both.units_) == 40
    some = NearestHead().fit(X[:4], y[:4], groups=["p", None, "p", None])
    assert some.units_ is not None and some.units_.tolist() == [0, 1, 0, 2]
    with pytest.raises(ValueError, match=re.escape("groups has the shape (3,), and X has 60 rows")):
        NearestHead().fit(X, y, groups=[1, 2, 3])


def test_two_classes_are_enough(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    two = y != y[2]
    assert set(NearestHead().fit(X[two], y[two]).predict(X)) <= set(y[two].tolist())
