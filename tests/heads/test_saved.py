from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import skops.io

from features.errors import BottleneckError
from features.recipe import Column
from features.store.table import FeatureTable
from heads import DenseHead, LogisticHead, SavedHead, current_head, list_heads, load_head, train_head
from heads.saved import save_head
from tests.heads.conftest import AnyHead, MakeSmallTable, fit
from tests.tables import RECIPE

COLUMNS = {"columns": [{"layer": "avg_pool", "recipe": RECIPE.to_dict()}]}


@pytest.fixture
def saved(three_classes: FeatureTable) -> SavedHead:
    return train_head(three_classes.store, C=0.01)


def test_a_head_is_a_folder_with_model_and_facts(saved: SavedHead, three_classes: FeatureTable) -> None:
    folder = three_classes.store / "heads" / "inception_v3"
    assert saved.directory == folder / saved.id
    assert sorted(path.name for path in saved.directory.iterdir()) == ["head.json", "head.skops"]
    assert json.loads((folder / "current.json").read_text()) == {"id": saved.id}
    assert sorted(path.name for path in folder.iterdir()) == sorted([saved.id, "current.json"])


def test_the_newest_is_current_and_others_are_found_by_id(
    saved: SavedHead, three_classes: FeatureTable
) -> None:
    newer = train_head(three_classes.store, C=0.1)
    assert load_head(three_classes.store).id == current_head(three_classes.store) == newer.id
    assert load_head(three_classes.store, id=saved.id).facts == saved.facts
    assert [facts["id"] for facts in list_heads(three_classes.store)] == [saved.id, newer.id]


def test_listing_reads_no_model(saved: SavedHead, three_classes: FeatureTable) -> None:
    (saved.directory / "head.skops").unlink()
    (facts,) = list_heads(three_classes.store)
    assert facts == saved.facts


def test_without_a_head(three_classes: FeatureTable) -> None:
    message = "there is no head for table 'inception_v3' in .*: train a head first"
    with pytest.raises(BottleneckError, match=message):
        load_head(three_classes.store)
    assert list_heads(three_classes.store) == []
    assert current_head(three_classes.store) is None


def test_an_unknown_id_is_answered_with_the_known_ones(saved: SavedHead, three_classes: FeatureTable) -> None:
    with pytest.raises(BottleneckError, match=re.escape(f"has: {saved.id}")):
        load_head(three_classes.store, id="20010101-000000-logistic-0000")


def test_a_head_that_can_not_be_written_leaves_nothing(saved: SavedHead, three_classes: FeatureTable) -> None:
    folder = three_classes.store / "heads" / "inception_v3"
    head = fit(LogisticHead(C=0.01), three_classes)
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_head(three_classes.store, "inception_v3", head, {"unwritable": object()})
    assert sorted(path.name for path in folder.iterdir()) == sorted([saved.id, "current.json"])
    assert current_head(three_classes.store) == saved.id


def test_a_half_written_head_is_not_listed(saved: SavedHead, three_classes: FeatureTable) -> None:
    half = three_classes.store / "heads" / "inception_v3" / ".half.partial"
    half.mkdir()
    (half / "head.json").write_text("{")
    assert [facts["id"] for facts in list_heads(three_classes.store)] == [saved.id]


def test_the_recipe_it_was_trained_on_is_accepted(saved: SavedHead, three_classes: FeatureTable) -> None:
    assert saved.check(three_classes) is None
    assert saved.check(three_classes.column()) is None
    renamed = dataclasses.replace(RECIPE, weights="the-same-in-another-file")
    assert saved.check(Column(renamed, "avg_pool")) is None


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"weights_sha256": "1" * 64}, "weights_sha256 was 000000000000… and is now 111111111111…"),
        ({"exif_orientation": True}, "exif_orientation was False and is now True"),
        ({"input_size": 150, "precision": "bfloat16"}, "input_size was 299 and is now 150"),
    ],
)
def test_another_recipe_is_refused_by_name_of_the_difference(
    saved: SavedHead, change: dict[str, object], difference: str
) -> None:
    other = Column(dataclasses.replace(RECIPE, **change), "avg_pool")  # type: ignore[arg-type]
    with pytest.raises(BottleneckError, match=re.escape(difference)) as caught:
        saved.check(other)
    assert str(caught.value).startswith(f"head {saved.id} ")


