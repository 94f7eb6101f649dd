from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from heads import LogisticHead, train_head
from heads.evidence.choices import (
    compare_layers,
    compare_views,
    compare_workflows,
    extraction_seconds,
    missing_workflows,
)
from heads.evidence.curves import draws_of, learn
from heads.evidence.statistics import interval_of_draws
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of, features_of, put_table, splits_of
from tests.tables import NOON


def test_each_layer_is_measured_alone_and_together_on_the_same_images(make_images: MakeImages) -> None:
    images = make_images(classes_of(150))
    draws = draws_of(images, 5, 0, given_splits=False)
    results = compare_layers(LogisticHead(), images, draws, LAYERS[:1])
    by_layers = {tuple(of["layers"]): of for of in results}
    assert by_layers.keys() == {LAYERS[:1], LAYERS[1:], LAYERS}
    assert [of["skill"] for of in results] == sorted((of["skill"] for of in results), reverse=True)
    curve = {
        layers: learn(LogisticHead(), images.features(layers), images.y, images.classes, draws)
        for layers in by_layers
    }
    for layers, of in by_layers.items():
        assert [of["skill"], *of["interval"]] == pytest.approx(curve[layers].intervals[-1])
        assert of["width"] == images.features(layers).shape[1] and of["seconds"] > 0 and of["log_loss"] > 0
    own = by_layers[LAYERS[:1]]
    assert own["is_head"] and own["difference"] is own["noise"] is None
    deeper = by_layers[LAYERS[1:]]
    differences = curve[LAYERS[1:]].values[-1] - curve[LAYERS[:1]].values[-1]
    assert deeper["difference"] == pytest.approx(list(interval_of_draws(differences)))
    assert deeper["noise"] is (deeper["difference"][1] <= 0) and not deeper["is_head"]


def test_views_are_trained_on_and_never_tested_on(make_images: MakeImages) -> None:
    """Views here look like images of another class: whoever trains on them does worse, on the images."""
    labels = classes_of(90)
    features = features_of([*labels, *labels[1:], labels[0]])
    images = make_images([*labels, *labels], ["train"] * 180, features, views=[0] * 90 + [1] * 90)
    assert len(images) == 90
    draws = draws_of(images, 5, 0, given_splits=False)
    results = compare_views(LogisticHead(), images, LAYERS[1:], draws)
    assert results is not None
    without, with_views = results
    X = images.features(LAYERS[1:])
    expected = learn(LogisticHead(), X, images.y, images.classes, draws).intervals[-1]
    assert without["skill"] == pytest.approx(expected[0]) and not without["views"] and with_views["views"]
    assert with_views["skill"] < without["skill"] - 0.2


def test_good_views_are_those_of_the_images_trained_on(make_images: MakeImages) -> None:
    """Each image is like its view alone: views of images that are tested would tell their labels."""
    random = np.random.default_rng(0)
    X = random.normal(size=(90, 64)).astype(np.float32)
    labels = classes_of(90)
    both = {LAYERS[1]: np.concatenate([X, X + 0.01])}
    images = make_images([*labels, *labels], ["train"] * 180, both, views=[0] * 90 + [1] * 90)
    draws = draws_of(images, 5, 0, given_splits=False)
    results = compare_views(LogisticHead(C=10.0), images, LAYERS[1:], draws)
    assert results is not None and results[1]["skill"] < 0.55


def test_without_views_there_is_nothing_to_compare(make_images: MakeImages) -> None:
    images = make_images(classes_of(30))
    draws = draws_of(images, 5, 0, given_splits=False)
    assert compare_views(LogisticHead(), images, LAYERS[1:], draws) is None


def test_extraction_took_from_the_start_of_a_run_to_its_last_row(tmp_path: Path) -> None:
    began = (NOON - datetime.timedelta(seconds=42)).strftime("%Y%m%dT%H%M%S")
    labels = classes_of(6)
    table = put_table(tmp_path / "store", features_of(labels), labels, run_id=f"{began}-1a2b3c")
    assert extraction_seconds(table) == 42
    assert extraction_seconds(put_table(tmp_path / "other", features_of(labels), labels)) is None


def test_the_newest_head_of_each_workflow_stands_with_its_seconds(tmp_path: Path) -> None:
    began = (NOON - datetime.timedelta(seconds=42)).strftime("%Y%m%dT%H%M%S")
    labels, splits = classes_of(60), splits_of(60)
    table = put_table(tmp_path / "store", features_of(labels), labels, splits, run_id=f"{began}-1a2b3c")
    saved = train_head(tmp_path / "store", "photos", folds=0)
    train_head(tmp_path / "store", "photos", folds=0, C=1e-4)
    (row,) = compare_workflows(saved, table)
    count = saved.facts["metrics"]["test"]["count"]
    assert row["head"] == saved.id and row["name"] == "stored features"
    assert row["tested"] == f"{count} images for testing"
    on_board = {"head": saved.id, "skill": 0.5, "interval": [0.4, 0.6], "log_loss": 0.7}
    (same,) = compare_workflows(saved, table, [on_board])
    assert (same["skill"], same["tested"]) == (0.5, "this head's test images")
    assert row["skill"] == saved.facts["metrics"]["test"]["accuracy"] and row["extraction_seconds"] == 42
    assert row["seconds"] == saved.facts["seconds"] and row["total_seconds"] == 42 + saved.facts["seconds"]
    assert [name for name, _ in missing_workflows([row])] == ["end to end (workflow 1)", "fine-tuning"]


def test_nothing_is_chosen_on_views_of_what_is_trained_on(make_images: MakeImages) -> None:
    """Of noise a large C learns nothing but the images themselves, and their views, by heart."""
    labels = classes_of(90)
    X = np.random.default_rng(0).normal(size=(90, 64)).astype(np.float32)
    both = {LAYERS[1]: np.concatenate([X, X + 0.01])}
    images = make_images([*labels, *labels], ["train"] * 180, both, views=[0] * 90 + [1] * 90)
    draws = draws_of(images, 5, 0, given_splits=False)
    results = compare_views(LogisticHead(), images, LAYERS[1:], draws)
    assert results is not None
    assert results[1]["log_loss"] < 1.3, "with the largest C it would be above 2"
