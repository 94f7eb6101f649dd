"""Counts of what is committed, and duplicates that disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.conflicting_images import Conflicts
from features.inputs import LISTING_SCHEMA
from features.store.conflicts import STORED_SCHEMA
from features.store.parts import Part, write_part
from features.store.table import FeatureTable
from pipelines.planning import Plan, make_plan
from pipelines.runs import Header, Run
from pipelines.summary import Summary, summarize
from tests.tables import NOON, Rejected, add, make_rows, make_table


def plan_of(table: FeatureTable, *names: str, left: str = "/left", without_file: str = "/none") -> Plan:
    images = [
        {
            "uri": f"/images/{name}",
            "labels": ["a"],
            "size": None if name == without_file else 100,
            "modified_at": None if name == without_file else NOON,
        }
        for name in names
    ]
    left_to_others = pa.chunked_array([[f"/images/{left}"]], pa.string())
    return make_plan(pa.Table.from_pylist(images, LISTING_SCHEMA), table, left_to_others=left_to_others)


def bad(name: str, reason: str) -> Rejected:
    return Rejected(f"/images/{name}", reason, f"{name} is bad", 100, round(NOON.timestamp() * 1e6))


def write(table: FeatureTable, count: int, prefix: str, views: list[int], run_id: str) -> Part:
    rows = make_rows(table.facts, np.zeros((count, 2048)), ["a"] * count, prefix=prefix, run_id=run_id)
    rows = rows.set_column(4, table.facts.schema.field("view"), pa.array(views, pa.int32()))
    return write_part(table.folder, [rows], table.facts.schema)


def test_images_are_counted_where_they_are_committed(tmp_path: Path):
    before = [bad(f"{name}.png", "empty") for name in "dcba"]
    before += [bad("old.png", "truncated"), bad("gone.png", "corrupt"), bad("vanished.png", "corrupt")]
    table = make_table(tmp_path, np.zeros((3, 2048), np.float32), ["a"] * 3, rejected=before)
    plan = plan_of(
        table, "image-0.png", "image-1.png", "new-0.png", "new-1.png", "new-2.png", "bad.png", "a.png",
        "b.png", "c.png", "d.png", "old.png", "other.png", left="other.png", without_file="image-1.png",
    )  # fmt: skip
    run = Run(tmp_path, "run-2")
    with run.kept_alive(table.name, local=True):
        run.write_plan(Header(table.name, plan.basis), plan.slices(100))
        # Of new-2 there is an augmented view alone, as if others had removed the image itself.
        did = {"inferred": 1, "rows": 3, "moved": 2, "touched": 0, "same_bytes": 1, "relabelled": 0}
        facts = {"precision_used": "float32", "images": did}
        add(table, write(table, 3, "new", [0, 0, 1], "run-2"), facts=facts)
        facts = {
            "precision_used": "bfloat16",
            "images": {**did, "rows": 2, "same_bytes": 0, "relabelled": 7, "unread": 2},
        }
        add(table, None, [bad("bad.png", "corrupt")], slice=1, facts=facts)
        facts = {"precision_used": "float16", "images": did}
        add(table, write(table, 1, "x", [0], "run-9"), run_id="run-9", facts=facts)
        add(table, slice=2)
        newest = feature_store.open(tmp_path)
        of_both = [{"uri": f"/gone/{n}", "part": "p", "image_id": "ab" if n < 5 else None} for n in range(8)]
        missing = pa.Table.from_pylist(of_both, STORED_SCHEMA)
        result = summarize(newest, plan, run, left_out=3, removed=1, missing=missing, seconds=2.5)
    assert result == Summary(
        table=newest, run_id="run-2", seen=12, stored=4, rejected=6, unsettled=1, left=1, missing_files=3,
        left_out=3, new=2, new_rejected=1, rejected_again=0, inferred_rows=5,
        taken_over={"moved": 4, "same_bytes": 1, "relabelled": 7}, stale=6,
        precisions=["bfloat16", "float32"],
        reasons={"empty": 4, "corrupt": 1, "truncated": 1},
        examples=[(f"/images/{name}.png", "empty", f"{name}.png is bad") for name in "abc"],
        missing_from_input=5, rejections_missing_from_input=3, removed=1,
        conflicts=Conflicts([], [], []), seconds=2.5,
    )  # fmt: skip
    assert list(result.reasons) == ["empty", "corrupt", "truncated"]
    # Two inferred, five whose bytes were known, one rejected; seven were not read.
    assert result.rejected_share() == 1 / 8


def test_a_run_without_work_has_written_nothing(tmp_path: Path):
    table = make_table(tmp_path, np.zeros((0, 2048)), [], rejected=[bad("a.png", "empty")])
    plan = plan_of(table, "a.png")
    result = summarize(table, plan, Run(tmp_path, "run-1"), left_out=0, removed=0)
    assert result == Summary(
        table=table, run_id="run-1", seen=1, stored=0, rejected=1, unsettled=0, left=0, missing_files=0,
        left_out=0, new=0, new_rejected=0, rejected_again=0, inferred_rows=0, taken_over={}, stale=0,
        precisions=[],
        reasons={"empty": 1},
        examples=[("/images/a.png", "empty", "a.png is bad")], missing_from_input=0,
        rejections_missing_from_input=0, removed=0,
        conflicts=Conflicts([], [], []), seconds=0.0,
    )  # fmt: skip
    assert result.rejected_share() == 0


@pytest.mark.parametrize("copies", [0, 4])
def test_the_same_bytes_under_two_labels_or_splits_are_found(tmp_path: Path, copies: int):
    labels: list[list[str]] = [["a"], ["b"], ["a", "b"], ["a"]]
    table = make_table(tmp_path, np.zeros((4, 2048), np.float32), labels, ["train"] * 4)
    others: list[list[str]] = [["b"], ["b"], ["b", "a"], ["a", "b"]]
    splits = ["train", "test", "train", "validation"]
    batch = make_rows(table.facts, np.zeros((4, 2048)), others, splits, prefix="copy")
    ids = table.metadata(["uri", "image_id"]).sort_by("uri").column("image_id").combine_chunks()
    batch = batch.set_column(0, table.facts.schema.field("image_id"), ids)
    if copies:
        add(table, write_part(table.folder, [batch], table.facts.schema))
    newest = feature_store.open(tmp_path)
    plan = plan_of(newest, "image-0.png")
    conflicts = summarize(newest, plan, Run(tmp_path, "run-3"), left_out=0, removed=0).conflicts
    pairs = [[f"/images/copy-{number}.png", f"/images/image-{number}.png"] for number in range(copies)]
    assert conflicts == Conflicts(pairs[0:1] + pairs[3:], pairs[1:2] + pairs[3:], [])


def test_groups_that_lie_in_several_splits_are_found(tmp_path: Path):
    groups = ["b", "b", "b", "a", "a", "whole", "whole", None, None]
    splits = ["train", "test", "train", "validation", "test", "train", "train", "train", "test"]
    table = make_table(tmp_path, np.zeros((9, 2048), np.float32), ["x"] * 9, splits, groups)
    rows = make_rows(table.facts, np.zeros((1, 2048)), ["x"], ["test"], ["whole"], prefix="view")
    view = rows.set_column(5, table.facts.schema.field("view"), pa.array([1], pa.int32()))
    add(table, write_part(table.folder, [view], table.facts.schema))
    newest = feature_store.open(tmp_path)
    conflicts = summarize(newest, plan_of(newest), Run(tmp_path, "run-3"), left_out=0, removed=0).conflicts
    assert conflicts == Conflicts(
        [], [], [("a", {"validation": 1, "test": 1}), ("b", {"train": 2, "test": 1})]
    )
    assert list(conflicts.groups[1][1]) == ["train", "test"]


def test_the_same_bytes_in_groups_of_different_splits_are_found(tmp_path: Path):
    groups = ["Ä0", "Ä10", "Ä1"]  # cut into train, test and train
    table = make_table(tmp_path, np.zeros((0, 2048), np.float32), [], groups=[])
    rows = make_rows(table.facts, np.zeros((3, 2048)), ["x"] * 3, None, groups)
    rows = rows.set_column(0, table.facts.schema.field("image_id"), pa.array(["0" * 64] * 3))
    add(table, write_part(table.folder, [rows], table.facts.schema))
    newest = feature_store.open(tmp_path)
    conflicts = summarize(newest, plan_of(newest), Run(tmp_path, "run-3"), left_out=0, removed=0).conflicts
    assert conflicts == Conflicts([], [[f"/images/image-{number}.png" for number in range(3)]], [])
