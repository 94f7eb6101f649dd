from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import heads.comparison
from features import store as feature_store
from features.errors import BottleneckError
from features.store.parts import write_part
from features.store.table import FeatureTable
from heads import current_head, read_promotion, train_head
from heads.comparison import NotComparable, compare, compare_by_folds
from heads.saved import SavedHead
from tests.heads.conftest import LAYERS, narrow_table
from tests.heads.test_promotion import WIDTH, bad, flowers, good, grow, resplit, splits_of
from tests.tables import add, make_rows, make_table


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    """200 images of two classes, 80 of them for testing, which are easy to tell apart."""
    features, labels = flowers(200)
    return narrow_table(tmp_path / "store", features, labels, splits_of(200))


def by_folds(store: Path, **parameters: object) -> SavedHead:
    """A head that was tested by folds alone, as a few images without given splits are."""
    features, labels = flowers(40)
    if not (store / "features").exists():
        narrow_table(store, features, labels, ["train"] * 40)
    return train_head(store, folds=4, promote="never", **parameters)  # type: ignore[arg-type]


def test_images_that_either_head_has_seen_are_left_out(table: FeatureTable) -> None:
    first = good(table)
    moved = resplit(table, "validation", "test")
    second = good(moved)
    assert second.facts["metrics"]["test"]["count"] == 120
    decided = read_promotion(second)
    assert decided and decided["comparisons"][0]["images"] == 80, "40 were fitted on"
    assert compare(first, second).images == 80, "of the version that the first was trained on"
    first.facts["splits"] |= {"fitted": ["train"], "selected": ["validation"]}
    assert compare(second, first).images == 80, "40 were selected on"
    first.facts["splits"]["selected"] = ["train"]
    assert compare(second, first).images == 120


def test_new_test_images_count_for_both(table: FeatureTable) -> None:
    good(table)
    second = good(grow(table, 30, "test", seed=5))
    decided = read_promotion(second)
    assert decided and decided["comparisons"][0]["images"] == 110


def test_a_head_by_folds_is_asked_of_images_that_came_since(table: FeatureTable) -> None:
    first = good(table)
    first.facts["splits"]["fitted"] = ["train", "validation", "test"]
    (first.directory / "head.json").write_text(json.dumps(first.facts))
    second = good(grow(table, 30, "test", seed=5))
    decided = read_promotion(second)
    assert decided and decided["comparisons"][0]["images"] == 30


def test_a_class_that_the_current_head_does_not_know_is_wrong_there(table: FeatureTable) -> None:
    first = good(table)
    grown = grow(grow(table, 30, "train", seed=1, labels=["tulip"]), 20, "test", seed=2, labels=["tulip"])
    second = good(grown)
    assert second.facts["labels"] == ["daisy", "rose", "tulip"]
    decided = read_promotion(second)
    assert decided and decided["promoted"]
    assert decided["why"].endswith(f"; head {first.id} does not know tulip, and is wrong there")
    assert decided["comparisons"][0]["images"] == 100
    assert decided["comparisons"][0]["other_accuracy"] == pytest.approx(
        first.facts["metrics"]["test"]["accuracy"] * 0.8
    )
    third = good(grown, min_images=31)
    assert third.facts["labels"] == ["daisy", "rose"]
    decided = read_promotion(third)
    assert decided and decided["why"].startswith("not promoted: ")
    assert decided["why"].endswith("; the new head does not know tulip, and is wrong there")


def test_few_test_images_tell_little(tmp_path: Path) -> None:
    features, labels = flowers(26)
    table = narrow_table(tmp_path / "store", features, labels, ["train"] * 22 + ["test"] * 4)
    good(table, folds=0)
    worse = bad(table, folds=0)
    decided = read_promotion(worse)
    assert decided and decided["promoted"] and decided["comparisons"][0]["p_value"] is None
    assert decided["why"].startswith("promoted: 50.0% against 100.0% of the same 4 test images (")
    assert decided["why"].endswith("; too few to tell)")


