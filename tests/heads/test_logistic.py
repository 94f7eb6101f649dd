from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as reference_log_loss
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info, threadpool_limits

import heads.logistic
from features.errors import BottleneckError
from heads import LogisticHead
from heads.logistic import CANDIDATES, _cross_validation, _scale_in_place, _Search
from heads.probabilities import fit_temperature, fit_thresholds, log_loss, tempered
from heads.progress import silent
from heads.shares import deal
from tests.heads.conftest import facts

CLASSES = tuple("abcdefghij")
#: Train rows of `rows`; the others are for validation.
TRAIN = 200


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several wait for each other where other tests run beside these."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """300 handwritten digits, and their numbers, of which a sixth is wrong: a large C learns that, too."""
    pixels, numbers = load_digits(return_X_y=True)
    wrong = np.arange(300) % 6 == 0
    return pixels[:300].astype(np.float32), (numbers[:300] + wrong) % 10


@pytest.fixture(scope="module")
def chosen(
    rows: tuple[np.ndarray, np.ndarray],
) -> tuple[LogisticHead, list[tuple[int, int, dict[str, float]]]]:
    """A head, and what it said as it was trained."""
    steps: list[tuple[int, int, dict[str, float]]] = []
    head = LogisticHead().fit_matrix(
        rows[0].copy(), rows[1], TRAIN, CLASSES, lambda *step: steps.append(step)
    )
    return head, steps


def test_it_is_what_scikit_learn_gives_directly(
    chosen: tuple[LogisticHead, list], rows: tuple[np.ndarray, np.ndarray]
) -> None:
    """Scaled by train, C chosen on validation, fitted on both."""
    head, steps = chosen
    X, y = StandardScaler().fit(rows[0][:TRAIN]).transform(rows[0]), rows[1]
    losses, of_validation = {}, {}
    for C in CANDIDATES:
        model = LogisticRegression(C=C, max_iter=1000).fit(X[:TRAIN], y[:TRAIN])
        of_validation[C] = model.predict_proba(X[TRAIN:])
        losses[C] = reference_log_loss(y[TRAIN:], of_validation[C])
    best = min(losses, key=lambda C: losses[C])
    tried = [figures["C"] for _, _, figures in steps]
    assert best in tried[:-2] and tried == list(CANDIDATES[: len(tried)])
    assert [figures["log_loss"] for _, _, figures in steps] == pytest.approx(
        [losses[C] for C in tried], rel=0.01
    )
    assert [(step, of) for step, of, _ in steps] == [(n, len(CANDIDATES)) for n in range(1, len(tried) + 1)]

    direct = LogisticRegression(C=best, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(head.predict_proba(rows[0]), direct.predict_proba(X), atol=0.01)
    assert facts(head) == {
        "C": best,
        "chosen_by": "validation",
        "log_loss": [figures for _, _, figures in steps],
        "iterations": head.pipeline_[-1].n_iter_[0],
    }
    assert head.classes_.tolist() == list(CLASSES)
    assert head.training_ is not None and head.training_.validation is not None
    assert head.training_[1:3] == (["train", "validation"], ["validation"])
    true, probabilities = head.training_.validation
    np.testing.assert_array_equal(true, y[TRAIN:])
    np.testing.assert_allclose(probabilities, of_validation[best], atol=0.02)


def test_the_saved_file_holds_a_pipeline_that_speaks_of_labels(
    chosen: tuple[LogisticHead, list], rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    chosen[0].save_model(tmp_path / "head.skops")
    pipeline = skops.io.load(tmp_path / "head.skops")
    assert isinstance(pipeline, Pipeline)
    assert pipeline.predict(rows[0]).tolist() == chosen[0].predict(rows[0]).tolist()
    assert set(pipeline.predict(rows[0])) == set(CLASSES)


class Evil:
    """Not a type of scikit-learn's."""


