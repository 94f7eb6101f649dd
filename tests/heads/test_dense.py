from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss

from features.errors import BottleneckError
from heads import DenseHead
from heads.base import Training
from heads.dense import Moments, Stream, _batch_size, _stream_of, moments
from heads.probabilities import fit_temperature, fit_thresholds, tempered
from heads.probabilities import log_loss as our_log_loss
from heads.shares import hold_out
from tests.heads.conftest import facts

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def noisy() -> Rows:
    """40 rows of two classes: one feature tells them apart, badly, and of the others there are too many."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(40, 8)).astype(np.float32), np.arange(40) % 2
    X[:, 0] += y
    return X, y


class Recorded:
    """Rows in memory as a stream that remembers how it was asked for."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.stream = _stream_of(X, y)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, **options: Any) -> Any:
        self.asked.append(options)
        return self.stream(**options)


#: Of four features and three classes.
SEEN = Moments(np.arange(4, dtype=np.float32), np.full(4, 2, np.float32), np.array([5, 3, 2]), 10, False)


def built(**parameters: Any) -> tuple[keras.Model, keras.Model]:
    """The model for four features and three classes, and the one that is trained."""
    return DenseHead(**parameters)._build(SEEN)


def described(model: keras.Model) -> list[tuple[str, dict[str, Any]]]:
    """Its layers, and what of them a head decides."""
    decided = ("mean", "variance", "rate", "noise_shape", "seed", "units", "activation")
    configs = [(type(layer).__name__, layer.get_config()) for layer in model.layers]
    return [(name, {key: config[key] for key in decided if key in config}) for name, config in configs]


NORMALIZATION = ("Normalization", {"mean": [0, 1, 2, 3], "variance": [2, 2, 2, 2]})


def test_the_layers() -> None:
    model, training = built(dropout=0.3, seed=7)
    assert described(model) == [
        NORMALIZATION,
        ("Dropout", {"rate": 0.3, "noise_shape": (1, 4), "seed": 7}),
        ("Dense", {"units": 3, "activation": "softmax"}),
    ]
    assert (model.name, model.input_shape) == ("head", (None, 4))
    assert not np.asarray(model.layers[-1].kernel).any(), "what was never learned has no say"
    assert [type(layer).__name__ for layer in training.layers] == ["FoldedDense"]
    assert training.layers[0].dropout is model.layers[1] and training.layers[0].dense is model.layers[2]


