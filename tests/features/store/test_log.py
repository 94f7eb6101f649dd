"""Tables are read through the log's list of files, by processes that end well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import store as feature_store
from features.store.log import logged_parts, open_delta, part_names, read_part, read_parts
from features.store.parts import write_part
from features.store.table import FeatureTable
from tests.tables import Rejected, add, as_views, make_rows, make_table

ROOT = Path(__file__).parents[3]

OWN = """
from features import store
from features.store.commit import rejected_rows
table = store.open("store")
assert len(table.matrix()[0]) == len(table.metadata()) == 6
assert len(rejected_rows(table)) == 2
"""


def page_code() -> str:
    """What the page on the table tells others to read it with."""
    (code,) = re.findall(
        r"```python\n(import duckdb.*?)```", (ROOT / "docs/feature-table.md").read_text(), re.DOTALL
    )
    return code + "assert len(frame) == 6\n"


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    bad = [Rejected(f"/images/bad{number}.jpg", "corrupt", "", 1, 1) for number in range(2)]
    return make_table(tmp_path / "store", np.ones((6, 2048), np.float32), ["a", "b"] * 3, rejected=bad)


def exit_codes(code: str, folder: Path, times: int) -> set[int]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return {
        subprocess.run(command, cwd=folder, env=environment, capture_output=True).returncode
        for _ in range(times)
    }


@pytest.mark.parametrize("code", [OWN, page_code()], ids=["own", "page"])
def test_a_process_that_reads_a_table_ends_well(table: FeatureTable, tmp_path: Path, code: str) -> None:
    assert exit_codes(code, tmp_path, 3) == {0}


@pytest.mark.slow
@pytest.mark.parametrize("code", [OWN, page_code()], ids=["own", "page"])
def test_fifty_processes_that_read_a_table_end_well(table: FeatureTable, tmp_path: Path, code: str) -> None:
    assert exit_codes(code, tmp_path, 50) == {0}


def test_only_the_files_of_the_version_are_read(table: FeatureTable) -> None:
    (table.folder / "part-of-nothing.zstd.parquet").write_bytes(b"left by a step that failed")
    add(table, replacing=["/images/image-0.png"])
    schema = pa.schema([pa.field("uri", pa.string())])
    for version, rows in ((None, 5), (2, 5), (1, 6), (0, 0)):
        delta = open_delta(table.folder, version)
        assert delta.version() == (2 if version is None else version)
        paths = [table.folder / name for name in part_names(delta)]
        assert len(read_parts(paths, schema)) == rows


def test_parts_are_named_in_order_whoever_wrote_them_when(table: FeatureTable) -> None:
    for run_id in ("run-3", "run-0", "run-2"):
        rows = make_rows(table.facts, np.ones((1, 2048)), ["a"], prefix=run_id, run_id=run_id)
        add(table, write_part(table.folder, [rows], table.facts.schema, run_id=run_id), run_id=run_id)
    names = part_names(open_delta(table.folder))
    assert [name.split(".")[0] for name in names] == ["run-0", "run-1", "run-2", "run-3"]
    assert all((table.folder / name).is_file() for name in names)


def test_the_log_tells_the_greatest_number_of_a_view(table: FeatureTable) -> None:
    def add_views(table: FeatureTable, run_id: str, views: list[int]) -> None:
        rows = make_rows(table.facts, np.ones((len(views), 2048)), ["a"] * len(views), prefix=run_id)
        part = write_part(table.folder, [as_views(rows, views)], table.facts.schema)
        add(table, part, run_id=run_id)

    assert logged_parts(open_delta(table.folder)).views == 0
    for run_id, views in (("run-2", [0, 1, 2]), ("run-3", [0, 0, 1]), ("run-4", [0])):
        add_views(table, run_id, views)
    delta = open_delta(table.folder)
    parts = logged_parts(delta)
    assert parts.names == part_names(delta) and len(parts.names) == 4 and parts.views == 2
    delta.create_checkpoint()
    for commit in (table.folder / "_delta_log").glob("*.json"):
        commit.unlink()
    assert logged_parts(open_delta(table.folder)) == parts, "also where only a checkpoint is left of the log"


def test_the_log_of_a_table_that_loses_its_views_tells_of_none(table: FeatureTable) -> None:
    rows = as_views(make_rows(table.facts, np.ones((4, 2048)), ["a"] * 4, prefix="new"), [0, 1, 2, 0])
    add(table, write_part(table.folder, [rows], table.facts.schema))
    assert logged_parts(open_delta(table.folder)).views == 2
    add(feature_store.open(table.store), replacing=["/images/new-0.png"], run_id="run-3")
    assert logged_parts(open_delta(table.folder)).views == 0


def test_rows_have_the_columns_of_the_schema_alone_in_the_order_of_the_files(tmp_path: Path) -> None:
    for name, values in (("b", [1, 2]), ("a", [3])):
        columns = {"x": pa.array(values, pa.int32()), "y": ["y"] * len(values), "z": [name] * len(values)}
        pq.write_table(pa.table(columns), tmp_path / name)
    schema = pa.schema([pa.field("z", pa.string(), nullable=False), pa.field("x", pa.int64())])
    rows = read_parts([tmp_path / "b", str(tmp_path / "a")], schema)
    assert rows.schema.equals(schema)
    assert rows.to_pydict() == {"z": ["b", "b", "a"], "x": [1, 2, 3]}
    assert read_part(tmp_path / "a", schema).to_pylist() == [{"z": "a", "x": 3}]
    assert read_parts([], schema).equals(schema.empty_table())