def test_a_file_of_other_types_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "head.skops"
    skops.io.dump(Evil(), path)
    with pytest.raises(BottleneckError) as caught:
        LogisticHead().load_model(path)
    assert str(caught.value).startswith(
        f"{path} is not loaded, for it is not as a logistic head was saved: Untrusted types found in the file"
    )


@pytest.mark.parametrize("train", [1500, 2048, 1])
def test_the_matrix_is_scaled_where_it_is(train: int) -> None:
    """By train alone, of which a thousand rows are looked at at once."""
    X = np.random.default_rng(0).normal(5, 3, size=(2100, 3)).astype(np.float32)
    usual = StandardScaler().fit(X[:train])
    expected = usual.transform(X)
    scaler = _scale_in_place(X, train)
    np.testing.assert_allclose(scaler.mean_, usual.mean_, rtol=1e-6)
    np.testing.assert_allclose(scaler.scale_, usual.scale_, rtol=1e-6)
    np.testing.assert_allclose(X, expected, atol=1e-4)
    assert X.dtype == np.float32


def test_features_that_never_vary_do_no_harm() -> None:
    X = np.ones((8, 5), np.float32)
    assert (_scale_in_place(X, 8).scale_ == 1).all()
    assert (X == 0).all()


# Nothing is excused: no expected_failed_checks. With a C, since to choose one takes most of the time.
@parametrize_with_checks([LogisticHead(C=0.1)])
def test_it_passes_scikit_learns_checks(
    estimator: LogisticHead, check: Callable[[LogisticHead], None]
) -> None:
    check(estimator)


@settings(max_examples=5)
@given(st.integers(0, 99))
def test_the_order_of_rows_and_classes_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    X, y = random.normal(size=(50, 6)).astype(np.float32), random.permutation(np.arange(50) % 3)
    X[:, 0] += y
    train, validation = random.permutation(30), random.permutation(20) + 30
    order, rows = random.permutation(3), np.concatenate([train, validation])
    head, other = LogisticHead(), LogisticHead()
    head.fit_matrix(X.copy(), y, 30, ["a", "b", "c"])
    other.fit_matrix(X[rows], np.argsort(order)[y[rows]], 30, [["a", "b", "c"][number] for number in order])
    assert facts(other)["C"] == facts(head)["C"]
    np.testing.assert_allclose(other.predict_proba(X), head.predict_proba(X)[:, order], atol=1e-3)