def test_several_labels_are_compared_by_the_labels_that_are_right(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    has = random.random((300, 2)) < (0.5, 0.5)
    has[:, 0] |= ~has.any(axis=1)
    labels = [[label for label, there in zip("ab", of, strict=True) if there] for of in has]
    X = random.normal(scale=0.3, size=(300, WIDTH))
    X[:, :2] += has
    table = narrow_table(tmp_path / "store", {LAYERS[0]: X}, labels, splits_of(300))
    first, worse = train_head(table.store, C=1.0), train_head(table.store, C=1e-9)
    decided = read_promotion(worse)
    assert decided and not decided["promoted"] and current_head(table.store) == first.id
    assert "of the labels of the same 120 test images" in decided["why"]
    (comparison,) = decided["comparisons"]
    assert comparison["other_accuracy"] == pytest.approx(1 - first.facts["metrics"]["test"]["hamming_loss"])
    assert comparison["accuracy"] == pytest.approx(1 - worse.facts["metrics"]["test"]["hamming_loss"])


def test_a_head_of_one_label_is_compared_with_one_of_several(table: FeatureTable) -> None:
    """As where the first image with two labels has come."""
    first = good(table)
    features, _ = flowers(20, seed=3)
    rows = make_rows(
        table.facts, features, [["daisy", "rose"]] * 20, ["train", "test"] * 10, prefix="both", run_id="run-2"
    )
    add(table, write_part(table.folder, [rows], table.facts.schema))
    second = good(feature_store.open(table.store))
    assert second.facts["multi_label"]
    comparison = compare(second, first)
    assert comparison.images == 90
    right = first.facts["metrics"]["test"]["accuracy"]
    assert comparison.other_accuracy == pytest.approx((right * 80 + 0.5 * 10) / 90)


def test_images_of_a_group_count_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []
    paired = heads.comparison.paired_p_value

    def note(right: np.ndarray, other: np.ndarray, units: np.ndarray) -> float:
        asked.append(units)
        return paired(right, other, units)

    monkeypatch.setattr(heads.comparison, "paired_p_value", note)
    from tests.tables import make_table

    X = np.zeros((120, 2048), np.float32)
    X[:, 0] = np.arange(120) % 2
    groups = [f"p{number // 4}" for number in range(120)]
    splits = [("train", "train", "test")[number // 4 % 3] for number in range(120)]
    table = make_table(tmp_path, X, ["daisy", "rose"] * 60, splits, groups)
    for _ in range(2):
        train_head(table.store, C=0.1, folds=0)
    assert [(len(units), units.max() + 1) for units in asked] == [(40, 10)]


def test_of_many_images_the_interval_is_that_of_a_normal_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(400), 3)
    differences = random.choice((-1.0, 0.0, 1.0), 400, p=(0.05, 0.25, 0.7))[units]
    resampled = heads.comparison._interval(differences, units)
    monkeypatch.setattr(heads.comparison, "_NORMAL_FROM_UNITS", 400)
    normal = heads.comparison._interval(differences, units)
    assert normal != resampled and normal == pytest.approx(resampled, abs=0.01)


def test_settings_of_heads_by_folds_are_compared_by_folds(tmp_path: Path) -> None:
    """Both are trained on every image: heads of their settings are fitted anew."""
    better, worse = by_folds(tmp_path, C=0.1), by_folds(tmp_path, C=1e-9)
    with pytest.raises(NotComparable, match="what is tested by folds is trained on"):
        heads.comparison.compare_on_test_images(worse, better)
    comparison = compare(worse, better)
    assert comparison.images == 40 and comparison.significant and comparison.difference < 0
    assert comparison.accuracy == pytest.approx(worse.facts["metrics"]["test"]["accuracy"], abs=0.15)
    assert comparison.other_accuracy == pytest.approx(better.facts["metrics"]["test"]["accuracy"], abs=0.1)
    assert comparison.sentence.endswith("; by 4 folds, heads of both settings fitted anew")
    with pytest.raises(NotComparable, match="no test image is left"):
        compare(by_folds(tmp_path, C=0.1), better)


def test_what_folds_can_not_compare_keeps_the_first_reason(tmp_path: Path) -> None:
    better, worse = by_folds(tmp_path, C=0.1), by_folds(tmp_path, C=1e-9)
    better.facts["workflow"] = "end-to-end"
    with pytest.raises(NotComparable, match="no test image is left"):
        compare(worse, better)
    better.facts["labels"] = ["daisy", "iris"]
    with pytest.raises(NotComparable, match=f"it knows other labels than head {better.id}"):
        compare_by_folds(worse, better)


def test_images_of_a_group_that_was_trained_on_have_been_seen(tmp_path: Path) -> None:
    """New files of a patient whose images were for training are for testing now."""
    X = np.zeros((120, 2048), np.float32)
    X[:, 0] = np.arange(120) % 2
    groups = [None if number // 4 == 1 else f"p{number // 4}" for number in range(120)]
    splits = [("train", "train", "test")[number // 4 % 3] for number in range(120)]
    table = make_table(tmp_path, X, ["daisy", "rose"] * 60, splits, groups)
    first = train_head(table.store, C=0.1, folds=0)
    rows = make_rows(
        table.facts, X[:12], ["daisy", "rose"] * 6, ["test"] * 12,
        groups=["p0"] * 4 + ["new"] * 4 + [None] * 4, prefix="more", run_id="run-2",
    )  # fmt: skip
    add(table, write_part(table.folder, [rows], table.facts.schema), run_id="run-2")
    second = train_head(table.store, C=0.1, folds=0, promote="never")
    assert second.facts["metrics"]["test"]["count"] == 52
    assert compare(second, first).images == 48, "p0 was trained on, and what has no group was not"


def test_files_that_are_gone_are_named(table: FeatureTable) -> None:
    first = good(table)
    second = good(grow(table, 30, "test", seed=5), promote="never")
    for path in feature_store.open(table.store).paths:
        Path(path).unlink()
    message = f"version 2 of table 'inception_v3', which head {second.id} was trained on, can't be read: "
    with pytest.raises(NotComparable, match=message):
        compare(second, first)
    with pytest.raises(BottleneckError, match="no table of the store has the features|can't be read"):
        compare(first, second)
