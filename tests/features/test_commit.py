"""Commits: whole or not at all, once though retried, and one of two racing writers."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable, write_deltalake

from features import store as feature_store
from features.commit import Chunk, Rejected, StalePlan, commit_chunk, rejected_rows
from features.locations import features_path, rejected_path
from features.parts import Part, read_decodings, write_part
from features.table import FeatureTable
from tests.tables import make_rows, make_table

BAD = Rejected("/images/bad.jpg", "corrupt", "no image in it", 12, 1_700_000_000_000_000)


def features(rows: int, value: float = 0.0) -> np.ndarray:
    return np.full((rows, 2048), value, np.float32)


def table_of(store: Path, rows: int = 4, rejected: list[Rejected] | None = None) -> FeatureTable:
    return make_table(store, features(rows), ["a", "b"] * (rows // 2), rejected=rejected or [])


def part_of(
    table: FeatureTable, prefix: str, rows: int = 2, value: float = 1.0, run_id: str = "run-2"
) -> Part:
    batch = make_rows(table.facts, features(rows, value), ["a"] * rows, prefix=prefix, run_id=run_id)
    return write_part(features_path(table.store, table.name), [batch], table.facts.schema)


def test_a_commit_adds_its_rows_and_tells_the_history(tmp_path: Path):
    table = table_of(tmp_path)
    version = commit_chunk(
        tmp_path, table.name, Chunk("run-2", 1, table.version), [part_of(table, "new")], [], {"stored": 2}
    )
    newest = feature_store.open(tmp_path)
    assert newest.version == version == table.version + 1
    assert len(newest.metadata()) == 6
    entry = newest.delta.history(1)[0]
    assert (entry["run_id"], entry["chunk"], entry["stored"]) == ("run-2", 1, 2)


def test_a_retried_step_commits_once(tmp_path: Path):
    table = table_of(tmp_path)
    chunk = Chunk("run-2", 1, table.version)
    first = commit_chunk(tmp_path, table.name, chunk, [part_of(table, "new")], [BAD], {})
    again = commit_chunk(tmp_path, table.name, chunk, [part_of(table, "new")], [BAD], {})
    assert first == again
    newest = feature_store.open(tmp_path)
    assert len(newest.metadata()) == 6
    assert rejected_rows(newest).column("uri").to_pylist() == [BAD.uri]


def test_a_writer_with_an_old_plan_loses_and_changes_nothing(tmp_path: Path):
    table = table_of(tmp_path)
    commit_chunk(tmp_path, table.name, Chunk("run-2", 1, table.version), [part_of(table, "new")], [], {})
    with pytest.raises(StalePlan):
        stale = Chunk("run-3", 1, table.version)
        commit_chunk(tmp_path, table.name, stale, [part_of(table, "late")], [BAD], {})
    newest = feature_store.open(tmp_path)
    assert newest.version == table.version + 1
    assert len(newest.metadata()) == 6 and len(rejected_rows(newest)) == 0


def race(store: Path, version: int, number: str, barrier, results):
    table = feature_store.open(store)
    part = part_of(table, f"racer{number}", run_id=f"racer-{number}")
    bad = BAD._replace(uri=f"/images/bad-{number}.jpg")
    barrier.wait()
    try:
        commit_chunk(store, table.name, Chunk(f"racer-{number}", 1, version), [part], [bad], {})
        results.put((number, "won"))
    except StalePlan:
        results.put((number, "stale"))


def test_of_two_writers_that_race_one_wins(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    table = table_of(tmp_path)
    for turn in range(3):
        barrier, results = spawn.Barrier(2), spawn.Queue()
        before = feature_store.open(tmp_path)
        writers = [
            spawn.Process(target=race, args=(tmp_path, before.version, f"{turn}-{racer}", barrier, results))
            for racer in "ab"
        ]
        for writer in writers:
            writer.start()
        outcomes = dict(results.get(timeout=60) for _ in writers)
        for writer in writers:
            writer.join()
        assert sorted(outcomes.values()) == ["stale", "won"]
        (winner,) = (number for number, outcome in outcomes.items() if outcome == "won")
        after = feature_store.open(tmp_path)
        assert after.version == before.version + 1
        added = set(after.metadata(["run_id"]).column("run_id").to_pylist())
        assert f"racer-{winner}" in added
        assert f"/images/bad-{winner}.jpg" in rejected_rows(after).column("uri").to_pylist()
        table = after
    assert len(table.metadata()) == 4 + 3 * 2


def test_new_rows_take_the_place_of_old_ones_in_one_commit(tmp_path: Path):
    table = table_of(tmp_path, rows=6)
    replaced = frozenset(["/images/image-0.png", "/images/image-1.png"])
    part = part_of(table, "image", rows=2, value=7.0)
    commit_chunk(tmp_path, table.name, Chunk("run-2", 1, table.version, replaced), [part], [], {})
    newest = feature_store.open(tmp_path)
    uris = newest.metadata(["uri"]).column("uri").to_pylist()
    assert sorted(uris) == [f"/images/image-{number}.png" for number in range(6)]
    X, _ = newest.matrix()
    assert sorted(X[:, 0].tolist()) == [0, 0, 0, 0, 7, 7]
    old, _ = feature_store.open(tmp_path, version=table.version).matrix()
    assert not old.any(), "the version before stays readable as it was"


def test_an_image_that_goes_bad_or_good_again_is_in_one_table_at_a_time(tmp_path: Path):
    table = table_of(tmp_path)
    uri = "/images/image-0.png"
    bad = BAD._replace(uri=uri)
    commit_chunk(tmp_path, table.name, Chunk("run-2", 1, table.version, frozenset([uri])), [], [bad], {})
    went_bad = feature_store.open(tmp_path)
    assert uri not in went_bad.metadata(["uri"]).column("uri").to_pylist()
    assert rejected_rows(went_bad).column("uri").to_pylist() == [uri]

    chunk = Chunk("run-3", 1, went_bad.version, frozenset([uri]))
    part = part_of(went_bad, "image", rows=1)
    commit_chunk(tmp_path, table.name, chunk, [part], [], {})
    good_again = feature_store.open(tmp_path)
    assert good_again.metadata(["uri"]).column("uri").to_pylist().count(uri) == 1
    assert len(rejected_rows(good_again)) == 0
    assert len(rejected_rows(went_bad)) == 1, "each version of the features keeps its own rejections"


def test_rejections_without_their_features_are_not_in_force_and_are_written_over(tmp_path: Path):
    """As when a writer is killed between its two commits."""
    table = table_of(tmp_path, rejected=[BAD])
    path = rejected_path(tmp_path, table.name)
    orphan = BAD._replace(uri="/images/orphan.jpg")
    half_done = DeltaTable(path)
    other = tmp_path / "other"
    rows = rejected_rows(make_table(other, features(2), ["a", "b"], rejected=[orphan]))
    write_deltalake(half_done, rows, mode="append")
    assert rejected_rows(feature_store.open(tmp_path)).column("uri").to_pylist() == [BAD.uri]

    late = BAD._replace(uri="/images/late.jpg")
    commit_chunk(tmp_path, table.name, Chunk("run-2", 1, table.version), [], [late], {})
    kept = rejected_rows(feature_store.open(tmp_path)).column("uri").to_pylist()
    assert sorted(kept) == sorted([BAD.uri, late.uri])
    assert DeltaTable(path).version() == feature_store.open(tmp_path).rejected_version


def test_a_chunk_of_nothing_but_rejections_moves_the_table_on(tmp_path: Path):
    table = table_of(tmp_path)
    commit_chunk(tmp_path, table.name, Chunk("run-2", 1, table.version), [], [BAD], {})
    newest = feature_store.open(tmp_path)
    assert newest.version == table.version + 1
    assert rejected_rows(newest).to_pylist()[0]["size"] == 12


def test_a_rewritten_part_keeps_the_decoding_of_the_runs_that_it_still_holds(tmp_path: Path):
    table = table_of(tmp_path)
    batches = [
        make_rows(table.facts, features(2), ["a"] * 2, prefix=run_id, run_id=run_id)
        for run_id in ("run-2", "run-3")
    ]
    part = write_part(
        features_path(tmp_path, table.name), batches, table.facts.schema, {"run-2": 1, "run-3": 2}
    )
    version = commit_chunk(tmp_path, table.name, Chunk("run-3", 1, table.version), [part], [], {})
    assert feature_store.open(tmp_path).decodings() == {2: 2, 1: 2, 0: 4}
    gone = frozenset({"/images/run-2-0.png", "/images/run-2-1.png", "/images/run-3-0.png"})
    commit_chunk(tmp_path, table.name, Chunk("run-4", 1, version, gone), [], [], {})
    newest = feature_store.open(tmp_path)
    assert newest.decodings() == {2: 1, 0: 4}
    assert sorted(map(str, map(read_decodings, newest.paths))) == ["{'run-3': 2}", "{}"]