def test_a_given_C_is_taken(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    head = LogisticHead(C=0.02).fit(X[:100], y[:100], (X[100:200], y[100:200]))
    assert facts(head)["C"] == head.pipeline_[-1].C == 0.02
    assert facts(head)["chosen_by"] == "the caller"
    assert [tried["C"] for tried in facts(head)["log_loss"]] == [0.02]


@pytest.mark.parametrize("C", [0, -1.0, float("nan")])
def test_a_C_out_of_range_is_refused(C: float) -> None:
    with pytest.raises(BottleneckError) as caught:
        LogisticHead(C=C).fit_matrix(np.eye(2, dtype=np.float32), np.arange(2), 2, ["a", "b"])
    assert str(caught.value) == f"C is {C}, and a logistic head expects a number above 0"


@pytest.mark.parametrize(("validation", "fitted"), [([], ["train"]), ([0, 0, 1], ["train", "validation"])])
def test_cross_validation_where_validation_is_empty_or_lacks_a_class(
    validation: list[int], fitted: list[str]
) -> None:
    X = np.random.default_rng(0).normal(size=(15 + len(validation), 4)).astype(np.float32)
    y = np.array([0] * 7 + [1] * 7 + [2] + validation)
    head = LogisticHead().fit_matrix(X.copy(), y, 15, ["daisy", "rose", "tulip"])
    assert head.training_ is not None
    assert facts(head)["chosen_by"] == "5-fold cross-validation on train"
    assert head.training_[1:] == (fitted, ["train"], None)
    folds = _cross_validation(StandardScaler().fit_transform(X[:15]), y[:15], 0, None)
    losses = _Search(StandardScaler().fit_transform(X[:15]), y[:15], folds, None).run(CANDIDATES, silent)
    tried = [tried["log_loss"] for tried in facts(head)["log_loss"]]
    assert tried == pytest.approx(list(losses.values()), rel=1e-3)


def test_the_seed_is_that_of_the_folds(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows[0][:60, 16:32], rows[1][:60] % 2
    losses = [facts(LogisticHead(seed=seed).fit(X, y))["log_loss"] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_cross_validation_is_that_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Rows held out by a weight of 0 count as little as rows left out."""
    X, y = StandardScaler().fit_transform(rows[0][:103]), rows[1][:103]
    folds = _cross_validation(X, y, 0, None)
    tried = _Search(X, y, folds, None).run([0.001, 0.01], silent)
    for C in (0.001, 0.01):
        losses = np.full(len(X), np.nan)
        for fold in folds:
            held_out = np.isin(np.arange(len(X)), fold.held_out)
            model = LogisticRegression(C=C, max_iter=1000).fit(X[~held_out], y[~held_out])
            losses[held_out] = -np.log(model.predict_proba(X)[np.arange(len(X)), y][held_out])
        assert tried[C] == pytest.approx(losses.mean(), rel=1e-3)
    shares = [np.bincount(fold.true, minlength=10) for fold in folds]
    assert len(folds) == 5 and np.ptp(shares, axis=0).max() <= 1, "each class is spread evenly over the folds"


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1], [1, 0, 1, 0], [0, 1, 2, 3]])
def test_one_row_a_class_is_enough(labels: list[int]) -> None:
    X = np.eye(len(labels), dtype=np.float32)
    head = LogisticHead().fit(X, labels)
    assert set(head.predict(X)) <= set(labels)
    assert all(np.isfinite(tried["log_loss"]) for tried in facts(head)["log_loss"])


@pytest.mark.parametrize(
    ("losses", "tried", "best"),
    [
        ([5, 4, 3, 2, 1], 5, 4),
        ([5, 3, 4, 2, 3, 1], 6, 5),  # it goes on where the loss has risen once
        ([5, 3, 4, 3.5, 1], 4, 1),
        ([5, 3, 3, 3, 1], 4, 1),
        ([5, 6, 7, 1], 3, 0),
    ],
)
def test_the_search_ends_when_the_loss_was_not_the_least_twice(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], tried: int, best: int
) -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(20, 3)), np.arange(20) % 2
    seen: list[np.ndarray] = []

    def made_up(true: np.ndarray, probabilities: np.ndarray, weights: None) -> float:
        seen.append(probabilities)
        return losses[len(seen) - 1]

    monkeypatch.setattr(heads.logistic, "log_loss", made_up)
    candidates = [10.0**n for n in range(len(losses))]
    steps: list[Any] = []
    fold = heads.logistic._Fold(None, X, np.arange(5), y[:5])
    search = _Search(X, y, [fold], None)
    found = search.run(candidates, lambda *step: steps.append(step))
    assert found == dict(zip(candidates[:tried], losses, strict=False))
    assert search.probabilities is seen[best]
    assert steps == [(n + 1, len(losses), {"C": candidates[n], "log_loss": losses[n]}) for n in range(tried)]


@pytest.mark.parametrize(("limit", "threads"), [(10**6, 1), (0, 2)])
def test_a_small_matrix_is_left_to_one_thread(
    monkeypatch: pytest.MonkeyPatch, limit: int, threads: int
) -> None:
    monkeypatch.setattr(heads.logistic, "_THREADED_BYTES", limit)
    seen: list[int] = []

    def look(*step: Any) -> None:
        seen.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")

    with threadpool_limits(2, user_api="blas"):
        LogisticHead(C=1e-4, calibration="temperature").fit_matrix(
            np.eye(4, dtype=np.float32), np.arange(4), 4, "abcd", look
        )
    assert set(seen) == {threads}


def test_a_given_C_is_fitted_once_where_nothing_is_to_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    fit = LogisticRegression.fit

    def counted(self: LogisticRegression, *args: Any, **more: Any) -> LogisticRegression:
        fits.append(1)
        return fit(self, *args, **more)

    monkeypatch.setattr(LogisticRegression, "fit", counted)
    X, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    head = LogisticHead(C=0.1).fit(X, y)
    assert len(fits) == 1 and facts(head)["C"] == 0.1 and facts(head)["log_loss"] == []
    LogisticHead(C=0.1, calibration="temperature").fit(X, y)
    assert len(fits) == 1 + 1 + 5


def test_memory_is_mostly_one_matrix() -> None:
    matrix = 1_000_000 * 2048 * 4
    assert matrix < LogisticHead.bytes_needed(1_000_000, 2048, 10) < 1.2 * matrix
    assert LogisticHead.bytes_needed(1000, 2048, 10) == 432_880_000


@pytest.fixture(scope="module")
def several() -> tuple[np.ndarray, np.ndarray]:
    """200 rows of 12 features that show three labels, with some noise: half of them, a quarter, and all."""
    random = np.random.default_rng(0)
    Y = np.stack([np.arange(200) % 2, np.arange(200) % 4 == 0, np.ones(200)], axis=1).astype(np.int8)
    return (Y @ random.normal(size=(3, 12)) + random.normal(scale=2, size=(200, 12))).astype(np.float32), Y


def test_several_labels_are_scikit_learns_one_vs_rest(several: tuple[np.ndarray, np.ndarray]) -> None:
    X, Y = several
    head = LogisticHead().fit(X[:120], Y[:120], (X[120:160], Y[120:160]))
    assert head.multi_label_ and head.classes_.tolist() == [0, 1, 2]
    assert head.training_ is not None and head.training_.selected == ["validation"]
    tried = {each["C"]: each["log_loss"] for each in facts(head)["log_loss"]}
    scaler = StandardScaler().fit(X[:120])
    for C in list(tried)[:3]:
        models = OneVsRestClassifier(LogisticRegression(C=C, max_iter=1000)).fit(
            scaler.transform(X[:120]), Y[:120, :2]
        )
        held_out = models.predict_proba(scaler.transform(X[120:160]))
        losses = [reference_log_loss(y, p) for y, p in zip(Y[120:160, :2].T, held_out.T, strict=True)]
        assert tried[C] == pytest.approx(sum(losses) / 3, rel=1e-3), "of the label that all have it is sure"
    models = OneVsRestClassifier(LogisticRegression(C=facts(head)["C"], max_iter=1000)).fit(
        scaler.transform(X[:160]), Y[:160, :2]
    )
    expected = models.predict_proba(scaler.transform(X[160:]))
    np.testing.assert_allclose(head.predict_proba(X[160:])[:, :2], expected, atol=1e-3)
    assert (head.predict_proba(X[160:])[:, 2] == 1).all()
    true, probabilities = head.training_.validation or ((), ())
    np.testing.assert_array_equal(true, Y[120:160])
    np.testing.assert_allclose(head.thresholds_, fit_thresholds(Y[120:160], np.asarray(probabilities)))
    assert head.predict(X[160:]).tolist() == (head.predict_proba(X[160:]) >= head.thresholds_).tolist()


def test_thresholds_come_from_held_out_folds_where_validation_lacks_a_label(
    several: tuple[np.ndarray, np.ndarray],
) -> None:
    X, Y = several
    lacking = Y[:20] * np.array([0, 0, 1], np.int8)
    for validation in (None, (X[:20], lacking)):
        head = LogisticHead(C=0.01).fit(X[20:], Y[20:], validation)
        assert head.training_ is not None and head.training_.selected == ["train"]
        fold = deal(Y[20:], 5, 0)
        scaled = StandardScaler().fit_transform(X[20:])
        probabilities = np.ones(Y[20:].shape)
        for number in range(5):
            for label in (0, 1):
                model = LogisticRegression(C=0.01).fit(scaled[fold != number], Y[20:][fold != number, label])
                probabilities[fold == number, label] = model.predict_proba(scaled[fold == number])[:, 1]
        np.testing.assert_allclose(head.thresholds_, fit_thresholds(Y[20:], probabilities), atol=2e-3)


@pytest.mark.parametrize("class_weight", ["balanced", {"rose": 10.0, "tulip": 0.5}])
def test_class_weights_are_those_of_scikit_learn(class_weight: Any) -> None:
    random = np.random.default_rng(0)
    y = np.array(["daisy"] * 60 + ["rose"] * 10 + ["tulip"] * 20)
    X = (random.normal(size=(90, 4)) + (y == "rose")[:, None]).astype(np.float32)
    order = random.permutation(90)
    X, y = X[order], y[order]
    head = LogisticHead(class_weight=class_weight).fit(X[:60], y[:60], (X[60:], y[60:]))
    scaler = StandardScaler().fit(X[:60])
    for tried in facts(head)["log_loss"][:2]:
        model = LogisticRegression(C=tried["C"], class_weight=class_weight, max_iter=1000)
        model.fit(scaler.transform(X[:60]), y[:60])
        weights = compute_sample_weight(class_weight, y[60:])
        held_out = model.predict_proba(scaler.transform(X[60:]))
        loss = reference_log_loss(y[60:], held_out, sample_weight=weights)
        assert tried["log_loss"] == pytest.approx(loss, rel=1e-3)
    model = LogisticRegression(C=facts(head)["C"], class_weight=class_weight, max_iter=1000)
    expected = model.fit(scaler.transform(X), y).predict_proba(scaler.transform(X))
    np.testing.assert_allclose(head.predict_proba(X), expected, atol=1e-3)


def test_balanced_labels_count_as_scikit_learn_has_it(several: tuple[np.ndarray, np.ndarray]) -> None:
    X, Y = several
    head = LogisticHead(class_weight="balanced", C=0.1).fit(X[:120], Y[:120], (X[120:], Y[120:]))
    scaler = StandardScaler().fit(X[:120])
    model = OneVsRestClassifier(LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
    model.fit(scaler.transform(X), Y[:, :2])
    expected = model.predict_proba(scaler.transform(X))
    np.testing.assert_allclose(head.predict_proba(X)[:, :2], expected, atol=1e-3)
    true, probabilities = np.asarray(head.training_.validation[0]), np.asarray(head.training_.validation[1])  # type: ignore[union-attr,index]
    weights = np.stack([compute_sample_weight("balanced", label) for label in true.T], axis=1)
    assert facts(head)["log_loss"][0]["log_loss"] == pytest.approx(log_loss(true, probabilities, weights))


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_calibrated_head_has_the_temperature_in_its_own_weights(
    several: tuple[np.ndarray, np.ndarray], multi_label: bool, tmp_path: Path
) -> None:
    X, Y = several
    y = Y if multi_label else Y[:, 0] + Y[:, 1]
    parts = (X[:60], y[:60], (X[60:], y[60:]))
    plain = LogisticHead(C=10).fit(*parts)
    calibrated = LogisticHead(C=10, calibration="temperature").fit(*parts)
    true, raw = plain.training_.validation  # type: ignore[union-attr,misc]
    temperature = fit_temperature(true, raw)
    assert temperature and temperature > 1.2
    assert facts(calibrated)["temperature"] == pytest.approx(temperature)
    assert "temperature" not in facts(plain)
    expected = tempered(plain.predict_proba(X), temperature, multi_label=multi_label)
    np.testing.assert_allclose(calibrated.predict_proba(X), expected, atol=1e-4)
    _, held_out = calibrated.training_.validation  # type: ignore[union-attr,misc]
    np.testing.assert_allclose(held_out, tempered(raw, temperature, multi_label=multi_label), atol=1e-6)
    assert log_loss(true, held_out) < log_loss(true, raw)
    calibrated.save_model(tmp_path / "head.skops")
    again = LogisticHead()
    again.load_model(tmp_path / "head.skops")
    np.testing.assert_array_equal(again.pipeline_.predict_proba(X), calibrated.pipeline_.predict_proba(X))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_layers_of_keras_give_the_same_probabilities(
    rows: tuple[np.ndarray, np.ndarray], classes: int
) -> None:
    """Of features that never vary, too, as the corners of the digits are, had they any weight."""
    few = rows[1] < classes
    head = LogisticHead(C=0.03).fit(rows[0][few], np.array(CLASSES)[rows[1][few]])
    head.pipeline_[-1].coef_ += 0.01 * np.sin(np.arange(len(head.pipeline_[-1].coef_)))[:, None]
    model = head.keras_model()
    others = rows[0][::-1] + np.float32(0.5)
    np.testing.assert_allclose(model(others), head.predict_proba(others), atol=1e-5)
    assert (model.input_shape, model.output_shape) == ((None, 64), (None, classes))


def test_layers_of_keras_for_several_labels(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """One of which all rows have, and another one none."""
    X, numbers = rows
    y = np.stack([numbers > 4, numbers % 2 == 0, numbers >= 0, numbers < 0], axis=1).astype(int)
    head = LogisticHead(C=0.03).fit(X, y)
    model, others = head.keras_model(), X[::-1] + np.float32(0.5)
    np.testing.assert_allclose(model(others), head.predict_proba(others), atol=1e-5)


def test_a_class_that_a_fold_lacks_is_balanced_by_all_train_rows(recwarn: pytest.WarningsRecorder) -> None:
    """A class of one row has no row in the fold that holds it out: no weight could balance it there."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(31, 4)).astype(np.float32), np.array([0, 1] * 15 + [2])
    head = LogisticHead(class_weight="balanced", C=0.1, calibration="temperature").fit(X, y)
    assert not [warning for warning in recwarn if "zero" in str(warning.message)]
    fold = deal(y, 5, 0)
    weights = compute_sample_weight("balanced", y)
    scaled, losses = StandardScaler().fit_transform(X), np.empty(31)
    for number in range(5):
        train = fold != number
        model = LogisticRegression(C=0.1).fit(scaled, y, sample_weight=weights * train)
        losses[~train] = -np.log(model.predict_proba(scaled[~train])[np.arange((~train).sum()), y[~train]])
    expected = np.average(losses, weights=weights)
    assert facts(head)["log_loss"][0]["log_loss"] == pytest.approx(expected, rel=1e-3)


def test_rows_of_a_group_are_held_out_together() -> None:
    """Without groups, what a patient looks like would be learned from his other images."""
    random = np.random.default_rng(0)
    patients = np.repeat(np.arange(24), 8)
    X = (random.normal(size=(24, 30))[patients] + random.normal(scale=0.1, size=(192, 30))).astype(np.float32)
    y = patients % 2
    losses = [
        facts(LogisticHead(C=1.0, calibration="temperature").fit(X, y, groups=groups))["log_loss"][0][
            "log_loss"
        ]
        for groups in (None, patients)
    ]
    assert losses[0] < 0.1 < 0.5 < losses[1]


def test_half_of_several_labels_are_enough_for_validation_to_choose(
    several: tuple[np.ndarray, np.ndarray],
) -> None:
    X, Y = several
    both = LogisticHead(C=0.1).fit(X[20:], Y[20:], (X[:20], Y[:20] * np.array([1, 0, 1], np.int8)))
    assert both.training_ is not None and both.training_.selected == ["validation"]
    assert both.thresholds_[1] == 0.5, "of which validation tells nothing"


def test_probabilities_of_several_labels_are_those_of_scikit_learn(
    several: tuple[np.ndarray, np.ndarray],
) -> None:
    X, Y = several
    head = LogisticHead(C=0.1).fit(X, Y)
    np.testing.assert_allclose(head.predict_proba(X), head.pipeline_.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("C", [float("inf"), float("nan")])
def test_C_is_a_number(C: float) -> None:
    with pytest.raises(BottleneckError, match="a logistic head expects a number above 0"):
        LogisticHead(C=C).check_parameters()


@pytest.mark.parametrize("groups", [np.zeros(20), np.arange(20) % 2 // 1])
def test_groups_that_can_not_be_kept_apart_are_not(groups: np.ndarray) -> None:
    """One group, or one for each class: to hold it out would leave nothing, or not that class, to learn."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 2
    with_groups, without = LogisticHead().fit(X, y, groups=groups), LogisticHead().fit(X, y)
    assert facts(with_groups) == facts(without)


def with_views(
    X: np.ndarray, y: np.ndarray, views: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of which each image has so many views that look like itself; and the originals."""
    image = np.repeat(np.arange(len(X)), 1 + np.array(views))
    return X[image], y[image], np.searchsorted(image, image)


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("validation", [0, 40])
def test_an_image_with_views_counts_as_much_as_one_without(
    rows: tuple[np.ndarray, np.ndarray], several: bool, class_weight: str | None, validation: int
) -> None:
    """Views that look like their images change nothing: not the scale, what is chosen, nor the model."""
    X, numbers = rows[0][: 120 + validation] + 0.0, rows[1][: 120 + validation] % 3
    y = (numbers[:, None] <= [0, 1, 2]).astype(np.int8) if several else numbers  # which all have the last of
    views = [number % 4 for number in range(120)]
    X_train, y_train, originals = with_views(X[:120], y[:120], views)
    head: dict[str, LogisticHead] = {}
    parameters: Any = {"class_weight": class_weight, "calibration": "temperature"}
    head["alone"] = LogisticHead(**parameters).fit_matrix(X.copy(), y, 120, list("abc"))
    head["views"] = LogisticHead(**parameters).fit_matrix(
        np.concatenate([X_train, X[120:]]),
        np.concatenate([y_train, y[120:]]),
        len(X_train),
        list("abc"),
        originals=originals,
    )
    tried = {name: [of["log_loss"] for of in facts(of)["log_loss"]] for name, of in head.items()}
    assert tried["views"] == pytest.approx(tried["alone"], rel=1e-3)
    assert facts(head["views"])["C"] == facts(head["alone"])["C"]
    assert facts(head["views"])["temperature"] == pytest.approx(facts(head["alone"])["temperature"], rel=1e-2)
    np.testing.assert_allclose(head["alone"].predict_proba(X), head["views"].predict_proba(X), atol=5e-3)


def test_views_of_a_held_out_image_are_neither_learned_from_nor_chosen_on(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    X, y, originals = with_views(rows[0][:30], rows[1][:30] % 2, [2] * 30)
    folds = _cross_validation(X, y, 0, None, originals)
    alone = _cross_validation(X[::3], y[::3], 0, None)
    for fold, of_images in zip(folds, alone, strict=True):
        assert fold.held_out.tolist() == (3 * of_images.held_out).tolist()
        assert fold.true.tolist() == of_images.true.tolist()
        assert fold.weights is not None and of_images.weights is not None
        assert fold.weights.tolist() == np.repeat(of_images.weights, 3).tolist()


def test_noise_that_views_share_with_their_image_is_not_learned_by_heart() -> None:
    """Labels that no feature tells: with views of one image on both sides, a large C would look best."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 40)).astype(np.float32), np.arange(60) % 2
    X, y, originals = with_views(X, y, [3] * 60)
    head = LogisticHead().fit_matrix(X.copy(), y, len(X), ["a", "b"], originals=originals)
    assert facts(head)["C"] < 0.01
    leaking = LogisticHead().fit_matrix(X.copy(), y, len(X), ["a", "b"])
    assert facts(leaking)["C"] > 0.1