def test_the_layers_with_a_hidden_one() -> None:
    model, training = built(dropout=0.3, seed=7, hidden=5)
    assert described(model) == [
        NORMALIZATION,
        ("Dropout", {"rate": 0.3, "noise_shape": (1, 4), "seed": 8}),
        ("Dense", {"units": 5, "activation": "relu"}),
        ("Dropout", {"rate": 0.3, "noise_shape": (1, 5), "seed": 7}),
        ("Dense", {"units": 3, "activation": "softmax"}),
    ]
    kernels = [np.asarray(layer.kernel) for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    np.testing.assert_array_equal(kernels[0], keras.initializers.GlorotUniform(8)((4, 5)))
    assert not kernels[1].any()
    assert training.layers[0].dropout is model.layers[1] and training.layers[0].dense is model.layers[2]
    assert training.layers[1:] == model.layers[3:]


def test_what_is_trained_computes_what_the_model_does() -> None:
    model, training = built(hidden=5)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    model.layers[-1].set_weights([np.random.default_rng(1).normal(size=(5, 3)), np.arange(3)])
    np.testing.assert_allclose(training(x), model(x), atol=1e-5)


def test_the_optimizer() -> None:
    _, training = built(learning_rate=0.02, weight_decay=0.4)
    config = training.get_compile_config()
    optimizer = config["optimizer"]["config"]
    assert config["optimizer"]["class_name"] == "AdamW"
    assert (optimizer["learning_rate"], optimizer["weight_decay"]) == (pytest.approx(0.02), 0.4)
    assert (config["loss"], config["metrics"]) == ("sparse_categorical_crossentropy", ["accuracy"])
    assert config["jit_compile"] is False


def test_a_stream_is_read_in_another_order_at_each_epoch(
    noisy: Rows, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    train, validation = Recorded(*noisy), Recorded(*noisy)
    steps: list[tuple[int, int, dict[str, float]]] = []
    head = DenseHead(epochs=2, seed=3).fit_stream(
        train, validation, ["a", "b"], lambda *step: steps.append(step)
    )
    assert train.asked[0] == {"batch_size": 1}, "to count them"
    assert train.asked[1].keys() == {"batch_size"}, "mean and variance"
    assert train.asked[2:] == [{"batch_size": 32, "shuffle": True, "seed": 3}]
    assert validation.asked == [{"batch_size": 32}]
    assert [step[:2] for step in steps] == [(1, 2), (2, 2)]
    assert {name for *_, figures in steps for name in figures} == {
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
    }
    losses = [figures["val_loss"] for *_, figures in steps]
    assert facts(head) == {
        "epochs": int(np.argmin(losses)) + 1,
        "epochs_run": 2,
        "batch_size": 32,
        "chosen_by": "validation",
    }
    assert head.training_ is not None and head.training_[1:] == (["train"], ["validation"], None)
    assert (head.classes_.tolist(), head.n_features_in_) == (["a", "b"], 8)
    scale = head.model_.layers[0]
    np.testing.assert_allclose(np.ravel(scale.mean), noisy[0].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(np.ravel(scale.variance), noisy[0].var(axis=0), rtol=1e-5)
    assert capfd.readouterr().out == "", "Keras stays silent"
    assert [str(warning.message) for warning in recwarn if "keras" in warning.filename] == []


def test_a_batch_is_a_hundredth_of_the_rows_within_bounds() -> None:
    rows = {1: 32, 3299: 32, 3300: 33, 102399: 1023, 102400: 1024, 10**6: 1024}
    assert {number: _batch_size(number) for number in rows} == rows


def test_without_validation_all_epochs_are_made(noisy: Rows) -> None:
    train = Recorded(*noisy)
    head = DenseHead(epochs=3, patience=1, batch_size=16).fit_stream(train, None, ["a", "b"])
    assert train.asked[2]["batch_size"] == 16
    assert facts(head) == {
        "epochs": 3,
        "epochs_run": 3,
        "batch_size": 16,
        "chosen_by": "no validation images: all epochs",
    }
    assert head.training_ is not None and head.training_[1:] == (["train"], [], None)


def test_the_best_epoch_is_kept(noisy: Rows) -> None:
    """The rows are soon learned by heart."""
    X, y = noisy
    steps: list[dict[str, float]] = []
    head = DenseHead(epochs=40, patience=3, learning_rate=0.1, dropout=0, weight_decay=0, hidden=8)
    head.fit_matrix(X, y, 20, ["a", "b"], lambda step, steps_, figures: steps.append(figures))
    losses = [figures["val_loss"] for figures in steps]
    best = int(np.argmin(losses))
    assert (facts(head)["epochs"], facts(head)["epochs_run"]) == (best + 1, best + 1 + 3)
    assert best > 0 and len(steps) == best + 4 < 40
    assert log_loss(y[20:], head.predict_proba(X[20:])) == pytest.approx(losses[best], rel=1e-4)
    assert losses[-1] > 1.01 * losses[best]


def test_callbacks_of_keras_are_called_for_rows_in_memory_too(noisy: Rows) -> None:
    from keras.callbacks import LambdaCallback

    X, y = noisy
    epochs: list[int] = []
    callback = LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    DenseHead(epochs=2).fit_matrix(X, y, 20, ["a", "b"], callbacks=[callback])
    assert epochs == [0, 1]


def test_the_seed_decides(noisy: Rows) -> None:
    X, y = noisy
    heads = [DenseHead(epochs=1, batch_size=8, seed=seed).fit(X, y, (X, y)) for seed in (0, 0, 1)]
    first, again, other = (head.predict_proba(X) for head in heads)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | None]:
    """The features of train and validation that `fit_stream` gets, which does nothing with them."""
    parts: list[np.ndarray | None] = []

    def fit_stream(head: DenseHead, train: Stream, validation: Stream | None, *rest: Any) -> None:
        for stream in (train, validation):
            batches = stream(batch_size=7).as_numpy_iterator() if stream else []
            parts.append(np.concatenate([X for X, _ in batches]) if stream else None)
        head.training_ = Training({"epochs": 3}, ["train"], ["validation"] if validation else [])

    monkeypatch.setattr(DenseHead, "fit_stream", fit_stream)
    return parts


def test_a_tenth_of_each_class_is_cut_off_for_validation(noisy: Rows, streamed: list) -> None:
    X, y = noisy
    y = np.append(y[:-1], 2)  # of which there is but one: it stays in train
    head = DenseHead(seed=2).fit(X, y)
    held_out = hold_out(y, 10, seed=2)
    assert held_out.sum() == 4
    np.testing.assert_array_equal(streamed[0], X[~held_out])
    np.testing.assert_array_equal(streamed[1], X[held_out])
    assert head.training_ == Training({"epochs": 3, "chosen_by": "a part of train"}, ["train"], ["train"])


def test_rows_of_a_group_are_cut_off_together(noisy: Rows, streamed: list) -> None:
    X, y = noisy
    groups = np.arange(40) // 4
    DenseHead(seed=2).fit(X, y, groups=groups)
    np.testing.assert_array_equal(streamed[1], X[hold_out(y, 10, 2, groups)])
    assert len(streamed[1]) % 4 == 0


def test_a_training_that_diverges_is_no_head(noisy: Rows) -> None:
    with pytest.raises(BottleneckError) as refusal:
        DenseHead(learning_rate=1e38, epochs=2).fit(*noisy)
    assert str(refusal.value) == ("training diverged, no epoch has a finite loss: lower learning_rate, 1e+38")


def test_of_classes_of_one_row_nothing_is_cut_off(streamed: list) -> None:
    head = DenseHead().fit(np.eye(3), ["a", "b", "c"])
    assert streamed[1] is None and len(streamed[0]) == 3
    assert head.training_ == Training({"epochs": 3}, ["train"], [])


def test_validation_that_is_given_is_taken(noisy: Rows, streamed: list) -> None:
    X, y = noisy
    head = DenseHead().fit(X, y, (X[:4] + 1, y[:4]))
    np.testing.assert_array_equal(streamed[0], X)
    np.testing.assert_array_equal(streamed[1], X[:4] + 1)
    assert head.training_ == Training({"epochs": 3}, ["train"], ["validation"])


def test_more_features_than_rows_are_no_noise(noisy: Rows) -> None:
    """Features that never varied in train have no say: they would, with random weights to begin with."""
    X = np.c_[noisy[0], np.zeros((40, 50), np.float32)]
    head = DenseHead(epochs=2).fit(X, noisy[1])
    other = X + np.r_[np.zeros(8), np.random.default_rng(0).normal(size=50)].astype(np.float32)
    np.testing.assert_allclose(head.predict_proba(other), head.predict_proba(X), atol=1e-6)
    assert np.ptp(head.predict_proba(X)) > 0.01


def test_it_is_layers_of_keras_as_it_is(noisy: Rows) -> None:
    head = DenseHead(epochs=1).fit(*noisy)
    assert head.keras_model() is head.model_


def test_the_saved_model_is_all_there_is(tmp_path: Path) -> None:
    """It normalizes by itself, and drops nothing."""
    head = DenseHead(hidden=3)
    head.model_, _ = built(hidden=3, dropout=0.5)
    head.model_.layers[-1].set_weights([np.random.default_rng(0).normal(size=(3, 3)), np.zeros(3)])
    head.save_model(tmp_path / "head.keras")
    again = DenseHead()
    again.load_model(tmp_path / "head.keras")
    X = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(again._probabilities(X), head._probabilities(X))
    np.testing.assert_allclose(
        keras.saving.load_model(tmp_path / "head.keras").predict(X, verbose=0),
        head._probabilities(X),
        atol=1e-6,
    )
    assert np.ptp(head._probabilities(X), axis=0).min() > 0.01


@pytest.mark.parametrize("batch_size", [1, 7, 40, 100])
def test_moments_are_those_of_all_rows(noisy: Rows, batch_size: int) -> None:
    X = noisy[0] * 3 + 5
    seen = moments(_stream_of(X, noisy[1])(batch_size=batch_size).as_numpy_iterator(), 3)
    mean, variance = seen.mean, seen.variance
    assert (seen.rows, seen.counts.tolist(), seen.multi_label) == (
        len(X),
        np.bincount(noisy[1], minlength=3).tolist(),
        False,
    )
    assert (mean.dtype, variance.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(mean, X.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(variance, X.var(axis=0, dtype=np.float64), rtol=1e-5)


def test_a_feature_that_as_good_as_never_varies_does_not_drown_the_others() -> None:
    """It has to vary by a ten-thousandth of its mean."""
    deviations = np.array([0, 0.01, 0.29, 0.31, 0.01])
    X = np.array([[3, 3000, 3000, -3000, 0]]) + np.outer([1, -1] * 4, deviations)
    y = np.zeros(len(X), int)
    seen = moments([(X[:3], y[:3]), (X[3:], y[3:])], 1)
    np.testing.assert_allclose(seen.mean, [3, 3000, 3000, -3000, 0], atol=1e-5)
    np.testing.assert_allclose(seen.variance, [1, 1, 1, 0.31**2, 0.01**2], rtol=1e-4)


def batches(stream: Stream, **options: Any) -> list[tuple[list[float], list[int]]]:
    return [(X.ravel().tolist(), y.tolist()) for X, y in stream(**options).as_numpy_iterator()]


def test_rows_in_memory_are_a_stream() -> None:
    stream = _stream_of(np.arange(5, dtype=np.float32)[:, None], np.arange(5) + 10)
    assert batches(stream, batch_size=2) == [([0, 1], [10, 11]), ([2, 3], [12, 13]), ([4], [14])]
    assert stream(batch_size=2).cardinality() == 3
    data = stream(batch_size=5, shuffle=True, seed=4)
    for epoch in range(2):  # with a seed for each
        ((X, y),) = data.as_numpy_iterator()
        assert X.ravel().tolist() == np.random.default_rng(4 + epoch).permutation(5).tolist()
        assert (y - X.ravel()).tolist() == [10] * 5
    of_seed_0 = np.random.default_rng(0).permutation(5).tolist()
    assert batches(stream, batch_size=5, shuffle=True)[0][0] == of_seed_0


MESSAGES: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: 0}, f"{name} is 0, and a dense head expects 1 or more")
        for name in ("batch_size", "epochs", "patience")
    ),
    *(
        ({name: -1}, f"{name} is -1, and a dense head expects 0 or more")
        for name in ("hidden", "dropout", "weight_decay")
    ),
    ({"weight_decay": float("nan")}, "weight_decay is nan, and a dense head expects 0 or more"),
    ({"dropout": 1.0}, "a dense head expects dropout < 1 and learning_rate > 0, not 1.0 and 0.001"),
    ({"learning_rate": 0.0}, "a dense head expects dropout < 1 and learning_rate > 0, not 0.2 and 0.0"),
]


