"""Counts of what is committed, and duplicates that disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.inputs import LISTING_SCHEMA
from features.locations import features_path
from features.store.parts import write_part
from features.store.table import FeatureTable
from pipelines.planning import Plan, make_plan
from pipelines.runs import Header, Run
from pipelines.summary import summarize
from tests.tables import NOON, Rejected, add, make_rows, make_table


def plan_of(table: FeatureTable, *names: str) -> Plan:
    images = [{"uri": f"/images/{name}", "labels": ["a"], "size": 100, "modified_at": NOON} for name in names]
    return make_plan(pa.Table.from_pylist(images, LISTING_SCHEMA), table)


def bad(name: str, reason: str = "corrupt") -> Rejected:
    return Rejected(f"/images/{name}", reason, "no image", 100, round(NOON.timestamp() * 1e6))


def test_images_are_counted_where_they_are_committed(tmp_path: Path):
    table = make_table(
        tmp_path,
        np.zeros((2, 2048), np.float32),
        ["a", "a"],
        rejected=[bad("old.png", "empty"), bad("gone.png")],
    )
    plan = plan_of(table, "image-0.png", "new-0.png", "new-1.png", "never.png", "bad.png", "old.png")
    run = Run(tmp_path, "run-2")
    with run.kept_alive("inception_v3", local=True):
        run.write_plan(Header(table.name, plan.basis), plan.slices(100))
        rows = make_rows(table.facts, np.zeros((2, 2048)), ["a"] * 2, prefix="new", run_id="run-2")
        part = write_part(features_path(tmp_path, table.name), [rows], table.facts.schema)
        add(table, part, [bad("bad.png")], facts={"precision_used": "float32"})
        found = summarize(feature_store.open(tmp_path), plan, run, left_out=3, removed=1)
    assert (found.seen, found.stored, found.rejected, found.unsettled, found.left) == (6, 3, 2, 1, 0)
    assert (found.new, found.new_rejected, found.missing_from_input, found.left_out, found.removed) == (
        2,
        1,
        1,
        3,
        1,
    )
    assert found.precisions == ["float32"]
    assert found.reasons == {"corrupt": 1, "empty": 1}, "what is gone from the input does not count"
    assert found.examples == [("/images/bad.png", "corrupt", "no image")]


@pytest.mark.parametrize("copies", [0, 2])
def test_the_same_bytes_under_two_labels_or_splits_are_found(tmp_path: Path, copies: int):
    table = make_table(tmp_path, np.zeros((4, 2048), np.float32), ["a", "b", "a", "a"], ["train"] * 4)
    batch = make_rows(table.facts, np.zeros((2, 2048)), ["b", "b"], ["train", "test"], prefix="copy")
    ids = table.metadata(["image_id"]).column("image_id").combine_chunks()[:2]
    batch = batch.set_column(0, table.facts.schema.field("image_id"), ids)
    if copies:
        add(table, write_part(features_path(tmp_path, table.name), [batch], table.facts.schema))
    newest = feature_store.open(tmp_path)
    plan = plan_of(newest, "image-0.png")
    labels, splits = summarize(newest, plan, Run(tmp_path, "run-3"), left_out=0, removed=0).conflicts
    assert labels == ([["/images/copy-0.png", "/images/image-0.png"]] if copies else [])
    assert splits == ([["/images/copy-1.png", "/images/image-1.png"]] if copies else [])
