from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features import store as feature_store
from features.commit import Chunk, commit_chunk
from features.errors import BottleneckError
from features.schema import TableFacts
from tests.tables import RECIPE, make_table

FACTS = TableFacts("/data/flowers", "imagenet", ("mixed8", "avg_pool"), RECIPE)


def test_no_features_says_what_to_run(tmp_path: Path):
    with pytest.raises(BottleneckError, match="run `make extract` first"):
        feature_store.open(tmp_path)


def test_another_name_lists_the_tables_there_are(tmp_path: Path):
    feature_store.create(tmp_path, "mine", FACTS)
    with pytest.raises(BottleneckError, match="'inception_v3'.*it has mine"):
        feature_store.open(tmp_path)


def test_a_table_keeps_the_facts_it_was_created_with(tmp_path: Path):
    table = feature_store.create(tmp_path, "mine", FACTS)
    commit_chunk(tmp_path, "mine", Chunk("run-1", 1, table.version), [], [], {})
    other = TableFacts("/data/other", "random", ("avg_pool",), RECIPE)
    assert feature_store.create(tmp_path, "mine", other).facts == FACTS
    table = feature_store.open(tmp_path, "mine")
    assert table.facts == FACTS and table.layers == ("mixed8", "avg_pool")
    metadata = {field.name: field.metadata for field in table.delta.schema().fields}
    assert metadata["mixed8"]["fingerprint"] == RECIPE.fingerprint("mixed8")
    assert metadata["avg_pool"]["width"] == "2048"


def test_a_table_that_nobody_committed_to_is_made_anew(tmp_path: Path):
    feature_store.create(tmp_path, "mine", FACTS)
    other = TableFacts("/data/other", "random", ("mixed0",), RECIPE)
    feature_store.create(tmp_path, "mine", other)
    table = feature_store.open(tmp_path, "mine")
    assert table.facts == other
    commit_chunk(tmp_path, "mine", Chunk("run-1", 1, table.version), [], [], {})
    assert feature_store.open(tmp_path, "mine").has_commits


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
