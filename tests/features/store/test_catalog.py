from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from features import store as feature_store
from features.errors import BottleneckError
from features.store.commit import rejected_rows
from features.store.schema import TableFacts
from tests.tables import RECIPE, Rejected, add, make_table

FACTS = TableFacts("/data/flowers", "imagenet", ("mixed8", "avg_pool"), RECIPE)


def test_no_features_says_what_to_run(tmp_path: Path):
    with pytest.raises(BottleneckError, match="extract features first"):
        feature_store.open(tmp_path)


def test_another_name_lists_the_tables_there_are(tmp_path: Path):
    feature_store.create(tmp_path, "mine", FACTS)
    with pytest.raises(BottleneckError, match="'inception_v3'.*it has mine"):
        feature_store.open(tmp_path)


def test_a_table_keeps_the_facts_it_was_created_with(tmp_path: Path):
    feature_store.create(tmp_path, "mine", FACTS)
    table = feature_store.open(tmp_path, "mine")
    assert table.facts == FACTS and table.layers == ("mixed8", "avg_pool")
    metadata = {field.name: field.metadata for field in table.delta.schema().fields}
    assert metadata["mixed8"]["fingerprint"] == RECIPE.fingerprint("mixed8")
    assert metadata["avg_pool"]["width"] == "2048"


@pytest.mark.parametrize("rows", [0, 2])
def test_a_table_is_never_created_over_another(tmp_path: Path, rows: int):
    table = make_table(tmp_path, np.zeros((rows, 2048), np.float32), ["a", "b"][:rows], name="mine")
    assert table.has_rows == bool(rows)
    other = TableFacts("/data/other", "random", ("mixed0",), RECIPE)
    assert feature_store.create(tmp_path, "mine", other).facts == table.facts
    assert feature_store.open(tmp_path, "mine").version == table.version


def create(store: Path, source: str, barrier, results) -> None:
    facts = TableFacts(source, "random", ("mixed8",), RECIPE)
    barrier.wait()
    results.put(feature_store.create(store, "mine", facts).facts.source)


def test_of_two_that_create_a_table_at_once_both_get_the_same(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    for turn in range(3):
        barrier, results = spawn.Barrier(2), spawn.Queue()
        creators = [
            spawn.Process(target=create, args=(tmp_path / str(turn), source, barrier, results))
            for source in ("/a", "/b")
        ]
        for creator in creators:
            creator.start()
        sources = {results.get(timeout=60) for _ in creators}
        assert sources == {feature_store.open(tmp_path / str(turn), "mine").source}


def test_facts_that_were_not_given_are_written_as_before_they_were_known():
    assert set(json.loads(FACTS.to_json())) == {"source", "weights", "layers", "recipe"}
    assert TableFacts.from_json(FACTS.to_json()) == FACTS
    read = TableFacts("/data", "random", ("mixed0",), RECIPE, (("site_a", "train"),), "deepest")
    assert TableFacts.from_json(read.to_json()) == read


def test_both_tables_live_where_promised(tmp_path: Path):
    feature_store.create(tmp_path, "mine", FACTS)
    assert (tmp_path / "features" / "mine" / "_delta_log").is_dir()
    assert (tmp_path / "rejected" / "mine" / "_delta_log").is_dir()
    assert feature_store.table_names(tmp_path) == ["mine"]


@pytest.mark.parametrize("name", ["../escape", "", ".hidden", "a/b", "sp ace"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str):
    with pytest.raises(BottleneckError, match="can't name a table"):
        feature_store.create(tmp_path, name, FACTS)
    assert not list(tmp_path.iterdir())


def test_older_versions_stay_readable(tmp_path: Path):
    make_table(tmp_path, np.zeros((2, 2048), np.float32), ["a", "b"])
    assert len(feature_store.open(tmp_path, version=0).metadata()) == 0
    assert len(feature_store.open(tmp_path, version=1).metadata()) == 2
    with pytest.raises(BottleneckError, match="versions 0 to 1, and 9 was asked for"):
        feature_store.open(tmp_path, version=9)


@pytest.mark.parametrize("folder", ["with space", "ünï", 'quo"te', "a#b", "a?b", "a,b", "a'b"])
def test_a_store_may_lie_under_any_usual_path(tmp_path: Path, folder: str):
    X = np.ones((3, 2048), np.float32)
    bad = Rejected("/images/bad.png", "corrupt", "", None, None)
    table = make_table(tmp_path / folder, X, ["a", "b", "a"], rejected=[bad])
    np.testing.assert_array_equal(table.matrix()[0], X)
    add(table, replacing=["/images/image-0.png"])
    assert len(feature_store.open(tmp_path / folder).metadata()) == 2
    assert len(rejected_rows(feature_store.open(tmp_path / folder))) == 1


@pytest.mark.parametrize("folder", ["a%20b", "a[b]"])
def test_a_path_that_delta_cannot_keep_is_refused(tmp_path: Path, folder: str):
    with pytest.raises(BottleneckError, match="Delta Lake can't keep a table under a path with"):
        feature_store.create(tmp_path / folder, "mine", FACTS)


def test_versions_and_the_run_log_outlive_months(tmp_path: Path):
    """Delta's own default forgets what is older than 30 days at a checkpoint, made every 100 commits."""
    table = make_table(tmp_path, np.ones((2, 2048), np.float32), ["a", "b"])
    log = tmp_path / "features" / table.name / "_delta_log"
    for number in range(1, 120):
        if number == 90:
            for path in log.iterdir():
                os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60 * 24 * 3600))
        add(table, run_id=f"later-{number}")
    assert len(feature_store.open(tmp_path, version=1).metadata()) == 2
    assert len(feature_store.open(tmp_path).delta.history()) == 121


def test_a_stray_file_beside_the_tables_is_no_table(tmp_path: Path):
    make_table(tmp_path, np.ones((2, 2048), np.float32), ["a", "b"])
    (tmp_path / "features" / ".DS_Store").touch()
    (tmp_path / "features" / "empty").mkdir()
    assert feature_store.table_names(tmp_path) == ["inception_v3"]
