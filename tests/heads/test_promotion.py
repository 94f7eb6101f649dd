from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heads.promotion
from features import store as feature_store
from features.errors import BottleneckError
from features.schemas import to_schema
from features.store.parts import write_part
from features.store.table import FeatureTable
from heads import SavedHead, current_head, load_head, promote_head, read_promotion, train_head
from heads.promotion import compare, decide
from heads.saved import make_current
from tests.heads.conftest import LAYERS, narrow_table
from tests.tables import add, make_rows

WIDTH = 48


def flowers(
    count: int, scale: float = 1.0, seed: int = 0, labels: Sequence[str] = ("daisy", "rose")
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Images of classes by turns: the first features are those of the class, plus noise."""
    random = np.random.default_rng(seed)
    of_images = [labels[number % len(labels)] for number in range(count)]
    X = scale * random.normal(size=(count, WIDTH))
    for number, label in enumerate(of_images):
        X[number, ["daisy", "rose", "tulip"].index(label)] += 2
    return {LAYERS[0]: X}, of_images


def splits_of(count: int, test: int = 2) -> list[str]:
    """Of each five pairs of images, so many for testing, one for validation, and the others for training."""
    parts = ["train"] * (4 - test) + ["validation"] + ["test"] * test
    return [parts[number // 2 % 5] for number in range(count)]


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    """200 images of two classes, 80 of them for testing, which are easy to tell apart."""
    features, labels = flowers(200)
    return narrow_table(tmp_path / "store", features, labels, splits_of(200))


def good(table: FeatureTable, **more: Any) -> SavedHead:
    return train_head(table.store, C=0.1, **more)


def bad(table: FeatureTable, **more: Any) -> SavedHead:
    """It always answers the class that is named: its weights are as good as 0."""
    return train_head(table.store, C=1e-9, class_weight={"daisy": 1.0, "rose": 10.0}, **more)


def test_the_first_head_is_promoted(table: FeatureTable) -> None:
    saved = good(table)
    assert current_head(table.store) == saved.id
    kept = json.loads((saved.directory / "promotion.json").read_text())
    assert kept == read_promotion(saved)
    assert kept.pop("decided_at")[:4].isdigit()
    assert kept == {
        "head": saved.id,
        "current": None,
        "promoted": True,
        "mode": "evidence",
        "why": "promoted: table 'inception_v3' had no current head",
        "reference": saved.id,
        "comparisons": [],
    }


def test_a_worse_head_is_not_promoted_and_stays(table: FeatureTable) -> None:
    first, worse = good(table), bad(table)
    assert current_head(table.store) == first.id
    accuracy = first.facts["metrics"]["test"]["accuracy"]
    assert worse.facts["metrics"]["test"]["accuracy"] == 0.5 and accuracy > 0.9
    decided = read_promotion(worse)
    assert decided is not None and not decided["promoted"] and decided["current"] == first.id
    assert decided["why"].startswith(
        f"not promoted: 50.0% against {accuracy:.1%} of the same 80 test images (difference "
        f"{100 * (0.5 - accuracy):+.1f} points, "
    )
    (comparison,) = decided["comparisons"]
    assert comparison["p_value"] < 1e-6 and comparison["images"] == 80
    low, high = comparison["interval"]
    assert comparison["difference"] == pytest.approx(0.5 - accuracy)
    assert low < comparison["difference"] < high < 0
    assert load_head(table.store, id=worse.id).id == worse.id


def test_a_head_that_is_no_worse_or_better_is_promoted(table: FeatureTable) -> None:
    worse, better = bad(table), good(table)
    assert current_head(table.store) == better.id
    decided = read_promotion(better)
    assert decided and decided["promoted"] and decided["reference"] == better.id
    again = good(table)
    assert current_head(table.store) == again.id
    decided = read_promotion(again)
    assert decided and decided["reference"] == better.id, "no better than that by more than chance"
    assert decided["why"].endswith("of the same 80 test images (difference +0.0 points, +0.0 to +0.0; p = 1)")
    assert worse.directory.exists()


def test_always_and_never_compare_nothing(table: FeatureTable) -> None:
    first, other = good(table), bad(table, promote="never")
    assert current_head(table.store) == first.id and read_promotion(other) is None
    assert decide(other, "never").why == "not promoted, as was asked for"
    forced = bad(table, promote="always")
    assert current_head(table.store) == forced.id
    decided = read_promotion(forced)
    assert decided and decided["why"] == "promoted without a comparison, as was asked for"
    assert decided["reference"] == forced.id, "the losses before it were wanted"
    assert promote_head(other).promoted and current_head(table.store) == other.id
    with pytest.raises(
        BottleneckError, match="no way to promote 'sometimes': choose from evidence, always, n"
    ):
        good(table, promote="sometimes")


def test_a_head_that_was_not_promoted_can_be_later(table: FeatureTable) -> None:
    first, worse = good(table), bad(table)
    assert not promote_head(worse).promoted and current_head(table.store) == first.id
    assert promote_head(worse, "always").promoted and current_head(table.store) == worse.id
    assert promote_head(worse).why == "it is the current head already"
    assert promote_head(first).promoted and current_head(table.store) == first.id, "back again"


def test_small_losses_do_not_add_up_for_ever(table: FeatureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each head is right on three images less than the one before, which no test can tell."""
    rightness = heads.promotion._rightness
    wrong: dict[str, int] = {}

    def right(saved: SavedHead, images: Any, probabilities: np.ndarray) -> np.ndarray:
        assert set(np.unique(rightness(saved, images, probabilities))) <= {0.0, 1.0}
        return (np.arange(len(images)) >= wrong[saved.id]).astype(float)

    monkeypatch.setattr(heads.promotion, "_rightness", right)
    chain = []
    for number in range(3):
        saved = good(table, promote="never")
        wrong[saved.id] = 3 * number
        decision = promote_head(saved)
        chain.append((saved.id, decision))
    assert [decision.promoted for _, decision in chain] == [True, True, False]
    last, reference = chain[2][1], chain[0][0]
    assert current_head(table.store) == chain[1][0]
    assert last.why.startswith(
        f"not promoted: small losses have added up since head {reference}, 92.5% against 100.0% of the same "
    )
    assert [of.head for of in last.comparisons] == [chain[1][0], reference]
    # By McNemar's test, of 3 and 6 images.
    assert [of.p_value for of in last.comparisons] == pytest.approx([2 * 0.5**3, 2 * 0.5**6])
    assert [decision.reference for _, decision in chain] == [reference] * 3


def test_a_head_that_is_better_for_sure_is_the_next_reference(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: dict[str, int] = {}
    monkeypatch.setattr(
        heads.promotion,
        "_rightness",
        lambda saved, images, _: (np.arange(len(images)) >= wrong[saved.id]).astype(float),
    )
    references = []
    for of_head in (20, 17, 8, 8, 11, 20):
        saved = good(table, promote="never")
        wrong[saved.id] = of_head
        references.append((saved.id, promote_head(saved)))
    ids = [head_id for head_id, _ in references]
    assert [decision.promoted for _, decision in references] == [True] * 5 + [False]
    assert [ids.index(decision.reference) for _, decision in references[:5]] == [0, 0, 2, 2, 2]


def test_a_reference_that_is_gone_gives_way_to_the_current_head(table: FeatureTable) -> None:
    first, second = good(table), good(table)
    assert read_promotion(second)["reference"] == first.id  # type: ignore[index]
    (first.directory / "head.json").unlink()
    third = good(table)
    decided = read_promotion(third)
    assert decided and decided["promoted"] and decided["reference"] == second.id
    assert len(decided["comparisons"]) == 1


def grow(table: FeatureTable, count: int, split: str, seed: int, **more: Any) -> FeatureTable:
    """Add so many images to a split."""
    features, labels = flowers(count, seed=seed, **more)
    rows = make_rows(
        table.facts, features, labels, [split] * count, prefix=f"more-{seed}", run_id=f"run-more-{seed}"
    )
    add(table, write_part(table.folder, [rows], table.facts.schema), run_id=f"run-more-{seed}")
    return feature_store.open(table.store)


def resplit(table: FeatureTable, was: str, now: str) -> FeatureTable:
    """Move the images of a split to another one, as an edited CSV does."""
    rows = pa.concat_tables([pq.read_table(path) for path in table.paths])
    splits = [now if split == was else split for split in rows["split"].to_pylist()]
    rows = to_schema(rows, table.facts.schema, split=pa.array(splits))
    part = write_part(table.folder, rows.to_batches(), table.facts.schema, run_id="run-3")
    add(table, part, replacing=rows["uri"].to_pylist(), run_id="run-3")
    return feature_store.open(table.store)


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


def test_heads_that_have_seen_every_test_image_can_not_be_compared(table: FeatureTable) -> None:
    first = good(table)
    by_folds = train_head(table.store, C=0.1, folds=0)
    facts = by_folds.facts["splits"]
    facts["fitted"], facts["tested"] = ["train", "validation", "test"], ["folds"]
    decision = decide(by_folds)
    assert decision.promoted and decision.comparisons == ()
    assert decision.why == "it is the current head already"
    make_current(table.store, "inception_v3", first.id)
    decision = decide(by_folds)
    assert decision.promoted and decision.reference == by_folds.id
    assert decision.why == (
        f"promoted without a comparison: no test image is left that neither it nor head {first.id} has seen: "
        f"what is tested by folds is trained on"
    )


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
    assert decided["comparisons"][0]["of_other"] == pytest.approx(
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
    assert comparison["of_other"] == pytest.approx(1 - first.facts["metrics"]["test"]["hamming_loss"])
    assert comparison["right"] == pytest.approx(1 - worse.facts["metrics"]["test"]["hamming_loss"])


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
    assert comparison.of_other == pytest.approx((right * 80 + 0.5 * 10) / 90)


def test_images_of_a_group_count_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []
    paired = heads.promotion.paired_p_value

    def note(right: np.ndarray, other: np.ndarray, units: np.ndarray) -> float:
        asked.append(units)
        return paired(right, other, units)

    monkeypatch.setattr(heads.promotion, "paired_p_value", note)
    from tests.tables import make_table

    X = np.zeros((120, 2048), np.float32)
    X[:, 0] = np.arange(120) % 2
    groups = [f"p{number // 4}" for number in range(120)]
    splits = [("train", "train", "test")[number // 4 % 3] for number in range(120)]
    table = make_table(tmp_path, X, ["daisy", "rose"] * 60, splits, groups)
    for _ in range(2):
        train_head(table.store, C=0.1, folds=0)
    assert [(len(units), units.max() + 1) for units in asked] == [(40, 10)]


def test_features_of_another_layer_are_no_obstacle_and_others_are(tmp_path: Path) -> None:
    features, labels = flowers(200)
    features[LAYERS[1]] = np.random.default_rng(1).normal(size=(200, 64))
    table = narrow_table(tmp_path / "store", features, labels, splits_of(200))
    first = train_head(table.store, C=0.1, layers=LAYERS[0])
    deep = train_head(table.store, C=0.1, layers=LAYERS[1])
    assert current_head(table.store) == first.id and not read_promotion(deep)["promoted"]  # type: ignore[index]
    for column in first.facts["columns"]:
        column["recipe"] |= {"weights": "tuned", "weights_sha256": "1" * 64}
    (first.directory / "head.json").write_text(json.dumps(first.facts))
    decision = decide(deep)
    assert decision.promoted and decision.why == (
        f"promoted without a comparison: no table of the store has the features that head {first.id} was "
        f"trained on ({LAYERS[0]} of weights tuned), of all these test images"
    )


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("head.skops", "can't be loaded, the model of head "),
        ("head.json", "there is no head "),
        ("current.json", "does not name a head: "),
    ],
)
def test_a_current_head_that_is_damaged_is_no_obstacle(table: FeatureTable, damage: str, reason: str) -> None:
    first = good(table)
    if damage == "current.json":
        (first.directory.parent / damage).write_text("{")
    else:
        (first.directory / damage).unlink()
    worse = bad(table)
    assert current_head(table.store) == worse.id and first.directory.exists()
    decided = read_promotion(worse)
    assert (
        decided and decided["why"].startswith("promoted without a comparison: ") and reason in decided["why"]
    )


def test_a_current_head_of_a_table_that_was_made_anew_can_not_be_compared(table: FeatureTable) -> None:
    first = good(table)
    first.facts["table_id"] = "another"
    (first.directory / "head.json").write_text(json.dumps(first.facts))
    decided = read_promotion(bad(table))
    assert decided and decided["promoted"] and "which was made anew" in decided["why"]


def test_a_current_head_whose_version_is_gone_can_not_be_compared(table: FeatureTable) -> None:
    good(table)
    moved = resplit(table, "validation", "test")
    for path in table.paths:
        Path(path).unlink()
    decided = read_promotion(good(moved))
    assert decided and decided["promoted"]
    assert "version 1 of table 'inception_v3', which head " in decided["why"]


def test_heads_that_do_not_know_of_promotions_are_references_themselves(table: FeatureTable) -> None:
    """As older versions of this project have left them."""
    first = good(table)
    (first.directory / "promotion.json").unlink()
    second = good(table)
    decided = read_promotion(second)
    assert decided and decided["reference"] == first.id
    (second.directory / "promotion.json").write_text("[")
    assert read_promotion(second) is None


def test_of_many_images_the_interval_is_that_of_a_normal_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(400), 3)
    differences = random.choice((-1.0, 0.0, 1.0), 400, p=(0.05, 0.25, 0.7))[units]
    resampled = heads.promotion._interval(differences, units)
    monkeypatch.setattr(heads.promotion, "_MANY", 400)
    normal = heads.promotion._interval(differences, units)
    assert normal != resampled and normal == pytest.approx(resampled, abs=0.01)


def test_promoting_a_logistic_head_imports_neither_tensorflow_nor_beam_nor_extras(
    table: FeatureTable,
) -> None:
    good(table)
    worse = bad(table, promote="never")
    code = (
        "import sys; from heads import load_head, promote_head;"
        f"saved = load_head({str(table.store)!r}, id={worse.id!r});"
        "assert not promote_head(saved).promoted;"
        "loaded = {'tensorflow', 'keras', 'apache_beam', 'cleanlab', 'faiss', 'openvino'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
