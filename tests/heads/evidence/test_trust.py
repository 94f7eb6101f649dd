from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from features import store as feature_store
from heads import train_head
from heads.evidence.answers import Answers, answers_of
from heads.evidence.images import LabelledRows, labelled_rows
from heads.evidence.trust import (
    class_intervals,
    headline,
    intervals_of,
    metrics_of,
    reliability,
    without,
    worst,
)
from heads.metrics import interval
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import CLASSES, features_of, put_table


def test_a_confidence_is_compared_with_how_often_it_is_right() -> None:
    true = np.zeros(10, int)
    confidence = np.array([0.95] * 4 + [0.65] * 6)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    probabilities[[0, 4, 5, 6]] = probabilities[[0, 4, 5, 6]][:, ::-1]
    of = reliability(true, probabilities)
    low, high = of["bins"]
    assert (low["low"], low["high"], low["count"], low["accuracy"]) == (0.6, 0.7, 6, 0.5)
    assert high["count"] == 4 and high["accuracy"] == 0.75 and high["confidence"] == pytest.approx(0.95)
    assert low["interval"] == interval(3, 6)
    assert of["calibration_error"] == pytest.approx(0.6 * 0.15 + 0.4 * 0.2)
    sure = reliability(np.array([0]), np.array([[1.0, 0.0]]))
    assert sure["bins"][0]["high"] == 1.0 and sure["calibration_error"] == 0


def test_of_several_labels_each_is_an_answer() -> None:
    of = reliability(np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.1], [0.05, 0.1]]))
    assert [(one["low"], one["count"], one["accuracy"]) for one in of["bins"]] == [
        (0.0, 1, 0.0),
        (0.1, 2, 0.0),
        (0.9, 1, 1.0),
    ]


def test_the_worst_images_are_those_whose_label_was_least_likely(images: LabelledRows) -> None:
    some = images.among(np.arange(4))
    probabilities = np.full((4, 3), 0.3)
    for row, (true, likelihood) in enumerate(zip(some.y, (0.1, 0.9, 0.02, 0.34), strict=True)):
        probabilities[row] = (1 - likelihood) / 2
        probabilities[row, true] = likelihood
    probabilities[3] = 0.33
    probabilities[3, some.y[3]] = 0.34
    found = worst(Answers(some, probabilities, ""), 5)
    assert [of["uri"] for of in found] == [some.uris[2], some.uris[0]]
    assert found[0]["label"] == some.labels[2] != found[0]["predicted"] and found[0]["probability"] == 0.02
    assert len(worst(Answers(some, probabilities, ""), 1)) == 1


def test_metrics_without_some_images(store: Path, images: LabelledRows) -> None:
    saved = train_head(store, "photos", folds=0)
    answers = answers_of(saved, images)
    wrong = answers.probabilities.argmax(axis=1) != answers.images.y
    metrics = metrics_of(saved, answers)
    assert metrics["accuracy"] == saved.facts["metrics"]["test"]["accuracy"]
    of = without(saved, answers, wrong)
    assert of is not None and of["accuracy"] == 1 and of["images"] == wrong.sum()
    assert of["count"] == (~wrong).sum() and of["accuracy_interval"][0] < 1
    assert without(saved, answers, np.ones(len(wrong), bool)) is None
    assert headline(metrics).startswith(f"{metrics['accuracy']:.1%} accuracy (")
    assert headline(metrics).endswith("on 120 images")
    several = {"hamming_loss": 0.1, "accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "count": 9}
    assert headline(several) == "all labels right for 50.0% of the images (40.0% to 60.0%) on 9 images"


def test_intervals_of_figures_are_those_of_images_drawn_again(store: Path, images: LabelledRows) -> None:
    from sklearn.metrics import f1_score

    saved = train_head(store, "photos", layers=LAYERS[0], folds=0)
    answers = answers_of(saved, images)
    true, predicted = answers.images.y, answers.probabilities.argmax(axis=1)
    random = np.random.default_rng(1)
    drawn = [random.integers(0, len(true), len(true)) for _ in range(500)]
    f1 = np.quantile([f1_score(true[d], predicted[d], average="macro") for d in drawn], [0.025, 0.975])
    loss = [log_loss(true[d], answers.probabilities[d], labels=[0, 1, 2]) for d in drawn]
    of = intervals_of(saved, answers)
    assert of["macro_f1"] == pytest.approx(f1.tolist(), abs=0.02)
    assert of["log_loss"] == pytest.approx(np.quantile(loss, [0.025, 0.975]).tolist(), abs=0.03)
    assert of["macro_f1"][0] < metrics_of(saved, answers)["macro_f1"] < of["macro_f1"][1]


def test_each_class_has_intervals_of_its_precision_and_recall(store: Path, images: LabelledRows) -> None:
    saved = train_head(store, "photos", layers=LAYERS[0], folds=0)
    answers = answers_of(saved, images)
    true, predicted = answers.images.y, answers.probabilities.argmax(axis=1)
    of = class_intervals(saved, answers)
    for number, label in enumerate(CLASSES):
        hits = int(((true == number) & (predicted == number)).sum())
        assert of[label]["recall"] == interval(hits, int((true == number).sum()))
        assert of[label]["precision"] == interval(hits, int((predicted == number).sum()))
    never = Answers(answers.images, np.tile([1.0, 0, 0], (len(true), 1)), "")
    assert class_intervals(saved, never)["rose"] == {"precision": None, "recall": interval(0, 40)}


def test_several_labels_have_intervals_of_their_figures(tmp_path: Path) -> None:
    labels = [("daisy",), ("rose",), ("daisy", "rose"), ("tulip",), ("rose", "tulip")] * 30
    splits = [("train", "train", "validation", "test", "test")[number // 5 % 5] for number in range(150)]
    put_table(tmp_path / "store", features_of(labels, scale=2.5), labels, splits)
    saved = train_head(tmp_path / "store", "photos", folds=0)
    images = labelled_rows(feature_store.open(tmp_path / "store", "photos"), CLASSES, multi_label=True)
    answers = answers_of(saved, images)
    metrics, of = metrics_of(saved, answers), intervals_of(saved, answers)
    assert of["average_precision"][0] < metrics["average_precision"]["macro"] < of["average_precision"][1]
    assert of["f1"][0] < metrics["f1"]["macro"] < of["f1"][1]
    assert of["log_loss"][0] < metrics["log_loss"] < of["log_loss"][1]
    hits = metrics["per_class"]["rose"]["recall"] * metrics["per_class"]["rose"]["support"]
    expected = interval(round(hits), metrics["per_class"]["rose"]["support"])
    assert class_intervals(saved, answers)["rose"]["recall"] == expected