@pytest.mark.parametrize(("parameters", "message"), MESSAGES)
@pytest.mark.parametrize(
    "fit",
    [lambda head: head.fit([], []), lambda head: head.fit_stream(None, None, [])],
    ids=["arrays", "stream"],
)
def test_parameters_out_of_range_are_refused_before_anything_is_read(
    parameters: dict[str, Any], message: str, fit: Callable[[DenseHead], Any]
) -> None:
    with pytest.raises(BottleneckError) as caught:
        fit(DenseHead(**parameters))
    assert str(caught.value) == message


def test_the_least_of_each_parameter_is_accepted() -> None:
    DenseHead(hidden=0, dropout=0, weight_decay=0, batch_size=1, epochs=1, patience=1).check_parameters()
    DenseHead(dropout=0.99, batch_size=None, learning_rate=1e-9).check_parameters()


@pytest.fixture(scope="module")
def several() -> Rows:
    """120 rows of 8 features that show two labels, with some noise: half of them, and a quarter."""
    random = np.random.default_rng(0)
    Y = np.stack([np.arange(120) % 2, np.arange(120) % 4 == 0], axis=1).astype(np.int8)
    return (Y @ random.normal(size=(2, 8)) + random.normal(size=(120, 8))).astype(np.float32), Y


SEVERAL_SEEN = SEEN._replace(counts=np.array([4, 1]), multi_label=True)


