from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import heads.evidence.out_of_fold
from heads import LogisticHead
from heads.evidence.label_errors import find_confused_classes, find_label_errors, find_outliers
from heads.evidence.neighbours import Neighbours, find_neighbours
from heads.evidence.out_of_fold import chosen_C, out_of_fold, some_rows
from heads.logistic import CANDIDATES
from heads.metrics import interval
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of, features_of

pytest.importorskip("cleanlab")


def test_probabilities_are_of_images_that_were_not_seen(make_images: MakeImages) -> None:
    """Features of noise: heads that had seen them would know most of the labels."""
    random = np.random.default_rng(0)
    noise = {
        layer: random.normal(size=(90, width)).astype(np.float32)
        for layer, width in zip(LAYERS, (48, 64), strict=True)
    }
    images = make_images(classes_of(90), features=noise)
    steps: list[tuple[int, int]] = []
    probabilities = out_of_fold(images, LAYERS, progress=lambda step, of, _: steps.append((step, of)))
    assert probabilities.shape == (90, 3) and probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities.argmax(axis=1) == images.y).mean() < 0.5
    assert steps == [(number, 6) for number in range(1, 7)]


def test_each_layer_counts_as_much_and_the_same_seed_gives_the_same(make_images: MakeImages) -> None:
    images = make_images(classes_of(60))
    both = out_of_fold(images, LAYERS)
    each = [out_of_fold(images, [layer]) for layer in LAYERS]
    assert both == pytest.approx((each[0] + each[1]) / 2)
    assert (out_of_fold(images, LAYERS) == both).all()
    assert np.abs(out_of_fold(images, LAYERS, seed=1) - both).max() > 0.01


def test_images_of_a_group_say_nothing_of_each_other(make_images: MakeImages) -> None:
    """Each patient looks like himself, and labels are by chance: only groups that are torn would tell."""
    patients = np.repeat(np.arange(20), 6)
    random = np.random.default_rng(0)
    X = random.normal(size=(20, 64))[patients] + random.normal(scale=0.1, size=(120, 64))
    labels = [("daisy", "rose")[patient % 2] for patient in patients]
    images = make_images(labels, None, {LAYERS[1]: X}, groups=[f"p{patient}" for patient in patients])
    assert (out_of_fold(images, LAYERS[1:]).argmax(axis=1) == images.y).mean() < 0.75
    alone = dataclasses.replace(images, units=np.arange(120))
    assert (out_of_fold(alone, LAYERS[1:]).argmax(axis=1) == images.y).mean() > 0.9


def test_of_many_images_some_are_fitted_on(make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_images(classes_of(300))
    assert some_rows(images, 100, 0).shape == (100,) and some_rows(images, 1000, 0).tolist() == list(
        range(300)
    )
    monkeypatch.setattr(heads.evidence.out_of_fold, "MOST_FITTED", 150)
    monkeypatch.setattr(heads.evidence.out_of_fold, "_FEW", 299)
    probabilities = out_of_fold(images, LAYERS[1:])
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities.argmax(axis=1) == images.y).mean() > 0.9


def test_C_is_chosen_on_a_part_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = np.concatenate(list(features_of(classes_of(90)).values()), axis=1), np.arange(90) % 3
    seen: list[int] = []

    def fit(head: LogisticHead, X: np.ndarray, y: np.ndarray, *_: Any) -> LogisticHead:
        seen.append(len(X))
        return head.fit(X, y)

    monkeypatch.setattr(heads.evidence.out_of_fold, "_MOST_CHOOSING", 30)
    monkeypatch.setattr(heads.evidence.out_of_fold, "fit_anew", fit)
    assert chosen_C(X, y, ["a", "b", "c"]) in CANDIDATES and seen == [30]


