from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features import store as feature_store
from features.errors import BottleneckError
from features.recipe import Column
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads import (
    DenseHead,
    LogisticHead,
    SavedHead,
    current_head,
    evaluate,
    list_heads,
    load_head,
    train_head,
)
from heads.current import make_current
from heads.saved import newest_heads, read_facts, save_head
from tests.heads.conftest import LAYERS, RECIPE, AnyHead, narrow_table
from tests.tables import add, make_rows, make_table

FIXTURE = Path(__file__).parents[1] / "fixtures" / "heads"

#: What is known of a head by those who save it.
FACTS: dict[str, Any] = {
    "columns": [{"layer": LAYERS[0], "recipe": RECIPE.to_dict()}],
    "majority_class": "rose",
    "matrix": [[1, 2], [3, 4]],
    "odd": ["[1,", "2]"],
    "interval": [0.5, 1e-07],
}
X = np.sin(np.arange(6 * 48, dtype=np.float32)).reshape(6, 48)
LABELS = ["müsli", "rose"] * 3


@pytest.fixture(scope="module")
def trained() -> LogisticHead:
    return LogisticHead(C=0.01, seed=3).fit(X, LABELS)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def saved(store: Path, trained: LogisticHead) -> SavedHead:
    return save_head(store, "inception_v3", trained, FACTS)


def test_a_head_is_a_folder_with_model_and_facts(saved: SavedHead, store: Path) -> None:
    folder = store / "heads" / "inception_v3"
    assert saved.directory == folder / saved.id
    assert sorted(path.name for path in saved.directory.iterdir()) == ["head.json", "head.skops"]
    assert (folder / "current.json").read_text() == f'{{"id": "{saved.id}"}}\n'
    assert sorted(path.name for path in folder.iterdir()) == sorted([saved.id, "current.json"])


def test_head_json(saved: SavedHead, trained: LogisticHead) -> None:
    assert trained.training_ is not None
    facts = json.loads((saved.directory / "head.json").read_text())
    assert saved.facts == read_facts(saved.directory) == facts
    created_at = datetime.datetime.fromisoformat(facts["created_at"])
    assert created_at.tzinfo == datetime.UTC
    assert re.fullmatch(rf"{created_at:%Y%m%d-%H%M%S}-logistic-[0-9a-f]{{4}}", facts["id"])
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "scikit-learn", "skops")}
    assert facts == {
        "id": saved.id,
        "created_at": facts["created_at"],
        **FACTS,
        "kind": "logistic",
        "multi_label": False,
        "labels": ["müsli", "rose"],
        "width": 48,
        "parameters": {"C": 0.01, "seed": 3, "class_weight": None, "calibration": None},
        "training": trained.training_.facts,
        "seed": 3,
        "packages": {"python": platform.python_version(), **versions},
    }
    assert list(facts)[:2] == ["id", "created_at"]


def test_where_its_weights_are(saved: SavedHead, store: Path, trained: LogisticHead) -> None:
    assert saved.store == store
    assert saved.weights == "random", "as an older version saved it"
    facts = TableFacts("digits", "/tables.h5", (LAYERS[0],), RECIPE)
    feature_store.create(store, "inception_v3", facts)
    assert saved.weights == "/tables.h5"
    for kept, now in (
        ("imagenet", "imagenet"),
        ("weights/x.h5", f"{store}/weights/x.h5"),
        ("/x.h5", "/x.h5"),
    ):
        assert save_head(store, "inception_v3", trained, FACTS | {"weights": kept}).weights == now


def test_head_json_is_for_people_too(saved: SavedHead) -> None:
    """Rows of numbers are on one line each, and letters are as they are."""
    lines = (saved.directory / "head.json").read_text().split("\n")
    start = lines.index('  "matrix": [')
    assert lines[start : start + 9] == [
        '  "matrix": [',
        "    [ 1, 2 ],",
        "    [ 3, 4 ]",
        "  ],",
        '  "odd": [',
        '    "[1,",',
        '    "2]"',
        "  ],",
        '  "interval": [ 0.5, 1e-07 ],',
    ]
    assert '    "müsli",' in lines
    assert (lines[0], lines[-2:]) == ("{", ["}", ""])


