"""A data set that was moved as a whole: new uris, and everything else as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.table import TableAlterer

from features import store as feature_store
from features.store.commit import decide_anew, rejected_rows
from features.store.parts import read_decodings
from features.store.renaming import rename_source
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from tests.contents import FACTS, Stored, part_of, table_of
from tests.tables import Rejected, add

BAD = Rejected("/data/rose/bad.png", "corrupt", "no image in it", 12, 1_700_000_000_000_000)
ELSEWHERE = BAD._replace(uri="/database/bad.png")
IMAGES = [
    Stored("/data/rose/1.png", "one", 2),
    Stored("/data/tulip/2.png", "two", labels=("b", "c"), split="test"),
    Stored("/other/3.png", "three", 1),
]


def moved(table: FeatureTable, old: str = "/data", new: str = "/new", run_id: str = "mover") -> FeatureTable:
    return rename_source(table, new, f"{old}/", f"{new}/", run_id)


def uris(table: FeatureTable) -> list[str]:
    """Of the images themselves."""
    return sorted(table.metadata(["uri"], views=0).column("uri").to_pylist())


def rejected_uris(table: FeatureTable) -> list[str]:
    return sorted(rejected_rows(table).column("uri").to_pylist())


def all_rows(table: FeatureTable) -> list[dict[str, Any]]:
    rows = [row for path in table.paths for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: (row["uri"], row["view"]))


def all_rejected(table: FeatureTable) -> list[dict[str, Any]]:
    return sorted(rejected_rows(table).to_pylist(), key=lambda row: row["uri"])


def test_rows_of_both_tables_get_new_uris_and_stay_as_they_were(tmp_path: Path):
    facts = dataclasses.replace(FACTS, splits=(("a", "train"),), classes="deepest", groups=True)
    images = [*IMAGES[:2], IMAGES[2]._replace(group="g", run_id="run-0")]
    table = table_of(tmp_path, images, rejected=[BAD, ELSEWHERE], facts=facts)
    newest = moved(table)
    assert newest.facts == dataclasses.replace(facts, source="/new")
    assert newest.version == feature_store.open(tmp_path).version == table.version + 2
    names = {"/data/rose/1.png": "/new/rose/1.png", "/data/tulip/2.png": "/new/tulip/2.png"}
    assert all_rows(newest) == [row | {"uri": names.get(row["uri"], row["uri"])} for row in all_rows(table)]
    names |= {BAD.uri: "/new/rose/bad.png"}
    renamed = [row | {"uri": names.get(row["uri"], row["uri"])} for row in all_rejected(table)]
    assert all_rejected(newest) == sorted(renamed, key=lambda row: row["uri"])
    assert newest.views == 2, "the log tells of views"
    assert newest.rejected_version == table.rejected_version + 1


def test_older_versions_keep_the_old_uris(tmp_path: Path):
    table = table_of(tmp_path, IMAGES, rejected=[BAD])
    moved(table)
    before = feature_store.open(tmp_path, version=table.version)
    assert before.source == "/data" and uris(before) == uris(table) and rejected_uris(before) == [BAD.uri]


def test_the_history_tells_which_run_did_it(tmp_path: Path):
    newest = moved(table_of(tmp_path, IMAGES))
    facts, rows, *_ = newest.delta.history()
    assert facts["run_id"] == rows["run_id"] == "mover" and rows["change"] == "mover/rename-source"


def test_parts_keep_their_decodings(tmp_path: Path):
    table = table_of(tmp_path)
    add(table, part_of(table, [IMAGES[0], IMAGES[1]._replace(run_id="run-0")], {"run-0": 0, "run-1": 1}))
    (path,) = moved(table).paths
    assert read_decodings(path) == {"run-0": 0, "run-1": 1}


def test_parts_without_such_uris_stay_the_files_that_they_were(tmp_path: Path):
    table = table_of(tmp_path, [IMAGES[0]], [IMAGES[2]], rejected=[ELSEWHERE])
    newest = moved(table)
    assert uris(newest) == ["/new/rose/1.png", "/other/3.png"] and rejected_uris(newest) == [ELSEWHERE.uri]
    assert len(set(newest.names) & set(table.names)) == 1 and len(newest.names) == 2
    assert newest.rejected_names == table.rejected_names
    assert newest.rejected_version == table.rejected_version


@pytest.mark.parametrize(
    ("old", "new", "uri", "renamed"),
    [
        ("/data", "/new", "/data2/a.png", "/data2/a.png"),
        ("/data", "/new", "/data/data/a.png", "/new/data/a.png"),
        ("/ü𝄞", "/n", "/ü𝄞/𝄞.png", "/n/𝄞.png"),
        ("/n", "/ü𝄞", "/n/a.png", "/ü𝄞/a.png"),
        ("/da.a", "/new", "/data/a.png", "/data/a.png"),
        ("/da_a%", "/new", "/data/a.png", "/data/a.png"),
        ("/data", r"/\0", "/data/a.png", r"/\0/a.png"),
    ],
)
def test_only_the_beginning_of_a_uri_is_replaced(tmp_path: Path, old: str, new: str, uri: str, renamed: str):
    facts = dataclasses.replace(FACTS, source=old)
    assert uris(moved(table_of(tmp_path, [Stored(uri, "one")], facts=facts), old, new)) == [renamed]


@pytest.mark.parametrize(("old", "new"), [("/data", "/data/v1"), ("/data/v1", "/data")])
def test_a_folder_may_be_moved_into_itself_or_out(tmp_path: Path, old: str, new: str):
    """The new uris begin with the old folder, too, and are not renamed again."""
    facts = dataclasses.replace(FACTS, source=old)
    images = [Stored(f"{old}/v1/1.png", "one"), Stored(f"{old}/2.png", "two")]
    bad = [BAD._replace(uri=f"{old}/v1/bad.png")]
    newest = moved(table_of(tmp_path, images, rejected=bad, facts=facts), old, new)
    assert newest.source == new
    assert uris(newest) == sorted([f"{new}/v1/1.png", f"{new}/2.png"])
    assert rejected_uris(newest) == [f"{new}/v1/bad.png"]


def test_a_list_that_was_renamed_in_its_folder_changes_no_uri(tmp_path: Path):
    table = table_of(tmp_path, IMAGES, facts=dataclasses.replace(FACTS, source="/data/list.csv"))
    newest = rename_source(table, "/data/images.csv", "/data/", "/data/", "mover")
    assert newest.source == "/data/images.csv" and newest.names == table.names
    assert newest.version == table.version + 1


def test_it_may_be_moved_back_and_once_more(tmp_path: Path):
    table = table_of(tmp_path, IMAGES[:2], rejected=[BAD])
    there = moved(moved(moved(table), "/new", "/data"))
    assert there.source == "/new" and uris(there) == ["/new/rose/1.png", "/new/tulip/2.png"]
    assert rejected_uris(there) == ["/new/rose/bad.png"]


def test_a_table_without_rows_is_of_the_new_source(tmp_path: Path):
    table = table_of(tmp_path)
    newest = moved(table)
    assert newest.source == "/new" and newest.version == table.version + 1


def test_what_is_done_is_not_done_again(tmp_path: Path):
    table = table_of(tmp_path, IMAGES)
    done = moved(table)
    for again in (moved(table), moved(done)):
        assert again.version == done.version and again.names == done.names


class _Stop(Exception):
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, what: str, action: Callable[[], None]) -> None:
    """Do something once, right before a commit: of `features` or `rejected` rows, or of the `facts`."""
    done: list[bool] = []

    def before(place: str) -> None:
        if place == what and not done:
            done.append(True)
            action()

    write, set_properties = DeltaTable.create_write_transaction, TableAlterer.set_table_properties

    def create_write_transaction(self, *arguments, **options):
        before("features" if "/features/" in self.table_uri else "rejected")
        write(self, *arguments, **options)

    def set_table_properties(self, *arguments, **options):
        before("facts")
        set_properties(self, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", create_write_transaction)
    monkeypatch.setattr(TableAlterer, "set_table_properties", set_table_properties)


@pytest.mark.parametrize("stopped_before", ["rejected", "features", "facts"])
@pytest.mark.parametrize("new", ["/new", "/data/v1"])
def test_where_it_was_stopped_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_before: str, new: str
):
    """Readers see the old pair of rows and rejections, or the new one."""
    table = table_of(tmp_path, IMAGES, rejected=[BAD])

    def stop() -> None:
        raise _Stop

    interrupt(monkeypatch, stopped_before, stop)
    with pytest.raises(_Stop):
        moved(table, new=new)
    between = feature_store.open(tmp_path)
    assert between.source == "/data"
    folder = new if stopped_before == "facts" else "/data"
    assert uris(between) == [f"{folder}/rose/1.png", f"{folder}/tulip/2.png", "/other/3.png"]
    assert rejected_uris(between) == [f"{folder}/rose/bad.png"]

    newest = moved(between, new=new, run_id="another")
    assert newest.source == new
    assert uris(newest) == [f"{new}/rose/1.png", f"{new}/tulip/2.png", "/other/3.png"]
    assert rejected_uris(newest) == [f"{new}/rose/bad.png"]
    assert len(all_rows(newest)) == len(all_rows(table))


@pytest.mark.parametrize("overtaken_before", ["rejected", "features", "facts"])
def test_what_others_commit_meanwhile_is_renamed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overtaken_before: str
):
    table = table_of(tmp_path, IMAGES, rejected=[BAD])

    def overtake() -> None:
        newest = feature_store.open(tmp_path)
        part = part_of(newest, [Stored("/data/late.png", "late", run_id="late")])
        add(newest, part, [BAD._replace(uri="/data/late-bad.png")], run_id="late")

    interrupt(monkeypatch, overtaken_before, overtake)
    newest = moved(table)
    assert newest.source == "/new"
    assert uris(newest) == ["/new/late.png", "/new/rose/1.png", "/new/tulip/2.png", "/other/3.png"]
    assert rejected_uris(newest) == ["/new/late-bad.png", "/new/rose/bad.png"]


def test_parts_that_are_rewritten_already_serve_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A table may be large, and others fast."""
    table = table_of(tmp_path, IMAGES[:1], IMAGES[1:2])

    def overtake() -> None:
        newest = feature_store.open(tmp_path)
        add(newest, part_of(newest, [Stored("/late.png", "late", run_id="late")]), run_id="late")

    interrupt(monkeypatch, "features", overtake)
    newest = moved(table)
    assert len(newest.names) == 3
    parts = [path.name for path in table.folder.iterdir() if path.suffix == ".parquet"]
    assert sorted(parts) == sorted({*table.names, *newest.names})


def test_facts_are_those_of_the_moment(tmp_path: Path):
    """Not those of the version that the caller had."""
    table = table_of(tmp_path)
    stale = dataclasses.replace(FACTS, classes="deepest")
    decide_anew(table, stale)
    assert moved(table).facts == TableFacts(**{**vars(stale), "source": "/new"})