def loss_of(head: DenseHead, seen: Moments, y: Any, probabilities: Any) -> float:
    """What a model that says these probabilities is told of its loss."""
    head.classes_ = np.arange(len(seen.counts))
    model = keras.Sequential([keras.Input((len(seen.counts),)), keras.layers.Identity()])
    head.compile(model, seen)
    return model.evaluate(np.float32(probabilities), np.asarray(y), verbose=0, batch_size=len(y))[0]


def test_several_labels_have_a_sigmoid_each() -> None:
    model, training = DenseHead(hidden=3)._build(SEVERAL_SEEN)
    assert [name for name, _ in described(model)][-2:] == ["Dropout", "Dense"]
    assert described(model)[-1][1] == {"units": 2, "activation": "sigmoid"}
    assert training.get_compile_config()["metrics"] == ["binary_accuracy"]
    y, p = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[0.9, 0.2], [0.3, 0.4], [0.5, 0.6]])
    assert loss_of(DenseHead(), SEVERAL_SEEN, y, p) == pytest.approx(our_log_loss(y, p), rel=1e-5)


def test_several_labels_are_learned_with_thresholds_of_validation(several: Rows) -> None:
    X, Y = several
    head = DenseHead(epochs=30, learning_rate=0.05).fit(X[:60], Y[:60], (X[60:90], Y[60:90]))
    assert head.multi_label_ and head.predict_proba(X).shape == (120, 2)
    expected = fit_thresholds(Y[60:90], head.predict_proba(X[60:90]))
    np.testing.assert_allclose(head.thresholds_, expected, atol=1e-6)
    assert head.predict(X).tolist() == (head.predict_proba(X) >= head.thresholds_).tolist()
    assert (head.predict(X[90:]) == Y[90:]).mean() > 0.8
    alone = DenseHead(epochs=1).fit(X[:2], Y[:2])
    assert alone.thresholds_.tolist() == [0.5, 0.5], "nothing is held out"


