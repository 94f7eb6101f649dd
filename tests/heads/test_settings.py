from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from features import store as feature_store
from features.store.table import FeatureTable
from heads import SavedHead, train_head
from heads.settings import find_trained, same_settings, training_settings
from tests.heads.conftest import LAYERS, narrow_table
from tests.heads.test_promotion import flowers, grow, splits_of
from tests.tables import add_views


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    features, labels = flowers(100)
    return narrow_table(tmp_path / "store", features, labels, splits_of(100))


NUMBERS: dict[str, Any] = {"min_images": 1, "views": None, "folds": None, "repeats": 1}


def settings(**changes: Any) -> dict[str, Any]:
    return training_settings("logistic", {"C": 0.1}, [LAYERS[0]], **NUMBERS) | changes


def test_a_head_keeps_what_it_was_trained_with(table: FeatureTable) -> None:
    saved = train_head(table.store, C=0.1)
    assert saved.facts["settings"] == settings()
    balanced = train_head(table.store, class_weight={"rose": 2.0}, min_images=2, folds=3, repeats=2, seed=4)
    assert balanced.facts["settings"] == settings(
        parameters={"class_weight": {"rose": 2.0}, "seed": 4}, min_images=2, folds=3, repeats=2
    )


def test_the_newest_head_of_the_same_settings_and_version_is_found(table: FeatureTable) -> None:
    assert find_trained(table, settings()) is None
    saved = [train_head(table.store, C=C, promote="never") for C in (0.1, 0.1, 1.0)]
    newest = saved[1]
    found = find_trained(table, settings())
    assert isinstance(found, SavedHead) and found.id == newest.id and found.facts == newest.facts
    (table.store / "heads" / "inception_v3" / "no-head").mkdir()
    assert find_trained(table, settings()) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "dense"}, {"parameters": {"C": 0.2}}, {"parameters": {}},
        {"parameters": {"C": 0.1, "seed": 1}}, {"revision": 0}, {"layers": [LAYERS[1]]},
        {"min_images": 2}, {"views": 1}, {"folds": 0}, {"repeats": 2},
    ],
)  # fmt: skip
def test_another_setting_is_another_training(table: FeatureTable, change: dict[str, Any]) -> None:
    train_head(table.store, C=0.1)
    assert find_trained(table, settings(**change)) is None


def test_another_version_or_table_is_another_training(table: FeatureTable) -> None:
    saved = train_head(table.store, C=0.1)
    grown = grow(table, 10, "train", seed=1)
    assert find_trained(grown, settings()) is None
    older = feature_store.open(table.store, version=1)
    found = find_trained(older, settings())
    assert found is not None and found.id == saved.id
    newer = train_head(table.store, C=0.1)
    if newer.id > saved.id:
        assert find_trained(older, settings()) is None, "the newest counts"
    saved.facts["table_id"] = "another"
    for head in (saved, newer):
        (head.directory / "head.json").write_text(json.dumps(head.facts | {"table_id": "another"}))
    assert find_trained(grown, settings()) is None and find_trained(older, settings()) is None


def test_a_head_of_an_older_version_of_this_project_is_not_found(table: FeatureTable) -> None:
    saved = train_head(table.store, C=0.1)
    del saved.facts["settings"]
    (saved.directory / "head.json").write_text(json.dumps(saved.facts))
    assert find_trained(table, settings()) is None


def test_a_default_that_is_given_is_no_other_setting(table: FeatureTable) -> None:
    saved = train_head(table.store, C=0.1, promote="never")
    for change in ({"parameters": {"C": 0.1, "seed": 0}}, {"views": 0}):
        found = find_trained(table, settings(**change))
        assert found is not None and found.id == saved.id
    given = train_head(table.store, C=0.1, seed=0, views=0, promote="never")
    assert given.facts["settings"] == settings() == saved.facts["settings"]
    found = find_trained(table, settings())
    assert found is not None and found.id == given.id


def test_as_many_views_as_the_table_has_are_the_default(tmp_path: Path) -> None:
    features, labels = flowers(100)
    views = add_views(narrow_table(tmp_path / "store", features, labels, splits_of(100)))
    saved = train_head(views.store, C=0.1)
    found = find_trained(views, settings(views=views.views))
    assert found is not None and found.id == saved.id
    assert find_trained(views, settings(views=0)) is None


def test_a_damaged_head_is_passed_over(table: FeatureTable) -> None:
    saved, damaged = train_head(table.store, C=0.1), train_head(table.store, C=1.0)
    (damaged.directory / "head.json").write_text("{")
    found = find_trained(table, settings())
    assert found is not None and found.id == saved.id


def test_the_same_settings_by_other_code_on_other_images_are_the_same(table: FeatureTable) -> None:
    first = train_head(table.store, C=0.1)
    again, other = train_head(grow(table, 10, "train", seed=1).store, C=0.1), train_head(table.store, C=1.0)
    again.facts["settings"]["revision"] = 0
    assert same_settings(again, first) and not same_settings(other, first)
    del first.facts["settings"], again.facts["settings"]
    assert not same_settings(again, first), "heads of older versions do not say"
    for head in (first, again):
        head.facts.update({"workflow": "fine-tuning", "augmentation": {}, "blocks": 1})
    assert same_settings(again, first)
    again.facts["blocks"] = 2
    assert not same_settings(again, first)


def test_looking_imports_nothing_that_trains(table: FeatureTable) -> None:
    train_head(table.store, C=0.1)
    code = (
        "import sys; from features import store; from heads.settings import find_trained;"
        f"assert find_trained(store.open({str(table.store)!r}), {settings()!r});"
        "assert not {'sklearn', 'tensorflow', 'scipy', 'apache_beam'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
