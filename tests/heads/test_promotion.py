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

import heads.comparison
import heads.promotion
from features import store as feature_store
from features.errors import BottleneckError
from features.schemas import to_schema
from features.store.parts import write_part
from features.store.table import FeatureTable
from heads import SavedHead, current_head, load_head, promote_head, read_promotion, train_head
from heads.current import make_current
from heads.promotion import Decision, decide, is_undecided
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
    rightness = heads.comparison._rightness
    wrong: dict[str, int] = {}

    def right(saved: SavedHead, images: Any, probabilities: np.ndarray) -> np.ndarray:
        assert set(np.unique(rightness(saved, images, probabilities))) <= {0.0, 1.0}
        return (np.arange(len(images)) >= wrong[saved.id]).astype(float)

    monkeypatch.setattr(heads.comparison, "_rightness", right)
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
        heads.comparison,
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


def test_what_can_not_be_compared_is_promoted_with_the_same_settings_alone(tmp_path: Path) -> None:
    """As where the features of the current head are in no table, after fine-tuning."""
    features, labels = flowers(200)
    table = narrow_table(tmp_path / "store", features, labels, splits_of(200))
    first = good(table)
    for column in first.facts["columns"]:
        column["recipe"] |= {"weights": "tuned", "weights_sha256": "1" * 64}
    (first.directory / "head.json").write_text(json.dumps(first.facts))
    worse = bad(table)
    reason = (
        f"no table of the store has the features that head {first.id} was trained on ({LAYERS[0]} of weights "
        f"tuned), of all these test images"
    )
    decided = read_promotion(worse)
    assert decided and not decided["promoted"] and current_head(table.store) == first.id
    assert decided["why"] == (
        f"not promoted, as it can't be compared with the current head, {first.id}, which was trained with "
        f"other settings: {reason} (`promote=always` promotes it all the same)"
    )
    again = good(table)
    decided = read_promotion(again)
    assert decided and decided["promoted"] and current_head(table.store) == again.id
    assert decided["why"] == (
        f"promoted without a comparison, as it was trained with the settings of the current head, "
        f"{first.id}: {reason}"
    )
    assert decided["reference"] == first.id


def test_a_worse_head_by_folds_does_not_replace_a_better_one(tmp_path: Path) -> None:
    features, labels = flowers(40)
    table = narrow_table(tmp_path / "store", features, labels, ["train"] * 40)
    first, worse = good(table, folds=4), bad(table, folds=4)
    assert current_head(table.store) == first.id
    assert read_promotion(worse)["why"].startswith("not promoted: ")  # type: ignore[index]
    again = good(table, folds=4)
    assert current_head(table.store) == again.id


@pytest.mark.parametrize("mode", ["evidence", "always"])
def test_a_new_head_that_is_damaged_is_refused(table: FeatureTable, mode: str) -> None:
    first, second, third = good(table), good(table, promote="never"), good(table, promote="never")
    (second.directory / "head.skops").write_bytes(b"no model")
    second = load_head(table.store, id=second.id)
    with pytest.raises(BottleneckError, match=f"can't be loaded, the model of head {second.id}"):
        promote_head(second, mode)
    del third.facts["splits"]
    with pytest.raises(BottleneckError, match=f"head {third.id} is damaged: its head.json lacks splits"):
        promote_head(third, mode)
    assert current_head(table.store) == first.id


def test_a_head_of_a_table_that_was_made_anew_is_promoted_only_when_forced(table: FeatureTable) -> None:
    old, first = good(table, promote="never"), good(table)
    old.facts["table_id"] = "another"
    decision = promote_head(old)
    assert not decision.promoted and current_head(table.store) == first.id
    assert decision.why.startswith(f"not promoted: head {old.id} was trained on another table of the name ")
    assert promote_head(old, "always").promoted and current_head(table.store) == old.id


@pytest.mark.parametrize("lacking", ["splits", "splits.fitted", "columns"])
def test_a_current_head_whose_facts_are_damaged_is_no_obstacle(table: FeatureTable, lacking: str) -> None:
    first = good(table)
    name, _, inner = lacking.partition(".")
    del (first.facts[name] if inner else first.facts)[inner or name]
    (first.directory / "head.json").write_text(json.dumps(first.facts))
    decided = read_promotion(bad(table))
    assert decided and decided["promoted"] and f"its head.json lacks {inner or name}" in decided["why"]


def test_a_reference_moves_only_for_a_clear_gain(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six images p is 0.03, which chance gives now and then; of eight 0.008."""
    wrong: dict[str, int] = {}
    monkeypatch.setattr(
        heads.comparison,
        "_rightness",
        lambda saved, images, _: (np.arange(len(images)) >= wrong[saved.id]).astype(float),
    )
    decisions = []
    for count in (20, 14, 12):
        saved = good(table, promote="never")
        wrong[saved.id] = count
        decisions.append(promote_head(saved))
    ids = [decision.head for decision in decisions]
    assert [ids.index(decision.reference) for decision in decisions] == [0, 0, 2]


def test_a_reference_that_can_not_be_compared_is_named(table: FeatureTable) -> None:
    first, second = good(table), good(table)
    (first.directory / "head.json").unlink()
    decided = read_promotion(good(table))
    assert decided and decided["reference"] == second.id
    assert f"; losses count from it now, since head {first.id} can't be compared: " in decided["why"]


def test_always_makes_the_current_head_the_reference(table: FeatureTable) -> None:
    first, second = good(table), good(table)
    assert read_promotion(second)["reference"] == first.id  # type: ignore[index]
    promote_head(second)
    assert read_promotion(second)["reference"] == first.id  # type: ignore[index]
    promote_head(second, "always")
    assert read_promotion(second)["reference"] == second.id  # type: ignore[index]


def test_a_head_that_became_current_meanwhile_is_compared_with(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs train at once: the worse one decides while the better one is promoted."""
    first = bad(table)
    better, worse = good(table, promote="never"), bad(table, promote="never")
    decided = []

    def decide_slowly(saved: SavedHead, mode: str) -> Decision:
        decided.append(decide(saved, mode))
        if len(decided) == 1:
            make_current(table.store, "inception_v3", better.id)
        return decided[-1]

    monkeypatch.setattr(heads.promotion, "decide", decide_slowly)
    assert not promote_head(worse).promoted
    assert [decision.current for decision in decided] == [first.id, better.id]
    assert current_head(table.store) == better.id


def test_a_stop_between_the_two_files_leaves_the_head_current(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = good(table), good(table, promote="never")
    monkeypatch.setattr(heads.promotion, "PROMOTION_FILE", "no/such\0file")
    with pytest.raises((OSError, ValueError)):
        promote_head(second)
    monkeypatch.undo()
    assert current_head(table.store) == second.id != first.id
    assert not is_undecided(second)


def test_what_is_still_to_be_decided(table: FeatureTable) -> None:
    first = good(table)
    assert not is_undecided(first)
    second = good(table, promote="never")
    assert is_undecided(second)
    make_current(table.store, "inception_v3", second.id)
    promote_head(first, "always")
    assert read_promotion(second) is None and not is_undecided(second), "the current head has replaced it"
    current = table.store / "heads" / "inception_v3" / "current.json"
    current.unlink()
    assert is_undecided(first) and is_undecided(second)
    make_current(table.store, "inception_v3", first.id)
    (first.directory / "head.json").unlink()
    assert is_undecided(second)
