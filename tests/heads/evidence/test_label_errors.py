from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import heads.evidence.label_errors
from heads.evidence.label_errors import find_confused_classes, find_label_errors, find_outliers
from heads.evidence.neighbours import Neighbours, find_neighbours
from heads.evidence.out_of_fold import out_of_fold
from heads.metrics import interval
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of, features_of

pytest.importorskip("cleanlab")


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
    assert 3 <= len(found["images"]) <= 5 and 2 <= found["count"] <= 6
    given = dict(zip(images.uris, y, strict=True))
    assert all(of["suggested"] != images.classes[given[of["uri"]]] for of in found["images"])


def test_a_class_that_nothing_else_has_is_not_judged(make_images: MakeImages) -> None:
    images = make_images([*classes_of(60), "weed"])
    found = find_label_errors(images, out_of_fold(images, LAYERS), 61)
    named = {of["uri"] for of in found["images"]}
    y = np.where(images.y == 3, 0, (images.y + 1) % 3)
    wrong = dataclasses.replace(images, y=np.where(images.y == 3, 3, y))
    of_wrong = find_label_errors(wrong, out_of_fold(images, LAYERS), 61)["images"]
    assert len(named) < 60 and len(of_wrong) > 40 and all(of["label"] != "weed" for of in of_wrong)


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
    assert found["count"] is None, "cleanlab's count of several labels is of no use"
    assert find_confused_classes(images, out_of_fold(images, LAYERS), 4) is None


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
    first, *others = find_confused_classes(images, out_of_fold(images, LAYERS), 3) or []
    assert first["classes"] == ["daisy", "rose"] and first["indistinguishable"] and first["images"] == 80
    assert 0.3 < first["wrong"] < 0.7 and not any(of["indistinguishable"] for of in others)


def test_of_a_pair_it_is_asked_which_of_the_two_an_image_is(make_images: MakeImages) -> None:
    images = make_images(classes_of(9), ["train"] * 9)
    probabilities = np.full((9, 3), 0.1)
    probabilities[np.arange(9), images.y] = 0.6
    probabilities[images.y == 0] = [[0.3, 0.2, 0.5]] * 3  # tulips rather than daisies, but no roses
    (pair,) = find_confused_classes(images, probabilities, 9) or []
    assert pair["classes"] == ["daisy", "tulip"] and pair["wrong"] == 0.5 and pair["images"] == 6
    (low, _), (_, high) = interval(3, 3), interval(0, 3)
    assert pair["interval"] == pytest.approx([0.5 - (1 - low) / 2, 0.5 + high / 2])
    assert not pair["indistinguishable"], "three images can't tell"


def test_of_few_images_of_a_class_nothing_is_claimed_and_both_classes_count(make_images: MakeImages) -> None:
    """One of three wrong, beside 497 that are right, is one of six and not one of 500."""
    images = make_images(["daisy"] * 497 + ["rose"] * 3, ["train"] * 500)
    probabilities = np.where(images.y[:, None] == np.arange(2), 0.9, 0.1)
    probabilities[-1] = [0.9, 0.1]
    (pair,) = find_confused_classes(images, probabilities, 9) or []
    assert pair["wrong"] == pytest.approx(1 / 6) and not pair["indistinguishable"]


def test_a_class_of_one_group_is_not_said_to_be_like_others(make_images: MakeImages) -> None:
    """Out of fold nobody could learn it: that says nothing of its features."""
    labels = ["daisy", "rose"] * 30 + ["weed"] * 15
    groups = [*([None] * 60), *["g"] * 15]
    images = make_images(labels, ["train"] * 75, features_of(labels, scale=0.3), groups=groups)
    pairs = find_confused_classes(images, out_of_fold(images, LAYERS), 9) or []
    assert not any("weed" in pair["classes"] for pair in pairs)


def test_an_image_whose_label_is_the_likeliest_is_passed_over_and_not_the_end(
    make_images: MakeImages,
) -> None:
    """Its label is held less likely than another image's, which has a better one."""
    images = make_images(["daisy", "rose", "tulip"] * 4, ["train"] * 12)
    probabilities = np.where(images.y[:, None] == np.arange(3), 0.8, 0.1)
    probabilities[0] = np.where(np.arange(3) == images.y[0], 0.34, 0.33)
    probabilities[5] = np.where(np.arange(3) == images.y[5], 0.4, 0.0)
    probabilities[5, (images.y[5] + 1) % 3] = 0.6
    found = find_label_errors(images, probabilities, 12)["images"]
    assert [of["uri"] for of in found] == [images.uris[5]]


def test_a_head_may_know_classes_that_no_image_has(make_images: MakeImages) -> None:
    images = make_images(["daisy", "rose"] * 20, ["train"] * 40)
    wide = dataclasses.replace(images, classes=("daisy", "rose", "weed"))
    probabilities = np.column_stack([out_of_fold(images, LAYERS) * 0.5, np.full(40, 0.5)])
    named = find_label_errors(wide, probabilities, 40)
    assert named["count"] == find_label_errors(images, probabilities[:, :2] * 2, 40)["count"]


def test_the_largest_classes_are_compared(make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads.evidence.label_errors, "_MOST_CLASSES", 2)
    images = make_images(["daisy"] * 20 + ["rose"] * 3 + ["tulip"] * 20, ["train"] * 43)
    (pair,) = find_confused_classes(images, np.tile([0.2, 0.5, 0.3], (43, 1)), 9) or []
    assert pair["classes"] == ["daisy", "tulip"]


def test_an_interval_of_two_classes_is_that_of_both(make_images: MakeImages) -> None:
    """Newcombe's for the mean of two shares: 1 of 20 and 4 of 10."""
    images = make_images(["daisy"] * 20 + ["rose"] * 10, ["train"] * 30)
    probabilities = np.where(images.y[:, None] == np.arange(2), 0.9, 0.1)
    wrong = [0, *np.flatnonzero(images.y == 1)[:4].tolist()]
    probabilities[wrong] = probabilities[wrong][:, ::-1]
    (pair,) = find_confused_classes(images, probabilities, 9) or []
    (a, b), (c, d) = interval(1, 20), interval(4, 10)
    assert pair["wrong"] == pytest.approx(0.225)
    low, high = np.hypot(0.05 - a, 0.4 - c) / 2, np.hypot(b - 0.05, d - 0.4) / 2
    assert pair["interval"] == pytest.approx([0.225 - low, 0.225 + high])


def test_the_first_image_is_a_neighbour_like_any_other(make_images: MakeImages) -> None:
    images = make_images(["daisy", "rose", "tulip"], ["train"] * 3)
    neighbours = Neighbours(
        np.array([[1], [0], [0]]), np.array([[0.9], [0.9], [0.2]], np.float32), exact=True
    )
    assert [of["distance"] for of in find_outliers(images, neighbours, 3)] == pytest.approx([0.8, 0.1, 0.1])