def test_balanced_classes_count_as_much() -> None:
    y, p = np.array([0, 1, 2]), np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
    weights = SEEN.rows / (3 * SEEN.counts)
    expected = -np.mean(weights * np.log([0.7, 0.3, 0.6]))
    assert loss_of(DenseHead(class_weight="balanced"), SEEN, y, p) == pytest.approx(expected, rel=1e-5)
    given = -np.mean([1, 4, 0.5] * np.log([0.7, 0.3, 0.6]))
    head = DenseHead(class_weight={1: 4.0, 2: 0.5})
    assert loss_of(head, SEEN, y, p) == pytest.approx(given, rel=1e-5)
    with pytest.raises(BottleneckError, match="class_weight names 'rose', which no row is labelled"):
        loss_of(DenseHead(class_weight={"rose": 2.0}), SEEN, y, p)


def test_having_a_label_and_not_having_it_count_as_much() -> None:
    y, p = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[0.9, 0.2], [0.3, 0.4], [0.5, 0.6]])
    having, missing = 10 / (2 * np.array([4, 1])), 10 / (2 * np.array([6, 9]))
    expected = our_log_loss(y, p, np.where(y, having, missing)) * np.where(y, having, missing).mean()
    found = loss_of(DenseHead(class_weight="balanced"), SEVERAL_SEEN, y, p)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_calibrated_head_has_the_temperature_in_its_last_layer(several: Rows, multi_label: bool) -> None:
    X, Y = several
    y = Y if multi_label else Y[:, 0]
    parts = (X[:60], y[:60], (X[60:], y[60:]))
    options: dict[str, Any] = {"epochs": 40, "learning_rate": 0.3, "patience": 40, "weight_decay": 0.0}
    plain, calibrated = (DenseHead(calibration=how, **options).fit(*parts) for how in (None, "temperature"))
    temperature = fit_temperature(y[60:], plain.predict_proba(X[60:]))
    assert temperature and facts(calibrated)["temperature"] == pytest.approx(temperature, rel=1e-3)
    assert abs(temperature - 1) > 0.05 and "temperature" not in facts(plain)
    expected = tempered(plain.predict_proba(X), temperature, multi_label=multi_label)
    np.testing.assert_allclose(calibrated.predict_proba(X), expected, atol=1e-3)


def test_moments_of_several_labels() -> None:
    X = np.arange(6, dtype=np.float32)[:, None]
    y = np.array([[1, 0], [1, 1], [0, 0], [1, 0], [0, 0], [0, 1]], np.int8)
    seen = moments([(X[:4], y[:4]), (X[4:], y[4:])], 2)
    assert (seen.counts.tolist(), seen.rows, seen.multi_label) == ([3, 2], 6, True)


def test_views_of_images_that_are_cut_off_are_not_used(noisy: Rows, streamed: list) -> None:
    """The same images are cut off as without views."""
    X, y = noisy
    image = np.repeat(np.arange(40), 3)
    originals = np.searchsorted(image, image)
    features = X[image].astype(np.float32) + (np.arange(120, dtype=np.float32) % 3)[:, None]
    DenseHead(seed=2).fit_matrix(features, y[image], 120, ["a", "b"], originals=originals)
    held_out = hold_out(y, 10, seed=2)
    np.testing.assert_array_equal(streamed[0], features[~held_out[image]])
    np.testing.assert_array_equal(streamed[1], features[::3][held_out])


def test_views_of_train_rows_leave_given_validation_rows_alone(noisy: Rows, streamed: list) -> None:
    X, y = noisy
    DenseHead().fit_matrix(X, y, 30, ["a", "b"], originals=np.arange(30) // 2 * 2)
    np.testing.assert_array_equal(streamed[0], X[:30])
    np.testing.assert_array_equal(streamed[1], X[30:])