def test_exchanged_labels_are_named_first(make_images: MakeImages) -> None:
    images = make_images(classes_of(120), features=features_of(classes_of(120), scale=0.5))
    y = images.y.copy()
    wrong = [7, 40, 88]
    y[wrong] = (y[wrong] + 1) % 3
    exchanged = dataclasses.replace(images, y=y)
    found = find_label_errors(exchanged, out_of_fold(exchanged, LAYERS), 5)
    assert {of["uri"] for of in found["images"][:3]} == {images.uris[number] for number in wrong}
    first = found["images"][0]
    number = images.uris.index(first["uri"])
    assert first["suggested"] == images.classes[images.y[number]] and first["split"] == images.splits[number]
    assert first["probability"] < 0.3 < first["suggested_probability"]
    assert len(found["images"]) == 5 and 2 <= found["count"] <= 6


def test_a_class_that_nothing_else_has_is_not_judged(make_images: MakeImages) -> None:
    images = make_images([*classes_of(60), "weed"])
    found = find_label_errors(images, out_of_fold(images, LAYERS), 61)
    assert len(found["images"]) == 60 and all(of["label"] != "weed" for of in found["images"])


def test_wrong_ones_of_several_labels_are_named(make_images: MakeImages) -> None:
    labels = [("daisy",), ("rose",), ("daisy", "rose"), ("tulip",), ("rose", "tulip")] * 24
    images = make_images(labels, features=features_of(labels, scale=0.3))
    y = images.y.copy()
    y[[5, 50]] = 1 - y[[5, 50]]
    exchanged = dataclasses.replace(images, y=y)
    found = find_label_errors(exchanged, out_of_fold(exchanged, LAYERS), 4)
    assert {of["uri"] for of in found["images"][:2]} == {images.uris[5], images.uris[50]}
    suggested = {of["uri"]: of["suggested"] for of in found["images"]}
    assert suggested[images.uris[5]] == images.labels[5]
    assert find_confused_classes(images, out_of_fold(images, LAYERS), 4) == []


def test_outliers_are_far_from_all_their_neighbours(make_images: MakeImages) -> None:
    features = features_of(classes_of(60))
    features[LAYERS[1]][9] = -features[LAYERS[1]].mean(axis=0) * 5
    images = make_images(classes_of(60), ["train"] * 60, features)
    found = find_outliers(images, find_neighbours(images, LAYERS[1:]), 3)
    assert found[0]["uri"] == images.uris[9] and len(found) == 3
    distances = [of["distance"] for of in found]
    assert distances == sorted(distances, reverse=True) and distances[0] > 1
    neighbours = Neighbours(np.array([[1, -1]]), np.array([[0.5, -np.inf]], np.float32), exact=False)
    assert find_outliers(images.among(np.array([0])), neighbours, 3)[0]["distance"] == 0.5


def test_classes_that_features_cannot_tell_apart_are_named(make_images: MakeImages) -> None:
    labels = ["daisy", "rose", "tulip"] * 40
    X = features_of(["daisy" if label == "rose" else label for label in labels], scale=0.5)
    images = make_images(labels, ["train"] * 120, X)
    first, *others = find_confused_classes(images, out_of_fold(images, LAYERS), 3)
    assert first["classes"] == ["daisy", "rose"] and first["indistinguishable"] and first["images"] == 80
    assert 0.3 < first["wrong"] < 0.7 and not any(of["indistinguishable"] for of in others)


def test_of_a_pair_it_is_asked_which_of_the_two_an_image_is(make_images: MakeImages) -> None:
    images = make_images(classes_of(9), ["train"] * 9)
    probabilities = np.full((9, 3), 0.1)
    probabilities[np.arange(9), images.y] = 0.6
    probabilities[images.y == 0] = [[0.3, 0.2, 0.5]] * 3  # tulips rather than daisies, but no roses
    (pair,) = find_confused_classes(images, probabilities, 9)
    assert pair["classes"] == ["daisy", "tulip"] and pair["wrong"] == 0.5 and pair["images"] == 6
    assert pair["interval"] == interval(3, 6) and pair["indistinguishable"]
