"""Commits: whole or not at all, once though retried, and every one of many that race."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.table import TableAlterer
from hypothesis import given, settings
from hypothesis import strategies as st

from features import store as feature_store
from features.augmentation import Augmentation
from features.errors import BottleneckError
from features.locations import features_path, rejected_path
from features.store.commit import (
    Basis,
    Change,
    TableReplaced,
    commit,
    commit_rejected,
    decide_anew,
    rejected_rows,
    set_augmentation,
)
from features.store.log import part_names
from features.store.parts import Part, read_decodings, write_part
from features.store.schema import REJECTED_SCHEMA, TableFacts
from features.store.table import FeatureTable
from tests.tables import NOON, RECIPE, Rejected, add, as_views, make_rows, make_table, rejections

AT_NOON = round(NOON.timestamp() * 1_000_000)
BAD = Rejected("/images/bad.jpg", "corrupt", "no image in it", 12, 1_700_000_000_000_000)
URI = "/images/image-0.png"


def features(rows: int, value: float = 0.0) -> np.ndarray:
    return np.full((rows, 2048), value, np.float32)


def table_of(store: Path, rows: int = 4, rejected: list[Rejected] | None = None) -> FeatureTable:
    return make_table(store, features(rows), ["a", "b"] * (rows // 2), rejected=rejected or [])


def part_of(
    table: FeatureTable,
    prefix: str,
    rows: int = 2,
    value: float = 1.0,
    run_id: str = "run-2",
    modified_at: int = AT_NOON,
) -> Part:
    batch = make_rows(table.facts, features(rows, value), ["a"] * rows, prefix=prefix, run_id=run_id)
    place = table.facts.schema.get_field_index("modified_at")
    times = pa.array([modified_at] * rows, table.facts.schema.field(place).type)
    batch = batch.set_column(place, table.facts.schema.field(place), times)
    return write_part(features_path(table.store, table.name), [batch], table.facts.schema, run_id=run_id)


def uris(table: FeatureTable) -> list[str]:
    return sorted(table.metadata(["uri"]).column("uri").to_pylist())


def rejected_uris(table: FeatureTable) -> list[str]:
    return sorted(rejected_rows(table).column("uri").to_pylist())


def logged(folder: Path, version: int) -> list[dict[str, Any]]:
    """What Delta's log has of a version, but for what Delta says of itself."""
    lines = (folder / f"_delta_log/{version:020}.json").read_text().splitlines()
    actions = [json.loads(line) for line in lines]
    for name in ("timestamp", "operation", "operationParameters", "engineInfo", "clientVersion"):
        del actions[0]["commitInfo"][name]
    unset = ("tags", "baseRowId", "defaultRowCommitVersion", "clusteringProvider", "extendedFileMetadata")
    return [
        {kind: {name: value for name, value in facts.items() if name not in unset}}
        for action in actions
        for kind, facts in action.items()
    ]


def added(part: Path, rows: int) -> dict[str, Any]:
    stats = f'{{"numRecords": {rows}}}'
    facts = {"path": part.name, "partitionValues": {}, "size": part.stat().st_size, "stats": stats}
    return {"add": facts | {"modificationTime": 1_700_000_000_500, "dataChange": True}}


def removed(part: Path) -> dict[str, Any]:
    return {"remove": {"path": part.name, "dataChange": True, "deletionTimestamp": 1_700_000_000_500}}


def applied(**versions: int) -> list[dict[str, Any]]:
    names = {"change": "run-2/7", "rejected": "bottlenecks/rejected-version", "table": "bottlenecks/table"}
    return [{"txn": {"appId": names[name], "version": version}} for name, version in versions.items()]


