from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference

from heads.metrics import format_metrics
from heads.multi_label import evaluate_labels
from heads.probabilities import log_loss

CLASSES = ["bird", "cat", "dog", "unseen"]
TRUE = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
PROBABILITIES = np.array(
    [
        [0.9, 0.2, 0.1, 0.1],
        [0.6, 0.3, 0.6, 0.2],
        [0.2, 0.8, 0.7, 0.1],
        [0.7, 0.1, 0.9, 0.6],
        [0.4, 0.2, 0.8, 0.3],
        [0.1, 0.1, 0.2, 0.1],
    ]
)
THRESHOLDS = np.array([0.5, 0.25, 0.5, 0.5])


def test_figures_are_those_of_scikit_learn() -> None:
    found = evaluate_labels(TRUE, PROBABILITIES, CLASSES, thresholds=THRESHOLDS)
    predicted = PROBABILITIES >= THRESHOLDS
    assert found["count"] == 6
    assert found["accuracy"] == reference.accuracy_score(TRUE, predicted) == 3 / 6
    interval = binomtest(3, 6).proportion_ci(method="wilson")
    assert found["accuracy_interval"] == [interval.low, interval.high]
    assert found["hamming_loss"] == pytest.approx(reference.hamming_loss(TRUE, predicted))
    assert found["log_loss"] == log_loss(TRUE, PROBABILITIES)
    assert found["average_precision"] == pytest.approx(
        {
            "micro": reference.average_precision_score(TRUE, PROBABILITIES, average="micro"),
            "macro": reference.average_precision_score(TRUE[:, :3], PROBABILITIES[:, :3], average="macro"),
        }
    )
    assert found["f1"] == pytest.approx(
        {
            "micro": reference.f1_score(TRUE, predicted, average="micro"),
            "macro": reference.f1_score(TRUE[:, :3], predicted[:, :3], average="macro"),
        }
    )
    scores = reference.precision_recall_fscore_support(TRUE, predicted, zero_division=0)
    for number, label in enumerate(CLASSES):
        of_label = found["per_class"][label]
        precision, recall, f1, support = (float(score[number]) for score in scores)
        assert of_label["threshold"] == THRESHOLDS[number]
        assert [of_label[name] for name in ("precision", "recall", "f1", "support")] == pytest.approx(
            [precision, recall, f1, support]
        )
    assert found["per_class"]["cat"]["average_precision"] == 1
    assert found["per_class"]["unseen"]["average_precision"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_probability_at_its_threshold_gives_the_label() -> None:
    found = evaluate_labels(
        np.array([[1, 1]]), np.array([[0.5, 0.4]]), ["a", "b"], thresholds=np.array([0.5, 0.5])
    )
    assert [found["per_class"][label]["recall"] for label in "ab"] == [1, 0]


@pytest.mark.parametrize(
    ("true", "probabilities"),
    [
        (np.zeros((2, 4), int), np.zeros((2, 4))),
        (np.ones((2, 3), int), np.zeros((2, 3))),
        (np.ones((2, 4), int), np.zeros((3, 4))),
        (np.empty((0, 4), int), np.empty((0, 4))),
    ],
)
def test_shapes_that_do_not_agree_and_no_labels_are_refused(
    true: np.ndarray, probabilities: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"expected 0 and 1, and probabilities, of shape \(n, 4\)"):
        evaluate_labels(true, probabilities, CLASSES, thresholds=THRESHOLDS)


def test_the_table_for_people() -> None:
    text = format_metrics(evaluate_labels(TRUE, PROBABILITIES, CLASSES, thresholds=THRESHOLDS))
    assert text.splitlines() == [
        "average precision   0.935   macro; micro 0.858",
        "F1                  0.841   macro; micro 0.778",
        "all labels right    50.0%   95 % interval 18.8% to 81.2%, 6 images",
        "Hamming loss        0.167   share of the labels that are wrong",
        "log loss            0.370",
        "",
        "    label  average precision    F1  precision  recall  threshold  images",
        "    bird               0.806  0.67       0.67    0.67      0.500       3",
        "    cat                1.000  1.00       1.00    1.00      0.250       2",
        "    dog                1.000  0.86       0.75    1.00      0.500       3",
    ]


def test_of_many_labels_the_worst_are_shown() -> None:
    random = np.random.default_rng(0)
    classes = [f"label {number:02}" for number in range(40)]
    true = random.integers(2, size=(30, 40))
    metrics = evaluate_labels(true, random.random((30, 40)), classes, thresholds=np.full(40, 0.5))
    lines = format_metrics(metrics).splitlines()
    assert lines[6] == "the 30 of 40 labels with the lowest average precision:"
    shown = [line.split("  ")[2].strip() for line in lines[8:]]
    worst = sorted(classes, key=lambda label: metrics["per_class"][label]["average_precision"])
    assert shown == worst[:30]


def test_labels_that_other_thresholds_gave_have_none_of_their_own() -> None:
    others = np.zeros_like(TRUE)
    found = evaluate_labels(TRUE, PROBABILITIES, CLASSES, thresholds=THRESHOLDS, predicted=others)
    assert {label: of["threshold"] for label, of in found["per_class"].items()} == dict.fromkeys(CLASSES)
    assert found["per_class"]["cat"]["recall"] == 0 and found["accuracy"] == 1 / 6
    assert format_metrics(found).splitlines()[-1].endswith("    0.00          ·       3")