def test_the_steps_of_training_are_a_table_beside_it(store: Path, trained: LogisticHead) -> None:
    steps = [{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": 1e-7, "müde": 0.5}]
    saved = save_head(store, "inception_v3", trained, FACTS, steps)
    assert (saved.directory / "log.csv").read_bytes() == (
        "step,loss,müde\n1,0.30000000000000004,\n2,1e-07,0.5\n".encode()
    )


@pytest.mark.parametrize("head", [LogisticHead(C=0.01), DenseHead(hidden=2, epochs=1)], ids=lambda h: h.kind)
def test_a_head_is_the_same_after_saving_and_loading(head: AnyHead, store: Path) -> None:
    save_head(store, "mine", head.fit(X, LABELS), FACTS)
    again = load_head(store, "mine").head
    np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))
    assert again.predict(X).tolist() == head.predict(X).tolist()
    assert again.get_params() == head.get_params()
    assert (again.classes_.tolist(), again.n_features_in_, again.training_) == (["müsli", "rose"], 48, None)
    with pytest.raises(ValueError, match="X has 3 features, but .* is expecting 48 features"):
        again.predict(X[:, :3])


def test_a_head_that_was_loaded_can_be_saved(saved: SavedHead, store: Path) -> None:
    again = save_head(store, "other", saved.head, FACTS)
    assert again.facts["training"] is None
    assert again.head.predict(X).tolist() == saved.head.predict(X).tolist()


@pytest.mark.parametrize("kind", ["logistic", "dense"])
def test_a_head_that_an_earlier_version_saved_predicts_as_it_did(kind: str) -> None:
    saved = SavedHead(FIXTURE / kind, read_facts(FIXTURE / kind))
    pixels = np.float32(8 + 8 * np.sin(np.arange(5 * 48))).reshape(5, 48)
    expected = json.loads((FIXTURE / "expected.json").read_text())[kind]
    np.testing.assert_allclose(saved.head.predict_proba(pixels), expected, atol=1e-5)
    assert saved.head.classes_.tolist() == ["one", "two", "zero"]
    unknown_then = {"class_weight": None, "calibration": None}
    assert saved.head.get_params() == saved.facts["parameters"] | unknown_then
    assert saved.head.multi_label_ is False
    assert saved.columns == (Column(RECIPE, LAYERS[0]),)
    assert saved.columns[0].fingerprint == saved.facts["columns"][0]["fingerprint"]


def test_the_newest_is_current_and_others_are_found_by_id(
    saved: SavedHead, store: Path, trained: LogisticHead
) -> None:
    newer = save_head(store, "inception_v3", trained, FACTS)
    assert load_head(store).id == current_head(store) == newer.id
    assert load_head(store, id=saved.id).facts == saved.facts
    assert list_heads(store) == [saved.facts, newer.facts]


def test_heads_are_listed_from_the_oldest_on_and_then_by_id(store: Path, trained: LogisticHead) -> None:
    for of_day in (["2", "b"], ["1", "c"], ["2", "a"]):
        saved = save_head(store, "inception_v3", trained, FACTS)
        facts = saved.facts | {"created_at": of_day[0], "id": of_day[1]}
        (saved.directory / "head.json").write_text(json.dumps(facts))
    assert [facts["id"] for facts in list_heads(store)] == ["c", "a", "b"]


def test_listing_reads_no_model(saved: SavedHead, store: Path) -> None:
    (saved.directory / "head.skops").unlink()
    assert list_heads(store) == [saved.facts]


def test_without_a_head(store: Path) -> None:
    with pytest.raises(BottleneckError) as caught:
        load_head(store)
    expected = f"there is no head for table 'inception_v3' in {store}: train a head first"
    assert str(caught.value) == expected
    assert (list_heads(store), current_head(store)) == ([], None)


def test_a_table_without_a_head_is_told_apart_from_a_store_without_one(
    saved: SavedHead, store: Path, trained: LogisticHead
) -> None:
    save_head(store, "other", trained, FACTS)
    (store / "heads" / "without").mkdir()
    with pytest.raises(BottleneckError) as caught:
        load_head(store, "mine")
    hint = "it has heads for inception_v3, other (`features=NAME`)"
    assert str(caught.value) == f"there is no head for table 'mine' in {store}: {hint}"


