"""What runs say of themselves to others: plans, that they are alive, and what they have begun."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import files
from features.augmentation import Augmentation
from features.errors import BottleneckError
from features.store.commit import Basis
from features.store.conflicts import STORED_SCHEMA
from features.store.table import FeatureTable
from pipelines import runs
from pipelines.runs import (
    ATTEMPTS_SCHEMA,
    PLANNED_SCHEMA,
    READ,
    Header,
    Run,
    attempts_of_dead_runs,
    dead_runs,
    living_runs,
    outdated,
    remove_old_runs,
    wait_for_turn,
)
from tests.tables import NOON, make_table


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    return make_table(tmp_path, np.zeros((2, 2048), np.float32), ["a", "b"])


def rows(*names: str) -> pa.Table:
    facts = {"labels": [], "action": READ, "same_size": False, "attempts": 0}
    return pa.Table.from_pylist([{"uri": name, **facts} for name in names], PLANNED_SCHEMA)


def planned(table: FeatureTable, run_id: str, *slices: tuple[str, ...]) -> Run:
    """A run with a plan, which is not alive."""
    run = Run(table.store, run_id)
    run.plan_path.parent.mkdir(parents=True)
    run.write_plan(Header(table.name, Basis.of(table)), (rows(*uris) for uris in slices))
    return run


def test_a_plan_is_read_slice_by_slice(table: FeatureTable):
    run = planned(table, "run-1", ("a", "b"), ("c",))
    assert run.header() == Header(table.name, Basis.of(table))
    assert (run.slices(), run.images()) == (2, 3)
    assert run.slice(1).equals(rows("c")) and run.slice(0).schema == PLANNED_SCHEMA
    assert run.uris().to_pylist() == ["a", "b", "c"]


def test_a_plan_says_which_views_are_wanted_and_how_they_are_made(table: FeatureTable):
    run = planned(table, "run-1")
    made = Augmentation(crop=0.5).to_dict()
    header = Header(table.name, Basis.of(table), 4, made)
    run.write_plan(header, [rows("a")])
    assert run.header() == header and Augmentation.from_dict(header.augmentation or {}).crop == 0.5


def as_old(run: Run, columns: list[str], facts: list[str]) -> None:
    """Let a plan be one of an older version, without these columns and facts of its header."""
    with pq.ParquetFile(run.plan_path) as file:
        old, metadata = file.read().drop_columns(columns), file.schema_arrow.metadata
    header = json.loads(metadata[b"bottlenecks.plan"])
    for fact in facts:
        del header[fact]
    pq.write_table(old.replace_schema_metadata({b"bottlenecks.plan": json.dumps(header)}), run.plan_path)


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        (["action", "same_size", "replaced_uri"], ["views", "augmentation"]),
        (["group", "action", "same_size", "replaced_uri"], ["views", "augmentation"]),
    ],
    ids=["before views", "before groups"],
)
def test_a_plan_of_an_older_version_is_read(table: FeatureTable, columns: list[str], facts: list[str]):
    run = planned(table, "run-1", ("a", "b"))
    run.begin(0)
    as_old(run, columns, facts)
    assert run.header() == Header(table.name, Basis.of(table), 0, None)
    assert run.slice(0).equals(rows("a", "b"))
    assert dead_runs(table)[0].run_id == "run-1"
    assert attempts_of_dead_runs(table).column("uri").to_pylist() == ["a", "b"]
    assert run.uris().to_pylist() == ["a", "b"]


def test_a_plan_on_disk_is_what_every_version_reads(table: FeatureTable):
    run = planned(table, "run-1", ("a", "b"), ("c",))
    assert run.plan_path == table.store / "runs/run-1/plan.parquet"
    with pq.ParquetFile(run.plan_path) as file:
        header = json.loads(file.metadata.metadata[b"bottlenecks.plan"])
        fields = [
            f"{field.name}: {field.type}{'' if field.nullable else ' not null'}"
            for field in file.schema_arrow
        ]
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    assert header == {
        "format": 1,
        "table": "inception_v3",
        "views": 0,
        "augmentation": None,
        "table_id": table.delta.metadata().id,
        "version": table.version,
        "facts": table.facts.to_json(),
    }
    assert fields == [
        "uri: string not null",
        "labels: list<element: string not null> not null",
        "split: string",
        "group: string",
        "size: int64",
        "modified_at: timestamp[us, tz=UTC]",
        "action: string not null",
        "same_size: bool not null",
        "attempts: int32 not null",
        "replaced_uri: string",
        "replaced_part: string",
        "replaced_size: int64",
        "replaced_modified_at: timestamp[us, tz=UTC]",
        "replaced_image_id: string",
        "replaced_written_at: timestamp[us, tz=UTC]",
    ]
    assert [(group.num_rows, group.column(0).compression) for group in groups] == [(2, "ZSTD"), (1, "ZSTD")]
    assert pa.schema([("uri", pa.string()), ("attempts", pa.int32())]) == ATTEMPTS_SCHEMA


def test_what_a_plan_replaces_are_rows_of_the_tables():
    new = {"uri": "/new.png", "labels": [], "action": READ, "same_size": True, "attempts": 0}
    row = {"part": "one.parquet", "size": 7, "modified_at": NOON, "image_id": "ab", "written_at": NOON}
    stored = [{"uri": "/old.png", **row}, {"uri": "/missing.png", **row, "image_id": None}]
    replacing = [
        {**new, "uri": uri, "size": 8, **{f"replaced_{name}": value for name, value in one.items()}}
        for uri, one in zip(("/old.png", "/moved.png"), stored, strict=True)
    ]
    rows = outdated(pa.Table.from_pylist([new, *replacing], PLANNED_SCHEMA))
    assert rows.schema == STORED_SCHEMA and rows.to_pylist() == stored


def test_a_plan_that_is_missing_or_half_written_is_none(table: FeatureTable):
    run = planned(table, "run-1", ("a", "b"))
    whole = run.plan_path.read_bytes()
    run.plan_path.write_bytes(whole[: len(whole) // 2])
    assert run.header() is None and dead_runs(table) == []
    run.plan_path.unlink()
    assert run.header() is None and run.uris().to_pylist() == []


def test_a_plan_of_a_later_version_is_refused(table: FeatureTable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "_FORMAT", 2)
    run = planned(table, "run-1", ("a",))
    monkeypatch.undo()
    with pytest.raises(BottleneckError) as error:
        run.header()
    assert str(error.value) == f"{run.plan_path} was written by a later version: update this one"


def test_dead_runs_are_those_of_the_table(table: FeatureTable, tmp_path: Path):
    planned(make_table(tmp_path / "elsewhere", np.zeros((2, 2048), np.float32), ["a", "b"]), "run-0", ("a",))
    shutil.move(tmp_path / "elsewhere/runs/run-0", tmp_path / "runs/run-0")  # of a table that was made anew
    other = make_table(tmp_path, np.zeros((2, 2048), np.float32), ["a", "b"], name="other")
    planned(table, "run-1", ("a",))
    planned(other, "run-2", ("a",))
    with planned(table, "run-3", ("a",)).kept_alive(table.name, local=True):
        assert [run.run_id for run in dead_runs(table)] == ["run-1"]


def test_who_has_planned_first_goes_first_and_before_that_who_began_first(table: FeatureTable):
    early, late = planned(table, "run-2", ("a",)), planned(table, "run-1", ("a",))
    for age, run in zip((2, 1), (early, late), strict=True):
        os.utime(run.plan_path, ns=(0, time.time_ns() - age * 10**9))
    first, second = Run(table.store, "run-0"), Run(table.store, "run-9")
    everyone = [second, first, late, early]
    assert [run.run_id for run in second.ahead(everyone)] == ["run-0", "run-1", "run-2"]
    assert [run.run_id for run in first.ahead(everyone)] == ["run-1", "run-2"]
    assert [run.run_id for run in late.ahead(everyone)] == ["run-2"]
    assert early.ahead(everyone) == []


def test_a_run_is_alive_while_it_is_kept_alive(table: FeatureTable):
    run = planned(table, "run-1", ("a",))
    assert not run.is_alive()
    with run.kept_alive("inception_v3", local=True):
        assert run.is_alive() and run.is_alive()
        assert [one.run_id for one in living_runs(table.store, table.name)] == ["run-1"]
        assert living_runs(table.store, "other") == []
        with Run(table.store, "run-0").kept_alive(table.name, local=True):
            living = [one.run_id for one in living_runs(table.store, table.name)]
            assert living == ["run-1", "run-0"], "the one that has planned first"
    assert not run.is_alive() and dead_runs(table) == [], "a run that has ended well leaves nothing"


def test_a_run_that_ends_by_a_fault_keeps_its_plan_and_no_attempt(table: FeatureTable):
    run = planned(table, "run-1", ("a",))
    with pytest.raises(KeyboardInterrupt), run.kept_alive("inception_v3", local=True):
        run.begin(0)
        raise KeyboardInterrupt
    assert not run.is_alive() and len(dead_runs(table)) == 1
    assert not run.attempts()


def test_a_run_that_ends_by_a_fault_before_it_has_planned_leaves_nothing(table: FeatureTable):
    for local in (True, False):
        run = Run(table.store, "run-1")
        with pytest.raises(KeyboardInterrupt), run.kept_alive(table.name, local=local):
            raise KeyboardInterrupt
        assert not run.plan_path.parent.exists()


def test_attempts_are_counted_by_slice_and_those_of_dead_runs_by_image(table: FeatureTable):
    first, second = planned(table, "run-1", ("a", "b"), ("c",)), planned(table, "run-2", ("b",))
    ended = first.begin(0)
    marks = [first.begin(number) for number in (0, 0, 1)] + [second.begin(0)]
    assert ended.parent == table.store / "runs/run-1/attempts" and len(set(marks)) == 4
    first.end(ended)
    assert (first.attempts(), second.attempts()) == ({0: 2, 1: 1}, {0: 1})
    counts = attempts_of_dead_runs(table)
    assert counts.schema == ATTEMPTS_SCHEMA
    assert sorted(map(tuple, (row.values() for row in counts.to_pylist()))) == [
        ("a", 2),
        ("b", 1),
        ("b", 2),
        ("c", 1),
    ]


def keep_alive(store: Path, run_id: str, begun) -> None:
    run = Run(store, run_id)
    with run.kept_alive("inception_v3", local=True):
        run.begin(1)
        begun.set()
        time.sleep(600)


def test_a_process_that_is_killed_is_seen_to_be_dead_at_once_and_its_attempts_count(table: FeatureTable):
    spawn = multiprocessing.get_context("spawn")
    run, begun = planned(table, "run-1", ("a", "b"), ("c", "d")), spawn.Event()
    process = spawn.Process(target=keep_alive, args=(table.store, "run-1", begun))
    process.start()
    assert begun.wait(60) and run.is_alive()
    assert len(attempts_of_dead_runs(table)) == 0
    process.kill()
    process.join()
    assert not run.is_alive()
    assert run.attempts() == {1: 1}
    assert attempts_of_dead_runs(table).to_pylist() == [
        {"uri": "c", "attempts": 1},
        {"uri": "d", "attempts": 1},
    ]


def test_a_run_on_another_machine_is_dead_when_its_mark_is_old(table: FeatureTable):
    run = planned(table, "run-1", ("a",))
    mark = run.plan_path.with_name("alive")
    mark.write_text('{"table": "inception_v3", "host": "elsewhere", "locked": true}')
    assert run.is_alive()
    before = time.time() - 2 * 60 - 1
    os.utime(mark, (before, before))
    assert not run.is_alive()
    with run.renewing():
        deadline = time.monotonic() + 30
        while not run.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert run.is_alive(), "its workers renew it"


def test_renewing_makes_no_mark_for_a_run_that_is_done(table: FeatureTable):
    run = Run(table.store, "run-1")
    with run.renewing():
        time.sleep(0.1)
    assert not run.plan_path.parent.exists()


def test_workers_elsewhere_keep_a_run_alive_when_its_driver_has_ended(table: FeatureTable):
    run = planned(table, "run-1", ("a",))
    with pytest.raises(KeyboardInterrupt), run.kept_alive(table.name, local=False):
        mark = run.begin(0)
        raise KeyboardInterrupt
    assert run.is_alive() and run.attempts() == {0: 1}
    run.end(mark)


def test_waiting_ends_with_the_other_run(table: FeatureTable, monkeypatch: pytest.MonkeyPatch):
    run, said = Run(table.store, "run-2"), []
    with contextlib.ExitStack() as other:

        def say(text: str) -> None:
            said.append(text)
            if len(said) == 2:
                other.close()

        other.enter_context(planned(table, "run-1", ("a",)).kept_alive(table.name, local=True))
        monkeypatch.setattr(runs, "_LOOKED_EVERY", 0.01)
        wait_for_turn(run, "other", say)
        assert not said
        wait_for_turn(run, table.name, say)
    assert said == 2 * [
        "run run-1 is at work on this table: waiting until it ends "
        "(--if-running skip does only what it has not planned)"
    ]


def test_dead_runs_are_removed_after_a_week_and_living_ones_stay(table: FeatureTable):
    dead, old, week = planned(table, "dead", ("a",)), planned(table, "old", ("a",)), 7 * 24 * 3600
    later, before = time.time() - week + 600, time.time() - week - 1
    os.utime(dead.plan_path.parent, (later, later))
    os.utime(old.plan_path.parent, (before, before))
    (old.plan_path.parents[1] / ".DS_Store").touch()
    os.utime(old.plan_path.parents[1] / ".DS_Store", (before, before))
    living = planned(table, "living", ("a",))
    with living.kept_alive(table.name, local=True):
        os.utime(living.plan_path.parent, (before, before))
        remove_old_runs(table.store)
        assert [run.run_id for run in dead_runs(table)] == ["dead"]
        assert [run.run_id for run in living_runs(table.store, table.name)] == ["living"]


def test_a_plan_is_not_read_once_more_for_each_slice(table: FeatureTable, monkeypatch: pytest.MonkeyPatch):
    run = planned(table, "run-1", ("a",), ("b",), ("c",))
    read: list[Path] = []
    footer = files.footer

    def read_footer(path: Path) -> pq.FileMetaData:
        read.append(path)
        return footer(path)

    monkeypatch.setattr(files, "footer", read_footer)
    for number in range(run.slices()):
        run.slice(number)
    assert len(read) == 1
