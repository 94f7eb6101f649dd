"""Tables are read through the log's list of files, by processes that end well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.locations import features_path
from features.store.commit import rejected_rows
from features.store.log import read_parts
from features.store.table import FeatureTable
from tests.tables import Rejected, add, make_table

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
    assert exit_codes(code, tmp_path, 6) == {0}


@pytest.mark.slow
@pytest.mark.parametrize("code", [OWN, page_code()], ids=["own", "page"])
def test_fifty_processes_that_read_a_table_end_well(table: FeatureTable, tmp_path: Path, code: str) -> None:
    assert exit_codes(code, tmp_path, 50) == {0}


def test_only_the_files_of_the_version_are_read(table: FeatureTable) -> None:
    folder = features_path(table.store, table.name)
    (folder / "part-of-nothing.zstd.parquet").write_bytes(b"left by a step that failed")
    add(table, replacing=["/images/image-0.png"])
    newest = FeatureTable(table.store, table.name, type(table.delta)(folder))
    schema = pa.schema([pa.field("uri", pa.string())])
    assert newest.names == sorted(newest.names)
    assert len(read_parts(newest.paths, schema)) == 5
    assert len(read_parts(table.paths, schema)) == 6, "the older version stays"
    assert len(rejected_rows(newest)) == 2
    assert read_parts([], schema).schema == schema
