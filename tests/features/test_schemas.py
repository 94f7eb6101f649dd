from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from features.schemas import to_schema

SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("labels", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ]
)


def test_columns_come_in_the_order_and_of_the_types_of_the_schema_and_no_others():
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    rows = pa.table({"size": pa.array([1, 2], pa.int32()), "other": [0, 0], "uri": ["a", "b"], "at": [5, 6]})
    result = to_schema(rows, SCHEMA, labels=[], at=at)
    assert result.schema.equals(SCHEMA, check_metadata=True)
    assert result.to_pylist() == [
        {"uri": "a", "size": 1, "labels": [], "at": at},
        {"uri": "b", "size": 2, "labels": [], "at": at},
    ]


def test_given_columns_go_first_and_nothing_stands_for_null():
    rows = pa.table({"uri": ["a", "b"], "size": [1, 2], "at": [5, 6]})
    sizes = pa.chunked_array([[3], [4]], pa.int16())
    result = to_schema(rows, SCHEMA, size=sizes, at=None, labels=pa.array([["x"], []]))
    assert result.column("size").to_pylist() == [3, 4]
    assert result.column("at").to_pylist() == [None, None]
    assert result.column("labels").to_pylist() == [["x"], []]


def test_no_rows_and_a_missing_column():
    none = pa.table({"uri": pa.array([], pa.string()), "size": pa.array([], pa.int64())})
    result = to_schema(none, SCHEMA, labels=["x"], at=None)
    assert result.num_rows == 0 and result.schema.equals(SCHEMA)
    with pytest.raises(KeyError, match="labels"):
        to_schema(none, SCHEMA, at=None)


def test_a_null_where_there_is_none():
    rows = pa.table({"uri": ["a", None], "size": [1, 2], "at": [5, 6]})
    with pytest.raises(ValueError, match="uri"):
        to_schema(rows, SCHEMA, labels=[])