def test_another_layer_is_refused(saved: SavedHead) -> None:
    with pytest.raises(BottleneckError, match="layer was avg_pool and is now mixed9"):
        saved.check(Column(RECIPE, "mixed9"))


def test_another_precision_is_accepted_with_a_notice(saved: SavedHead) -> None:
    notice = saved.check(Column(dataclasses.replace(RECIPE, precision="bfloat16"), "avg_pool"))
    assert notice is not None
    assert "float32" in notice
    assert "bfloat16" in notice


@pytest.mark.parametrize("head", [LogisticHead(C=0.01), DenseHead(hidden=8, epochs=2)], ids=lambda h: h.kind)
def test_a_head_is_the_same_after_saving_and_loading(head: AnyHead, three_classes: FeatureTable) -> None:
    save_head(three_classes.store, "inception_v3", fit(head, three_classes), COLUMNS)
    saved = load_head(three_classes.store)
    X, _ = three_classes.matrix("test")
    np.testing.assert_array_equal(saved.head.predict_proba(X), head.predict_proba(X))
    assert saved.head.predict(X).tolist() == head.predict(X).tolist()
    assert saved.head.get_params() == head.get_params()
    assert saved.head.classes_.tolist() == ["daisy", "rose", "tulip"]
    assert sorted(path.name for path in saved.directory.iterdir()) == ["head.json", head.model_file]


def test_head_json_keeps_rows_of_numbers_on_one_line(three_classes: FeatureTable) -> None:
    facts = COLUMNS | {"matrix": [[1, 2], [3, 4]], "odd": ["[1,", "2]"], "interval": [0.5, 1e-07]}
    head = fit(LogisticHead(C=0.01), three_classes)
    saved = save_head(three_classes.store, "inception_v3", head, facts)
    text = (saved.directory / "head.json").read_text()
    assert "[ 1, 2 ]" in text
    assert "[ 0.5, 1e-07 ]" in text
    assert saved.facts.items() >= facts.items()


def test_evaluation_is_of_the_split_that_is_named(logistic: SavedHead, digits: FeatureTable) -> None:
    X, labels = digits.matrix("validation")
    metrics = logistic.evaluate(digits, "validation")
    assert metrics["count"] == len(X)
    assert metrics["accuracy"] == pytest.approx((logistic.head.predict(X) == labels).mean())
    assert logistic.evaluate(digits) == logistic.facts["metrics"]["test"]


def test_evaluation_refuses_labels_that_were_not_taught(
    logistic: SavedHead, three_classes: FeatureTable
) -> None:
    with pytest.raises(BottleneckError, match="was not taught the labels 'daisy', 'rose', 'tulip'"):
        logistic.evaluate(three_classes)


def test_evaluation_refuses_an_empty_split(logistic: SavedHead, small_table: MakeSmallTable) -> None:
    table = small_table(["0", "1"], ["train", "train"])
    with pytest.raises(BottleneckError, match="the test split of table 'inception_v3' has no rows"):
        logistic.evaluate(table)


class Evil:
    """Not a type of scikit-learn's."""


def test_a_file_of_other_types_is_not_loaded(saved: SavedHead, three_classes: FeatureTable) -> None:
    skops.io.dump(Evil(), saved.directory / "head.skops")
    with pytest.raises(BottleneckError, match="is not loaded"):
        load_head(three_classes.store).head  # noqa: B018  (loads the model)


def test_heads_are_found_under_a_home_folder(
    saved: SavedHead, three_classes: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path(three_classes.store).parent))
    assert load_head(f"~/{three_classes.store.name}").id == saved.id


def test_a_table_without_a_head_is_told_apart_from_a_store_without_one(
    saved: SavedHead, three_classes: FeatureTable
) -> None:
    with pytest.raises(BottleneckError, match=r"no head for table 'mine'.*it has heads for inception_v3 \("):
        load_head(three_classes.store, "mine")
