from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from features import store as feature_store
from features.errors import BottleneckError
from features.locations import features_path, rejected_path
from features.store.commit import rejected_rows
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.text import printable
from tests.tables import RECIPE, Rejected, add, make_table

FACTS = TableFacts("/data/flowers", "imagenet", ("mixed8", "avg_pool"), RECIPE)


def refusal(store: Path, name: str = "inception_v3", **options: int) -> str:
    with pytest.raises(BottleneckError) as refused:
        feature_store.open(store, name, **options)
    return str(refused.value)


def test_a_table_that_is_missing_is_told_with_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    missing = f"there are no features named 'inception_v3' in {tmp_path / 'store'}: "
    assert refusal(tmp_path / "store") == missing + "extract features first"
    feature_store.create(tmp_path / "store", "mine", FACTS)
    feature_store.create(tmp_path / "store", "also", FACTS)
    assert refusal(tmp_path / "store") == missing + "it has also, mine (`features=NAME`)"
    monkeypatch.chdir(tmp_path)
    feature_store.create("store", "inception_v3", FACTS)
    assert feature_store.open().store == tmp_path / "store", "both have defaults"


def test_a_new_table_has_its_facts_and_schema_and_keeps_all_versions(tmp_path: Path):
    table = feature_store.create(tmp_path, "mine", FACTS)
    assert (table.store, table.name, table.version, table.facts) == (tmp_path, "mine", 0, FACTS)
    opened = feature_store.open(tmp_path, "mine")
    assert (opened.version, opened.facts) == (0, FACTS)
    keep = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}
    for path, schema, facts in (
        (features_path(tmp_path, "mine"), FACTS.schema, {"bottlenecks.facts": FACTS.to_json()}),
        (rejected_path(tmp_path, "mine"), REJECTED_SCHEMA, {}),
    ):
        delta = DeltaTable(path)
        assert delta.metadata().configuration == facts | keep
        assert pa.schema(delta.schema().to_arrow()).equals(schema, check_metadata=True)


@pytest.mark.parametrize("rows", [0, 2])
def test_a_table_is_never_created_over_another(tmp_path: Path, rows: int):
    table = make_table(tmp_path, np.zeros((rows, 2048), np.float32), ["a", "b"][:rows], name="mine")
    assert table.has_rows == bool(rows)
    other = TableFacts("/data/other", "random", ("mixed0",), RECIPE)
    assert feature_store.create(tmp_path, "mine", other).facts == table.facts
    assert feature_store.open(tmp_path, "mine").version == table.version


def create(stores: list[Path], source: str, barrier, results) -> None:
    facts = TableFacts(source, "random", ("mixed8",), RECIPE)
    for store in stores:
        barrier.wait()
        results.put((store, feature_store.create(store, "mine", facts).facts.source))


def test_of_two_that_create_a_table_at_once_both_get_the_same(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    stores = [tmp_path / str(turn) for turn in range(3)]
    barrier, results = spawn.Barrier(2), spawn.Queue()
    creators = [
        spawn.Process(target=create, args=(stores, source, barrier, results)) for source in ("/a", "/b")
    ]
    for creator in creators:
        creator.start()
    sources = {results.get(timeout=60) for _ in range(6)}
    assert sources == {(store, feature_store.open(store, "mine").source) for store in stores}


def test_a_table_that_can_not_be_created_is_a_fault(tmp_path: Path):
    """Not taken for one that another was faster with."""
    (tmp_path / "rejected").touch()
    with pytest.raises((DeltaError, OSError)):
        feature_store.create(tmp_path, "mine", FACTS)


def test_both_tables_live_where_promised(tmp_path: Path):
    feature_store.create(tmp_path, "mine", FACTS)
    assert (tmp_path / "features" / "mine" / "_delta_log").is_dir()
    assert (tmp_path / "rejected" / "mine" / "_delta_log").is_dir()
    assert feature_store.table_names(tmp_path) == ["mine"]


@pytest.mark.parametrize("name", ["../escape", "", ".hidden", "_x", "a/b", "sp ace", "a\n", "a" * 129])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str):
    with pytest.raises(BottleneckError) as refused:
        feature_store.create(tmp_path, name, FACTS)
    assert str(refused.value) == (
        f"{name!r} can't name a table: use up to 128 letters, digits, '_', '-' and '.', "
        "a letter or digit first"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "9", "Zz.9_-", "a" * 128])
def test_a_name_of_a_plain_folder_will_do(tmp_path: Path, name: str):
    assert feature_store.create(tmp_path, name, FACTS).name == name
    assert feature_store.table_names(tmp_path) == [name]


def test_older_versions_stay_readable(tmp_path: Path):
    make_table(tmp_path, np.zeros((2, 2048), np.float32), ["a", "b"])
    for version, rows in ((0, 0), (1, 2), (None, 2)):
        table = feature_store.open(tmp_path, version=version)
        assert (table.version, len(table.metadata())) == (1 if version is None else version, rows)
    for version in (-1, 2):
        message = f"table 'inception_v3' has versions 0 to 1, and {version} was asked for"
        assert refusal(tmp_path, version=version) == message


@pytest.mark.parametrize("folder", ["with space", "ünï", 'quo"te', "a#b", "a?b", "a,b", "a'b"])
def test_a_store_may_lie_under_any_usual_path(tmp_path: Path, folder: str):
    X = np.ones((3, 2048), np.float32)
    bad = Rejected("/images/bad.png", "corrupt", "", None, None)
    table = make_table(tmp_path / folder, X, ["a", "b", "a"], rejected=[bad])
    np.testing.assert_array_equal(table.matrix()[0], X)
    add(table, replacing=["/images/image-0.png"])
    assert len(feature_store.open(tmp_path / folder).metadata()) == 2
    assert len(rejected_rows(feature_store.open(tmp_path / folder))) == 1


@pytest.mark.parametrize("folder", ["a%20b", "%aF", "a[b", "a]b", "\x1fb", "a\x00"])
def test_a_path_that_delta_cannot_keep_is_refused(tmp_path: Path, folder: str):
    with pytest.raises(BottleneckError) as refused:
        feature_store.create(tmp_path / folder, "mine", FACTS)
    assert str(refused.value) == (
        f"`store={printable(tmp_path / folder)}`: Delta Lake can't keep a table under a path with %, [, ] or "
        "control characters"
    )
    assert not list(tmp_path.iterdir())


def test_versions_and_the_run_log_outlive_months(tmp_path: Path):
    """Delta's own default forgets what is older than 30 days, as it writes a checkpoint."""
    table = make_table(tmp_path, np.ones((2, 2048), np.float32), ["a", "b"])
    for number in range(3):
        add(table, run_id=f"later-{number}")
    for path in (table.folder / "_delta_log").iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60 * 24 * 3600))
    newest = feature_store.open(tmp_path)
    newest.delta.create_checkpoint()
    newest.delta.cleanup_metadata()
    assert len(feature_store.open(tmp_path, version=1).metadata()) == 2
    assert len(feature_store.open(tmp_path).delta.history()) == 5


def test_a_stray_file_beside_the_tables_is_no_table(tmp_path: Path):
    make_table(tmp_path, np.ones((2, 2048), np.float32), ["a", "b"])
    (tmp_path / "features" / ".DS_Store").touch()
    (tmp_path / "features" / "empty").mkdir()
    assert feature_store.table_names(tmp_path) == ["inception_v3"]
