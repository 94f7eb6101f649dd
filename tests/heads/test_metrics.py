from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads.metrics import evaluate, evaluate_split, format_metrics, log_loss
from tests.heads.conftest import LAYERS, approximate, narrow_table

CLASSES = ["daisy", "rose", "tulip", "violet"]


@st.composite
def fair_predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the true classes, and probabilities of them; some classes nobody has."""
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(2, 4))
    true = random.integers(0, draw(st.integers(1, classes)), rows)
    scores = random.normal(size=(rows, classes)) + draw(st.floats(0, 3)) * np.eye(classes)[true]
    return true, (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)


def sums_to_1(probabilities: np.ndarray) -> np.ndarray:
    """Without the rounding of float32, of which scikit-learn warns."""
    return probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)


@pytest.mark.filterwarnings("error")
@given(fair_predictions())
def test_figures_are_those_of_scikit_learn(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    true, probabilities = predictions
    predicted, numbers = probabilities.argmax(axis=1), list(range(probabilities.shape[1]))
    metrics = evaluate(true, probabilities, CLASSES[: len(numbers)], majority_class="rose")
    by_class = sklearn.metrics.precision_recall_fscore_support(
        true, predicted, labels=numbers, zero_division=0
    )
    names = ("precision", "recall", "f1", "support")
    low, high = metrics.pop("accuracy_interval")
    assert 0 <= low <= metrics["accuracy"] <= high <= 1
    assert metrics == approximate(
        {
            "count": len(true),
            "accuracy": float(sklearn.metrics.accuracy_score(true, predicted)),
            "majority_class": "rose",
            "majority_accuracy": float((true == 1).mean()),
            "macro_f1": float(sklearn.metrics.f1_score(true, predicted, average="macro", zero_division=0)),
            "log_loss": float(sklearn.metrics.log_loss(true, sums_to_1(probabilities), labels=numbers)),
            "per_class": {
                label: {name: scores[number].item() for name, scores in zip(names, by_class, strict=True)}
                for number, label in zip(numbers, CLASSES, strict=False)
            },
            "confusion_matrix": sklearn.metrics.confusion_matrix(true, predicted, labels=numbers).tolist(),
        }
    )
    assert json.loads(json.dumps(metrics)) == metrics


@given(fair_predictions(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_classes_changes_nothing(predictions: Any, random: Any) -> None:
    true, probabilities = predictions
    rows, order = list(range(len(true))), list(range(probabilities.shape[1]))
    random.shuffle(rows)
    random.shuffle(order)
    expected = evaluate(true, probabilities, CLASSES[: len(order)], majority_class="rose")
    labels = [CLASSES[number] for number in order]
    metrics = evaluate(
        np.argsort(order)[true][rows], probabilities[:, order][rows], labels, majority_class="rose"
    )
    assert list(metrics["per_class"]) == labels
    confusion = np.array(expected["confusion_matrix"])[order][:, order]
    assert metrics == approximate(expected | {"confusion_matrix": confusion.tolist()})


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


@pytest.mark.parametrize("count", [1, 7, 20, 1000])
def test_the_interval_does_not_leave_0_to_1(count: int) -> None:
    true = np.zeros(count, int)
    none, all_of_them = (evaluate(true, np.eye(2)[true + n], ["a", "b"], majority_class="a") for n in (1, 0))
    assert (none["accuracy_interval"][0], all_of_them["accuracy_interval"][1]) == (0, 1)
    assert "interval 0.0% to" in format_metrics(none) and "to 100.0%," in format_metrics(all_of_them)


def test_the_log_loss_of_a_sure_answer_is_finite_and_never_below_0() -> None:
    more_than_sure = np.float32(1) + np.finfo(np.float32).eps
    probabilities = np.array([[0, more_than_sure], [0.25, 0.75]], np.float32)
    assert log_loss(np.array([1]), probabilities[:1]) == 0
    assert log_loss(np.array([0]), probabilities[:1]) == pytest.approx(15.942385)
    assert log_loss(np.array([1, 0]), probabilities) == pytest.approx(np.log(4) / 2)


@pytest.mark.parametrize(("rows", "shape"), [(2, (2, 3)), (2, (1, 4)), (0, (0, 4))])
def test_shapes_that_do_not_agree_are_refused(rows: int, shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError) as caught:
        evaluate(np.zeros(rows, int), np.zeros(shape), CLASSES, majority_class="rose")
    assert str(caught.value) == (
        f"expected probabilities of shape (n, n_classes) = ({rows}, 4) with n > 0, got {shape}"
    )


class ReadsOff:
    """A head whose probabilities are the first features."""

    multi_label_ = False
    classes_ = np.array(CLASSES[:3])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        assert len(X), "no head is asked for nothing"
        return X[:, :3]


def table_of(
    store: Path, labels: Sequence[str | list[str]], splits: Sequence[str], answers: Sequence[int]
) -> FeatureTable:
    """A table whose shallower layer has the answers that are given, and the deeper one class 0."""
    features = {
        layer: np.eye(48 + 16 * number)[np.array(answers) * (1 - number)]
        for number, layer in enumerate(LAYERS)
    }
    return narrow_table(store, features, labels, splits)


FACTS = {"columns": [{"layer": LAYERS[0]}], "majority_class": "tulip"}


def measured(table: FeatureTable, split: str, **facts: Any) -> dict[str, Any]:
    return evaluate_split(ReadsOff(), FACTS | facts, table, split)  # type: ignore[arg-type]


def test_a_split_is_measured_on_the_layer_of_the_head(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, ["rose", "tulip", "tulip", [], "cactus"], ["test"] * 4 + ["train"], [1, 2, 0, 0, 0]
    )
    expected = evaluate(np.array([1, 2, 2]), np.eye(3)[[1, 2, 0]], CLASSES[:3], majority_class="tulip")
    assert measured(table, "test") == expected
    assert expected["majority_accuracy"] == 2 / 3
    with pytest.raises(BottleneckError, match="was not taught the labels 'cactus'"):
        measured(table, "train")


def test_classes_that_training_left_out_are_counted_and_not_measured(tmp_path: Path) -> None:
    labels = ["rose", "lotus", "poppy", "daisy", "lotus"]
    table = table_of(tmp_path, labels, ["test"] * 4 + ["validation"], [1, 0, 0, 1, 0])
    expected = evaluate(np.array([1, 0]), np.eye(3)[[1, 1]], CLASSES[:3], majority_class="tulip")
    left_out: dict[str, dict[str, int]] = {"lotus": {}, "poppy": {}}
    assert measured(table, "test", left_out=left_out) == expected | {"left_out": 2}
    assert measured(
        table_of(tmp_path / "other", ["rose", "daisy"], ["test"] * 2, [1, 1]), "test", left_out=left_out
    ) == (evaluate(np.array([1, 0]), np.eye(3)[[1, 1]], CLASSES[:3], majority_class="tulip"))
    with pytest.raises(BottleneckError) as caught:
        measured(table, "validation", left_out=left_out)
    assert str(caught.value) == (
        "the validation split of table 'inception_v3' has no rows to test this head on"
    )


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


def test_table_of_long_names_and_many_images() -> None:
    labels = ["a" * 24, "b" * 25, "c\n"]
    confusion = [[12345, 0, 0], [10, 1, 0], [0, 0, 0]]
    true, predicted = (np.repeat([0, 1, 1], [12345, 10, 1]), np.repeat([0, 0, 1], [12345, 10, 1]))
    metrics = evaluate(true, np.eye(3)[predicted], labels, majority_class="c\n")
    assert metrics["confusion_matrix"] == confusion
    assert format_metrics(metrics).splitlines() == [
        "accuracy         99.9%   95 % interval 99.9% to 100.0%, 12,356 images",
        "majority class    0.0%   always answering 'c\\n'",
        "macro F1         0.583",
        "log loss         0.013",
        "",
        "                                                          predicted as",
        "    true class                precision  recall  images       1      2      3",
        "  1 aaaaaaaaaaaaaaaaaaaaaaaa       1.00    1.00  12,345   12345      ·      ·",
        "  2 bbbbbbbbbbbbbbbbbbbbbbb…       1.00    0.09      11      10      1      ·",
        "  3 c\\n                            0.00    0.00       0       ·      ·      ·",
    ]


def test_numbers_of_twenty_classes_stand_apart() -> None:
    """The most that are shown one by one."""
    labels = [f"class {number}" for number in range(1, 21)]
    text = format_metrics(evaluate(np.arange(20), np.eye(20), labels, majority_class="class 1"))
    numbers = "".join(f"{number:>4}" for number in range(1, 21))
    none = "   ·"
    lines = text.splitlines()[6:]
    assert lines[0] == f"    true class  precision  recall  images {numbers}"
    assert lines[1] == f"  1 class 1          1.00    1.00       1    1{none * 19}"
    assert lines[20] == f" 20 class 20         1.00    1.00       1 {none * 19}   1"
    assert len(lines) == 21


def test_of_more_classes_the_most_confused_are_shown() -> None:
    """Twelve pairs, of which the ten most frequent; those that are as frequent by the order of classes."""
    labels = [f"class {number:02}" for number in range(20)] + ["x" * 25]
    confusion = np.diag([1000] + [1] * 20)
    confusion[0, 20], confusion[7, 3], confusion[7, 4] = 1234, 2, 3
    confusion[range(10, 19), range(11, 20)] = 1
    true, predicted = (
        np.repeat(numbers, confusion.ravel()) for numbers in np.indices((21, 21)).reshape(2, -1)
    )
    text = format_metrics(evaluate(true, np.eye(21)[predicted], labels, majority_class="class 00"))
    assert text.splitlines()[5:] == [
        "21 classes; those most often taken for another:",
        "    true class          images  predicted as",
        "    class 00    1,234 of 2,234  xxxxxxxxxxxxxxxxxxxxxxx…",
        "    class 07            3 of 6  class 04",
        "    class 07            2 of 6  class 03",
        "    class 10            1 of 2  class 11",
        "    class 11            1 of 2  class 12",
        "    class 12            1 of 2  class 13",
        "    class 13            1 of 2  class 14",
        "    class 14            1 of 2  class 15",
        "    class 15            1 of 2  class 16",
        "    class 16            1 of 2  class 17",
    ]


def test_of_more_classes_a_pair_may_be_all_there_is() -> None:
    true = np.arange(21)
    predicted = np.where(true == 20, 5, true)
    labels = [*map(str, range(20)), "some longer name"]
    text = format_metrics(evaluate(true, np.eye(21)[predicted], labels, majority_class="0"))
    assert text.splitlines()[5:] == [
        "21 classes; those most often taken for another:",
        "    true class        images  predicted as",
        "    some longer name  1 of 1  5",
    ]
    text = format_metrics(evaluate(true, np.eye(21)[true], labels, majority_class="0"))
    assert text.splitlines()[5:] == ["21 classes, none taken for another"]