def test_an_unknown_id_is_answered_with_the_known_ones(
    saved: SavedHead, store: Path, trained: LogisticHead
) -> None:
    newer, folder = save_head(store, "inception_v3", trained, FACTS), store / "heads" / "inception_v3"
    with pytest.raises(BottleneckError) as caught:
        load_head(store, id="2001")
    assert str(caught.value) == f"there is no head '2001' in {folder}, which has: {newer.id}, {saved.id}"
    with pytest.raises(BottleneckError, match=r"there is no head '2001' in .*/heads/mine, which has: none$"):
        load_head(store, "mine", id="2001")


def test_a_head_that_can_not_be_written_leaves_nothing(
    saved: SavedHead, store: Path, trained: LogisticHead
) -> None:
    folder = store / "heads" / "inception_v3"
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_head(store, "inception_v3", trained, {"unwritable": object()})
    assert sorted(path.name for path in folder.iterdir()) == sorted([saved.id, "current.json"])
    assert current_head(store) == saved.id


def test_which_head_is_current_is_never_half_written(
    saved: SavedHead, store: Path, trained: LogisticHead
) -> None:
    """Another file takes its place: whoever has the old one open reads that to its end."""
    current = store / "heads" / "inception_v3" / "current.json"
    os.link(current, store / "as-it-was")
    assert save_head(store, "inception_v3", trained, FACTS).id == current_head(store) != saved.id
    assert json.loads((store / "as-it-was").read_text()) == {"id": saved.id}


def test_a_head_can_be_saved_without_becoming_the_current_one(
    saved: SavedHead, store: Path, trained: LogisticHead
) -> None:
    other = save_head(store, "inception_v3", trained, FACTS, current=False)
    assert current_head(store) == saved.id and load_head(store, id=other.id).id == other.id
    make_current(store, "inception_v3", other.id)
    assert current_head(store) == other.id == load_head(store).id


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_a_damaged_note_of_the_current_head_is_named(saved: SavedHead, store: Path, content: str) -> None:
    (store / "heads" / "inception_v3" / "current.json").write_text(content)
    with pytest.raises(
        BottleneckError, match=r"current.json does not name a head: promote one, which writes it"
    ):
        load_head(store)
    assert load_head(store, id=saved.id).id == saved.id


def test_rows_are_given_as_they_were_when_a_head_was_trained(tmp_path: Path) -> None:
    table = narrow_table(tmp_path, {LAYERS[0]: X}, LABELS, ["train"] * 4 + ["test"] * 2)
    saved = train_head(tmp_path, C=0.1, folds=0)
    rows = make_rows(table.facts, {LAYERS[0]: X}, LABELS, ["train"] * 6, prefix="more", run_id="run-2")
    add(table, write_part(table.folder, [rows], table.facts.schema))
    grown = feature_store.open(tmp_path)
    then = saved.rows_then(grown, ["uri", "split"])
    assert then is not None and then.equals(table.metadata(["uri", "split"])) and len(grown.metadata()) == 12
    assert saved.is_of(grown)
    saved.facts["table_version"] = None
    assert saved.rows_then(grown, ["uri"]) is None
    saved.facts["table_id"] = "another"
    assert not saved.is_of(grown)
    with pytest.raises(
        BottleneckError, match=f"head {saved.id} was trained on another table of the name 'incep"
    ):
        saved.rows_then(grown, ["uri"])


def test_a_half_written_head_is_not_listed(saved: SavedHead, store: Path) -> None:
    for name in (".half.partial", "without-facts"):
        (store / "heads" / "inception_v3" / name).mkdir()
    (store / "heads" / "inception_v3" / ".half.partial" / "head.json").write_text("{")
    assert list_heads(store) == [saved.facts]


def test_heads_are_found_under_a_home_folder(
    saved: SavedHead, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(store.parent))
    assert load_head("~/store").id == saved.id
    monkeypatch.chdir(store.parent)
    assert load_head().id == current_head() == saved.id, "by default the store is `store`"
    assert list_heads() == [saved.facts]


@pytest.fixture
def two_layers(store: Path) -> FeatureTable:
    """The deeper layer says the opposite of the other one."""
    features = {LAYERS[0]: X, LAYERS[1]: np.pad(-X, [(0, 0), (0, 16)])}
    return narrow_table(store, features, LABELS, ["test"] * 4 + ["validation"] * 2)


