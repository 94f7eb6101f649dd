"""Queries over part files: what a connection may take, and how files are named."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import queries
from pipelines.queries import connect, parts_relation

SCHEMA = pa.schema([("uri", pa.string()), ("size", pa.int64())])


@pytest.mark.parametrize(
    ("available", "limit"), [(10 * 2**30, "4.0 GiB"), (None, "4.0 GiB"), (5 * 2**30, "2.0 GiB")]
)
def test_a_query_takes_the_cores_and_part_of_the_memory_that_is_free(
    monkeypatch: pytest.MonkeyPatch, available: int | None, limit: str
):
    monkeypatch.setattr(queries, "available_memory", lambda: available)
    monkeypatch.setattr(queries, "usable_cores", lambda: 3)
    settings = "threads", "memory_limit", "temp_directory", "autoinstall_known_extensions"
    names = (*settings, "preserve_insertion_order")
    with connect() as connection:
        texts = ", ".join(f"current_setting('{name}')" for name in names)
        (found,) = connection.sql(f"SELECT {texts}").fetchall()
    assert found == (3, limit, tempfile.gettempdir(), False, False)


def test_rows_of_parts_come_with_the_number_of_their_file(tmp_path: Path):
    folder = tmp_path / "it's" / "size=7"  # what a hive would take for a column
    folder.mkdir(parents=True)
    paths = [str(folder / f"{name}.parquet") for name in ("b", "a")]
    for number, path in enumerate(paths):
        pq.write_table(pa.Table.from_pylist([{"uri": path, "size": number}], SCHEMA), path)
    with connect() as connection:
        relation = parts_relation(connection, paths, SCHEMA)
        rows = connection.sql(f"SELECT uri, size, file_index FROM {relation} ORDER BY size").fetchall()
    assert rows == [(paths[0], 0, 0), (paths[1], 1, 1)]


def test_no_parts_are_no_rows_of_their_columns():
    with connect() as connection:
        relations = [parts_relation(connection, [], schema) for schema in (SCHEMA, SCHEMA.remove(1))]
        tables = [connection.sql(f"SELECT * FROM {relation}").to_arrow_table() for relation in relations]
    assert [(table.column_names, len(table)) for table in tables] == [
        (["uri", "size", "file_index"], 0),
        (["uri", "file_index"], 0),
    ]
    assert tables[0].schema.types == [pa.string(), pa.int64(), pa.int64()]