def test_a_commit_tells_the_logs_of_both_tables_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two of three rejections and one of four rows leave; two of each come."""
    gone = BAD._replace(uri="/images/gone.jpg")
    kept = [BAD, BAD._replace(uri="/images/bad-2.jpg")]
    table = table_of(tmp_path, rejected=[*kept, gone])
    (old,), (old_bad,) = map(Path, table.paths), map(Path, table.rejected_paths)
    part, replaced = part_of(table, "image", rows=1), [URI, gone.uri]
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.5)
    new = [BAD._replace(uri=f"/new-{number}") for number in range(2)]
    assert add(table, part, new, replacing=replaced, slice=7, facts={"note": "test"}) == 2
    newest = feature_store.open(tmp_path)
    mine, rest = map(Path, sorted(newest.paths, key=lambda path: part.name not in path))
    bad, rest_bad = map(Path, sorted(newest.rejected_paths, key=lambda path: "part." in path))
    told = {"run_id": "run-2", "change": "run-2/7", "rejected": 2}
    assert logged(newest.folder, 2) == [
        {"commitInfo": told | {"note": "test", "stored": 1, "left_out": 0}},
        added(mine, 1),
        added(rest, 3),
        removed(old),
        *applied(change=1, rejected=2, table=2),
    ]
    commit_info, *parts, leaves, moved_on = logged(newest.rejected_folder, 2)
    assert commit_info == {"commitInfo": told}
    assert sorted(parts, key=str) == sorted([added(bad, 2), added(rest_bad, 2)], key=str)
    assert [leaves, moved_on] == [removed(old_bad), *applied(table=2)]
    assert rest.name.startswith("run-2.") and mine.name == part.name
    assert uris(newest) == [f"/images/image-{number}.png" for number in range(4)]
    assert rejected_uris(newest) == sorted(image.uri for image in [*kept, *new])


def test_a_retried_step_commits_once(tmp_path: Path):
    table = table_of(tmp_path)
    first = add(table, part_of(table, "new"), [BAD])
    again = add(table, part_of(table, "new"), [BAD])
    assert first == again
    newest = feature_store.open(tmp_path)
    assert len(newest.metadata()) == 6 and rejected_uris(newest) == [BAD.uri]


KINDS, TIMES = ("features", "rejected"), (AT_NOON - 1, AT_NOON, AT_NOON + 1)


@settings(max_examples=12)
@given(
    changes=st.permutations(range(4)).flatmap(
        lambda order: st.tuples(
            st.just(order),
            st.lists(
                st.dictionaries(
                    st.integers(0, 2), st.tuples(st.sampled_from(KINDS), st.sampled_from(TIMES)), min_size=1
                ),
                min_size=2,
                max_size=4,
            ),
        )
    ),
    stored=st.integers(0, 3),
)
def test_changes_of_one_plan_come_to_the_same_rows_in_any_order(
    changes: tuple[list[int], list[dict[int, tuple[str, int]]]], stored: int
):
    """Of each image the latest, features before a rejection; the first images are stored already."""
    order, brought = changes
    with tempfile.TemporaryDirectory() as store:
        table = narrow_table(Path(store), stored)
        for number in (number for number in order if number < len(brought)):
            images, run_id = brought[number], f"run-{number}"
            good = {n: modified_at for n, (kind, modified_at) in images.items() if kind == "features"}
            bad = [
                BAD._replace(uri=f"/images/image-{n}.png", modified_at=modified_at)
                for n, (kind, modified_at) in images.items()
                if kind == "rejected"
            ]
            part = narrow_part(table, good, run_id) if good else None
            replaced = [f"/images/image-{n}.png" for n in images if n < stored]
            add(table, part, bad, replacing=replaced, run_id=run_id)
        newest = feature_store.open(store)
        found = [
            (row["uri"], kind, round(row["modified_at"].timestamp() * 1_000_000))
            for kind, rows in zip(KINDS, (newest.metadata(), rejected_rows(newest)), strict=True)
            for row in rows.to_pylist()
        ]
    best = {n: ("features", AT_NOON - 9) for n in range(stored)}
    for images in brought:
        for n, one in images.items():
            best[n] = max(best.get(n, one), one, key=lambda one: (one[1], one[0] == "features"))
    assert sorted(found) == [(f"/images/image-{n}.png", *best[n]) for n in sorted(best)]


def narrow_table(store: Path, rows: int) -> FeatureTable:
    """Of a layer of 256 features, with some images."""
    table = feature_store.create(store, "inception_v3", TableFacts("digits", "random", ("mixed0",), RECIPE))
    if rows:
        add(table, narrow_part(table, dict.fromkeys(range(rows), AT_NOON - 9), "first"), run_id="first")
    return feature_store.open(store)


def narrow_part(table: FeatureTable, modified_at: dict[int, int], run_id: str) -> Part:
    """Rows of some images, from number to time of change."""
    rows = make_rows(table.facts, np.zeros((3, 256)), ["a"] * 3, run_id=run_id).take(
        pa.array(list(modified_at))
    )
    place = table.facts.schema.get_field_index("modified_at")
    field = table.facts.schema.field(place)
    rows = rows.set_column(place, field, pa.array(list(modified_at.values()), field.type))
    return write_part(table.folder, [rows], table.facts.schema, run_id=run_id)


def race(store: Path, racer: str, commits: int, barrier) -> None:
    table = feature_store.open(store)
    barrier.wait()
    for number in range(commits):
        name = f"{racer}{number}"
        part = part_of(table, name, run_id=racer)
        add(table, part, [BAD._replace(uri=f"/{name}")], replacing=[], run_id=racer, slice=number)


def test_of_writers_that_race_every_one_commits(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    table_of(tmp_path)
    barrier = spawn.Barrier(3)
    writers = [spawn.Process(target=race, args=(tmp_path, racer, 5, barrier)) for racer in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    newest = feature_store.open(tmp_path)
    found = uris(newest)
    assert len(found) == len(set(found)) == 4 + 3 * 5 * 2
    assert rejected_uris(newest) == sorted(f"/{racer}{number}" for racer in "abc" for number in range(5))


def test_new_rows_take_the_place_of_old_ones_in_one_commit(tmp_path: Path):
    table = table_of(tmp_path, rows=6)
    part = part_of(table, "image", rows=2, value=7.0)
    add(table, part, replacing=["/images/image-0.png", "/images/image-1.png"])
    newest = feature_store.open(tmp_path)
    assert newest.version == table.version + 1
    assert uris(newest) == [f"/images/image-{number}.png" for number in range(6)]
    X, _ = newest.matrix()
    assert sorted(X[:, 0].tolist()) == [0, 0, 0, 0, 7, 7]
    old, _ = feature_store.open(tmp_path, version=table.version).matrix()
    assert not old.any(), "the version before stays readable as it was"


def test_an_image_that_goes_bad_or_good_again_is_in_one_table_at_a_time(tmp_path: Path):
    table = table_of(tmp_path)
    add(table, None, [BAD._replace(uri=URI)], replacing=[URI])
    went_bad = feature_store.open(tmp_path)
    assert URI not in uris(went_bad) and rejected_uris(went_bad) == [URI]

    add(went_bad, part_of(went_bad, "image", rows=1), replacing=[URI], run_id="run-3")
    good_again = feature_store.open(tmp_path)
    assert uris(good_again).count(URI) == 1
    assert rejected_uris(good_again) == []
    assert good_again.rejected_version == 2
    told = {"run_id": "run-3", "change": "run-3/0", "rejected": 0}
    assert logged(good_again.rejected_folder, 2)[0] == {"commitInfo": told}
    assert rejected_uris(went_bad) == [URI], "each version of the features keeps its own rejections"


def test_rejections_without_their_features_are_not_in_force_and_are_undone(tmp_path: Path):
    """As when a writer is killed between its two commits."""
    table = table_of(tmp_path, rejected=[BAD])
    path = rejected_path(tmp_path, table.name)
    orphan = rejections([BAD._replace(uri="/images/orphan.jpg")])
    write_deltalake(DeltaTable(path), orphan, mode="append")
    assert rejected_uris(feature_store.open(tmp_path)) == [BAD.uri]
    write_deltalake(DeltaTable(path), orphan, mode="overwrite")
    assert rejected_uris(feature_store.open(tmp_path)) == [BAD.uri]

    late = BAD._replace(uri="/images/late.jpg")
    add(table, None, [late])
    assert rejected_uris(feature_store.open(tmp_path)) == sorted([BAD.uri, late.uri])
    assert DeltaTable(path).version() == feature_store.open(tmp_path).rejected_version


def test_a_refusal_between_the_two_commits_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Rejections are committed, and others are faster with the features."""
    table = table_of(tmp_path, rejected=[BAD])
    refused: list[bool] = []
    write = DeltaTable.create_write_transaction

    def refuse_features_once(self, *arguments, **options):
        if not refused and "/features/" in self.table_uri:
            refused.append(True)
            add(table, part_of(table, "other", run_id="other"), [BAD._replace(uri="/other")], run_id="other")
        write(self, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", refuse_features_once)
    add(table, part_of(table, "new"), [BAD._replace(uri="/new")], replacing=[BAD.uri])
    newest = feature_store.open(tmp_path)
    assert newest.version == table.version + 2
    assert len(uris(newest)) == 8 and rejected_uris(newest) == ["/new", "/other"]


@pytest.mark.parametrize("place", [features_path, rejected_path])
def test_a_writer_of_an_older_version_loses_against_a_commit_of_this_one(
    tmp_path: Path, place: Callable[..., Path]
):
    """It plans again when its id, which both share, has moved on."""
    table = table_of(tmp_path)
    old = DeltaTable(place(tmp_path, table.name))
    add(table, part_of(table, "new"), [BAD])
    properties = CommitProperties(app_transactions=[Transaction("bottlenecks/table", table.version + 1)])
    with pytest.raises(CommitFailedError):
        part, schema = Part("loser.zstd.parquet", 1, 1).add_action(), pa.schema(old.schema().to_arrow())
        old.create_write_transaction([part], "append", schema, commit_properties=properties)


def test_rejections_that_a_loser_commits_in_between_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is stopped before its features, so that the winner's name the version that both have written to."""
    table = table_of(tmp_path)
    lost: list[str] = []
    write = DeltaTable.create_write_transaction

    def be_overtaken(self, *arguments, **options):
        if not lost and "/rejected/" in self.table_uri:
            lost.append("/lost")
            rows = rejections([BAD._replace(uri="/lost")])
            write_deltalake(DeltaTable(table.rejected_folder), rows, mode="append")
        write(self, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", be_overtaken)
    add(table, None, [BAD])
    assert lost and rejected_uris(feature_store.open(tmp_path)) == [BAD.uri]


def test_deltas_own_compaction_in_between_doubles_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It carries no id: a commit that was rebased upon it would bring rows a second time."""
    table = table_of(tmp_path)
    add(table, part_of(table, "more"))
    table = feature_store.open(tmp_path)
    compacted: list[bool] = []
    write = DeltaTable.create_write_transaction

    def be_overtaken(self, *arguments, **options):
        if not compacted:
            compacted.append(True)
            DeltaTable(features_path(tmp_path, table.name)).optimize.compact()
        write(self, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", be_overtaken)
    add(table, part_of(table, "image", rows=1, value=7.0, run_id="run-3"), replacing=[URI], run_id="run-3")
    newest = feature_store.open(tmp_path)
    assert len(uris(newest)) == len(set(uris(newest))) == 6
    assert newest.matrix()[0].max() == 7


def test_a_row_that_others_wrote_again_is_not_taken_for_the_one_that_the_plan_saw(tmp_path: Path):
    """The same file, with another label."""
    table = table_of(tmp_path)
    rows = make_rows(table.facts, features(1, 3.0), ["relabelled"], run_id="others")
    place = table.facts.schema.get_field_index("extracted_at")
    later = pa.array([AT_NOON + 1], table.facts.schema.field(place).type)
    rows = rows.set_column(place, table.facts.schema.field(place), later)
    part = write_part(features_path(tmp_path, table.name), [rows], table.facts.schema)
    add(table, part, replacing=[URI], run_id="others")
    add(table, part_of(table, "image", rows=1), replacing=[URI])
    newest = feature_store.open(tmp_path)
    assert len(uris(newest)) == 4 and newest.matrix()[0].max() == 3


def test_commits_that_are_always_refused_end_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """After pauses that grow, up to a limit."""

    def refuse(self, *arguments, **options):
        raise CommitFailedError("no")

    table = table_of(tmp_path)
    change = Change("run-2/0", "run-2", Basis.of(table))
    pauses: list[float] = []
    monkeypatch.setattr(DeltaTable, "create_write_transaction", refuse)
    monkeypatch.setattr("features.store.commit.random.uniform", lambda least, most: (least, most))
    monkeypatch.setattr("features.store.commit.time.sleep", pauses.append)
    with pytest.raises(BottleneckError) as refusal:
        commit(tmp_path, table.name, change, {})
    assert str(refusal.value) == (
        "table 'inception_v3' refused 30 commits in a row on version 1: "
        f"see whether {tmp_path}/features/inception_v3 can be written"
    )
    assert pauses == [(0, most) for most in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 23)]


def test_a_slice_of_nothing_but_rejections_moves_the_table_on(tmp_path: Path):
    table = table_of(tmp_path)
    add(table, None, [BAD])
    newest = feature_store.open(tmp_path)
    assert newest.version == table.version + 1
    assert rejected_rows(newest).to_pylist()[0]["size"] == 12


LATER, EARLIER = AT_NOON + 1, AT_NOON - 1


@pytest.mark.parametrize(
    ("mine", "others", "winner"),
    [
        (("features", AT_NOON), ("features", EARLIER), "mine"),
        (("features", AT_NOON), ("features", AT_NOON), "others"),
        (("features", AT_NOON), ("rejected", AT_NOON), "mine"),
        (("rejected", AT_NOON), ("features", AT_NOON), "others"),
        (("rejected", AT_NOON), ("features", EARLIER), "mine"),
        (("rejected", None), ("rejected", AT_NOON), "others"),
    ],
)
@pytest.mark.parametrize("replacing", [True, False])
def test_of_what_two_runs_bring_of_one_image_the_later_stays(
    tmp_path: Path, mine: tuple[str, int], others: tuple[str, int], winner: str, replacing: bool
):
    """Both were planned on the same version, with the image in it or without it."""
    table = table_of(tmp_path, rows=0)
    if replacing:
        add(table, part_of(table, "image", run_id="run-1", modified_at=EARLIER - 1), run_id="first")
        table = feature_store.open(tmp_path)
    for run_id, (kind, modified_at) in (("others", others), ("mine", mine)):
        part, bad = None, []
        if kind == "features":
            part = part_of(table, "image", run_id=run_id, modified_at=modified_at)
        else:
            bad = [BAD._replace(uri=f"/images/image-{n}.png", modified_at=modified_at) for n in range(2)]
        replaced = [f"/images/image-{number}.png" for number in range(2)] if replacing else []
        add(table, part, bad, replacing=replaced, run_id=run_id)
    newest = feature_store.open(tmp_path)
    rows = [
        *newest.metadata(["uri", "run_id"]).to_pylist(),
        *rejected_rows(newest).select(["uri", "run_id"]).to_pylist(),
    ]
    rows = [row for row in rows if row["run_id"] != "run-1"]
    assert sorted(row["uri"] for row in rows) == ["/images/image-0.png", "/images/image-1.png"]
    assert {row["run_id"] for row in rows} == {winner}
    entry = newest.delta.history(1)[0]
    assert entry["left_out"] == (0 if winner == "mine" else 2)


def test_what_others_removed_is_not_brought_back_and_what_they_rewrote_is_replaced(tmp_path: Path):
    table = table_of(tmp_path, rows=4)
    other = "/images/image-3.png"
    add(table, replacing=[URI], run_id="removing")  # the part is rewritten: image-1 lies in another one now
    add(table, part_of(table, "image", rows=2, value=7.0), replacing=[URI, "/images/image-1.png"])
    newest = feature_store.open(tmp_path)
    assert uris(newest) == ["/images/image-1.png", "/images/image-2.png", other]
    assert sorted(newest.matrix()[0][:, 0].tolist()) == [0, 0, 7]


def test_two_changes_of_a_run_may_take_rows_out_of_one_part(tmp_path: Path):
    table = table_of(tmp_path, rows=4)
    for number in range(3):
        add(table, replacing=[f"/images/image-{number}.png"], slice=number)
    assert uris(feature_store.open(tmp_path)) == ["/images/image-3.png"]


def test_rows_are_removed_only_as_the_plan_saw_them(tmp_path: Path):
    table = table_of(tmp_path, rows=2)
    add(table, part_of(table, "image", rows=1, modified_at=LATER), replacing=[URI], run_id="replacing")
    add(table, replacing=[URI, "/images/image-1.png"], run_id="removing")
    assert uris(feature_store.open(tmp_path)) == [URI]


def test_two_slices_of_a_run_settle_with_one_part_of_another_run(tmp_path: Path):
    table = table_of(tmp_path, rows=0)
    add(table, part_of(table, "image", rows=2, modified_at=EARLIER, run_id="others"), run_id="others")
    add(table, part_of(table, "image", rows=1), slice=0)
    second = make_rows(table.facts, features(2, 5.0), ["a"] * 2, run_id="run-2").slice(1)
    part = write_part(features_path(tmp_path, table.name), [second], table.facts.schema, run_id="run-2")
    add(table, part, slice=1)
    newest = feature_store.open(tmp_path)
    assert uris(newest) == [URI, "/images/image-1.png"]
    assert sorted(newest.matrix()[0][:, 0].tolist()) == [1, 5]


def test_a_table_that_was_made_anew_takes_nothing_from_an_old_run(tmp_path: Path):
    table = table_of(tmp_path)
    change = Change("old/0", "old", Basis.of(table))
    shutil.rmtree(features_path(tmp_path, table.name))
    anew = feature_store.create(tmp_path, table.name, table.facts)
    part = part_of(anew, "new", run_id="old")
    with pytest.raises(TableReplaced) as refusal:
        commit(tmp_path, table.name, change, {}, part=part)
    assert str(refusal.value) == (
        "table 'inception_v3' was removed and made anew after this run had planned its work, "
        "which is not committed there: run it again"
    )
    assert feature_store.open(tmp_path).version == 0
    shutil.rmtree(tmp_path / "features")
    with pytest.raises(TableReplaced) as refusal:
        commit(tmp_path, table.name, change, {}, part=part)
    assert str(refusal.value) == (
        "table 'inception_v3' was removed after this run had planned its work: run it again"
    )


@pytest.mark.parametrize("change_of_facts", [{"layers": ("mixed0",)}, {"groups": True}])
def test_a_table_without_rows_is_decided_anew_and_then_refuses_what_was_planned_before(
    tmp_path: Path, change_of_facts: dict[str, Any]
):
    table = table_of(tmp_path, rows=0, rejected=[BAD])
    change = Change("old/0", "old", Basis.of(table))
    part = part_of(table, "new", run_id="old")
    facts = dataclasses.replace(table.facts, **change_of_facts)
    anew = decide_anew(table, facts)
    assert anew.facts == facts and anew.has_schema_of(facts) and rejected_uris(anew) == [BAD.uri]
    for version in (2, 3):  # the columns, and then the facts
        assert {"txn": {"appId": "bottlenecks/table", "version": version}} in logged(anew.folder, version)
    assert decide_anew(table, facts).version == anew.version
    with pytest.raises(TableReplaced, match="was made another way"):
        commit(tmp_path, table.name, change, {}, part=part)


def test_a_table_that_got_rows_meanwhile_is_not_decided_anew(tmp_path: Path):
    table = table_of(tmp_path, rows=0)
    add(table, part_of(table, "new"))
    facts = dataclasses.replace(table.facts, source="elsewhere")
    newest = decide_anew(table, facts)
    assert newest.facts == table.facts and len(newest.metadata()) == 2


def test_how_views_are_made_is_said_once_a_table_is_to_have_any(tmp_path: Path):
    table = table_of(tmp_path)
    assert table.augmentation is None
    weak, strong = Augmentation(rotation=0), Augmentation(crop=0.5)
    said = set_augmentation(table, weak)
    assert said.augmentation == weak and said.version == table.version + 1
    txn = {"txn": {"appId": "bottlenecks/table", "version": said.version}}
    assert txn in logged(said.folder, said.version)
    assert said.facts == table.facts and len(said.metadata()) == 4
    assert set_augmentation(said, weak).version == said.version
    assert set_augmentation(table, strong).augmentation == weak, "another run has said it meanwhile"
    changed = set_augmentation(said, strong)  # it has no views yet
    assert changed.augmentation == strong
    rows = as_views(make_rows(table.facts, features(2), ["a"] * 2, prefix="new"), [0, 1])
    add(changed, write_part(changed.folder, [rows], table.facts.schema))
    kept = set_augmentation(changed, weak)
    assert kept.augmentation == strong and kept.views == 1, "views that are there are not said to be others"
    add(kept, replacing=["/images/new-0.png"], run_id="run-3")
    assert feature_store.open(tmp_path).augmentation == strong, "kept by later commits"


def test_how_views_are_made_is_said_though_others_commit_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    table = table_of(tmp_path)
    overtaken: list[bool] = []
    set_properties = TableAlterer.set_table_properties

    def be_overtaken(self, *arguments, **options):
        if not overtaken:
            overtaken.append(True)
            add(table, part_of(table, "other"))
        set_properties(self, *arguments, **options)

    monkeypatch.setattr(TableAlterer, "set_table_properties", be_overtaken)
    said = set_augmentation(table, Augmentation())
    assert overtaken and said.augmentation == Augmentation() and said.version == table.version + 2
    assert len(said.metadata()) == 6


def test_rejections_are_committed_for_the_next_version_of_the_features(tmp_path: Path):
    """Parts that are there stay, and what is not wanted leaves: also what a stopped writer left."""
    table = table_of(tmp_path, rejected=[BAD])
    folder, old = table.rejected_folder, table.rejected_names
    write_deltalake(DeltaTable(folder), rejections([BAD._replace(uri="/orphan")]), mode="append")
    rows = rejections([BAD._replace(uri="/new"), BAD._replace(uri="/new-2")])
    new = write_part(folder, rows.to_batches(), REJECTED_SCHEMA, run_id="run-2")
    wanted = [*old, new.name]
    version = commit_rejected(table, wanted, {"note": "test"})
    newest = DeltaTable(folder)
    assert version == newest.version() == table.rejected_version + 2
    assert part_names(newest) == sorted(wanted)
    commit_info, part, leaves, moved_on = logged(folder, version)
    assert commit_info == {"commitInfo": {"note": "test"}}
    assert (part["add"]["path"], part["add"]["size"], part["add"]["stats"]) == (
        new.name,
        (folder / new.name).stat().st_size,
        '{"numRecords": 2}',
    )
    assert leaves["remove"]["path"] not in wanted
    assert moved_on == {"txn": {"appId": "bottlenecks/table", "version": table.version + 1}}
    assert rejected_uris(feature_store.open(tmp_path)) == [BAD.uri], "no features name it yet"


def test_rejections_that_are_those_already_are_not_committed_again(tmp_path: Path):
    """By an attempt whose features were refused."""
    table = table_of(tmp_path, rejected=[BAD])
    assert commit_rejected(table, set(table.rejected_names), {}) == table.rejected_version
    assert commit_rejected(table, [], {}) == table.rejected_version + 1
    assert commit_rejected(table, [], {}) == table.rejected_version + 1
    assert part_names(DeltaTable(table.rejected_folder)) == []


def test_a_change_planned_before_it_was_said_how_views_are_made_is_committed(tmp_path: Path):
    table = table_of(tmp_path)
    set_augmentation(table, Augmentation())
    add(table, part_of(table, "new"))
    assert len(feature_store.open(tmp_path).metadata()) == 6


def test_a_rewritten_part_keeps_the_decoding_of_the_runs_that_it_still_holds(tmp_path: Path):
    table = table_of(tmp_path)
    batches = [
        make_rows(table.facts, features(2), ["a"] * 2, prefix=run_id, run_id=run_id)
        for run_id in ("run-2", "run-3")
    ]
    part = write_part(
        features_path(tmp_path, table.name), batches, table.facts.schema, {"run-2": 1, "run-3": 2}
    )
    add(table, part, run_id="run-3")
    newest = feature_store.open(tmp_path)
    assert newest.decodings() == {2: 2, 1: 2, 0: 4}
    gone = ["/images/run-2-0.png", "/images/run-2-1.png", "/images/run-3-0.png"]
    add(newest, replacing=gone, run_id="run-4")
    newest = feature_store.open(tmp_path)
    assert newest.decodings() == {2: 1, 0: 4}
    assert sorted(map(str, map(read_decodings, newest.paths))) == ["{'run-3': 2}", "{}"]