def test_a_head_asks_a_table_for_its_own_layer(
    saved: SavedHead, two_layers: FeatureTable, tmp_path: Path
) -> None:
    assert saved.check(two_layers) is None
    assert saved.check(two_layers.columns(LAYERS[0])) is None
    renamed = dataclasses.replace(RECIPE, weights="the-same-in-another-file")
    assert saved.check([Column(renamed, LAYERS[0])]) is None
    other = narrow_table(tmp_path / "other", {LAYERS[1]: np.ones((1, 64))}, ["rose"], ["test"])
    with pytest.raises(BottleneckError, match=f"has no layer '{LAYERS[0]}'"):
        saved.check(other)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"weights_sha256": "1" * 64}, "weights_sha256 was 000000000000… and is now 111111111111…"),
        ({"exif_orientation": True}, "exif_orientation was False and is now True"),
        (
            {"input_size": 150, "precision": "bfloat16"},
            "precision was float32 and is now bfloat16; input_size was 384 and is now 150",
        ),
    ],
)
def test_another_recipe_is_refused_by_name_of_the_difference(
    saved: SavedHead, change: dict[str, Any], difference: str
) -> None:
    with pytest.raises(BottleneckError) as caught:
        saved.check([Column(dataclasses.replace(RECIPE, **change), LAYERS[0])])
    assert str(caught.value) == f"head {saved.id} was built on features made another way: {difference}"


def test_another_layer_is_refused(saved: SavedHead) -> None:
    with pytest.raises(BottleneckError, match=f"layer was {LAYERS[0]} and is now {LAYERS[1]}"):
        saved.check([Column(RECIPE, LAYERS[1])])


def test_another_precision_is_accepted_with_a_notice(saved: SavedHead) -> None:
    assert saved.check([Column(dataclasses.replace(RECIPE, precision="bfloat16"), LAYERS[0])]) == (
        f"head {saved.id} was built on float32 features and is given bfloat16 ones: "
        "close, but not the same numbers"
    )


def test_evaluation_is_of_the_layer_of_the_head_and_of_the_split_that_is_named(
    saved: SavedHead, store: Path, two_layers: FeatureTable
) -> None:
    """A head that was loaded is measured against the majority of its own training."""
    probabilities, head = saved.head.predict_proba(X), load_head(store)
    true = np.arange(6) % 2
    of_test = evaluate(true[:4], probabilities[:4], ["müsli", "rose"], majority_class="rose")
    of_validation = evaluate(true[4:], probabilities[4:], ["müsli", "rose"], majority_class="rose")
    assert head.evaluate(two_layers) == of_test
    assert head.evaluate(two_layers, "validation") == of_validation


def test_features_of_other_weights_are_not_measured(saved: SavedHead, tmp_path: Path) -> None:
    other = dataclasses.replace(RECIPE, weights_sha256="1" * 64)
    table = make_table(tmp_path, {LAYERS[0]: np.ones((1, 48))}, ["rose"], ["test"], recipe=other)
    with pytest.raises(BottleneckError, match="was built on features made another way: weights_sha256"):
        saved.evaluate(table)


def test_numbers_that_json_does_not_have_are_null(trained: LogisticHead, store: Path) -> None:
    figures = {"loss": [1.0, float("nan")], "worst": float("inf"), "pair": (1, 2.5)}
    saved = save_head(store, "odd", trained, FACTS | {"figures": figures})
    text = (saved.directory / "head.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert saved.facts["figures"] == {"loss": [1.0, None], "worst": None, "pair": [1, 2.5]}


def test_the_newest_heads_come_first_without_damaged_ones(trained: LogisticHead, store: Path) -> None:
    ids = [save_head(store, "inception_v3", trained, FACTS).id for _ in range(4)]
    (store / "heads" / "inception_v3" / ids[2] / "head.json").write_text("{")
    (store / "heads" / "inception_v3" / "notes").mkdir()
    assert [saved.id for saved in newest_heads(store, "inception_v3")] == [ids[3], ids[1], ids[0]]
    assert list(newest_heads(store, "others")) == []
