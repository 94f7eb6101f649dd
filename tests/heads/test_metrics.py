from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics

from heads.metrics import evaluate, format_metrics

CLASSES = ["daisy", "rose", "tulip", "violet"]


@pytest.fixture(scope="module")
def predictions() -> tuple[np.ndarray, np.ndarray]:
    """Fair predictions; no true violet, and nothing predicted with a probability of 0."""
    random = np.random.default_rng(0)
    true = random.integers(0, 3, 200)
    scores = random.normal(size=(200, 4)) + 1.5 * np.eye(4)[true]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return true, probabilities.astype(np.float32)


def test_figures_are_those_of_scikit_learn(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    true, probabilities = predictions
    predicted = probabilities.argmax(axis=1)
    metrics = evaluate(true, probabilities, CLASSES, majority_class="rose")
    assert metrics["count"] == 200
    assert metrics["accuracy"] == sklearn.metrics.accuracy_score(true, predicted)
    assert metrics["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(true, predicted, average="macro"))
    assert metrics["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(true, probabilities, labels=[0, 1, 2, 3]), rel=1e-5
    )
    expected = sklearn.metrics.confusion_matrix(true, predicted, labels=[0, 1, 2, 3])
    assert metrics["confusion_matrix"] == expected.tolist()
    columns = sklearn.metrics.precision_recall_fscore_support(
        true, predicted, labels=[0, 1, 2, 3], zero_division=0
    )
    for label, *row in zip(CLASSES, *columns, strict=True):
        assert list(metrics["per_class"][label].values()) == pytest.approx(row)


def test_classes_that_are_neither_true_nor_predicted_do_not_lower_the_macro_f1() -> None:
    metrics = evaluate(np.array([0, 1]), np.eye(4)[:2], CLASSES, majority_class="daisy")
    assert metrics["macro_f1"] == 1


def test_majority_baseline_is_the_share_of_the_train_majority() -> None:
    metrics = evaluate(np.array([0, 1, 1, 2]), np.eye(4), CLASSES, majority_class="rose")
    assert (metrics["majority_class"], metrics["majority_accuracy"]) == ("rose", 0.5)


def test_a_sure_error_keeps_the_log_loss_finite() -> None:
    metrics = evaluate(np.array([0]), np.array([[0, 1, 0, 0]], np.float32), CLASSES, majority_class="rose")
    assert metrics["log_loss"] == pytest.approx(15.94, abs=0.01)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [  # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval(correct: int, count: int, low: float, high: float) -> None:
    predicted = np.eye(2)[(np.arange(count) >= correct).astype(int)]
    metrics = evaluate(np.zeros(count, int), predicted, ["a", "b"], majority_class="a")
    assert metrics["accuracy_interval"] == pytest.approx([low, high], abs=5e-5)


def test_json_can_hold_them(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = evaluate(*predictions, CLASSES, majority_class="rose")
    assert json.loads(json.dumps(metrics)) == metrics


def test_shapes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected .* \(2, 4\) .* got \(2, 3\)"):
        evaluate(np.array([0, 1]), np.eye(3)[:2], CLASSES, majority_class="rose")


def test_table_of_few_classes() -> None:
    true = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    metrics = evaluate(true, np.eye(4)[predicted], CLASSES, majority_class="daisy")
    assert format_metrics(metrics).splitlines() == [
        "accuracy         66.7%   95 % interval 30.0% to 90.3%, 6 images",
        "majority class   50.0%   always answering 'daisy'",
        "macro F1         0.489",
        "log loss         5.314",
        "",
        "                                            predicted as",
        "    true class  precision  recall  images   1  2  3  4",
        "  1 daisy            0.67    0.67       3   2  1  ·  ·",
        "  2 rose             0.67    1.00       2   ·  2  ·  ·",
        "  3 tulip            0.00    0.00       1   1  ·  ·  ·",
        "  4 violet           0.00    0.00       0   ·  ·  ·  ·",
    ]


def test_of_many_classes_only_the_most_confused_are_shown() -> None:
    classes = [f"class {number:03}" for number in range(100)]
    true = np.arange(1000) % 100
    predicted = true.copy()
    predicted[true == 7] = 8
    predicted[:300:100] = 55
    text = format_metrics(evaluate(true, np.eye(100)[predicted], classes, majority_class="class 000"))
    assert text.splitlines()[5:] == [
        "100 classes; those most often taken for another:",
        "    true class    images  predicted as",
        "    class 007   10 of 10  class 008",
        "    class 000    3 of 10  class 055",
    ]


def test_of_many_classes_without_a_confusion() -> None:
    classes = [f"class {number:03}" for number in range(100)]
    text = format_metrics(evaluate(np.arange(100), np.eye(100), classes, majority_class="class 000"))
    assert text.splitlines()[5:] == ["100 classes, none taken for another"]
