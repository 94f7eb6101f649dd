from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pyarrow as pa

from features.splits import SPLITS, assign_split
from features.store.rows import taken_over, to_features, to_rejections
from features.store.schema import REJECTED_SCHEMA, TableFacts
from tests.tables import NOON, RECIPE

FACTS = TableFacts("/data", "random", ("mixed0",), RECIPE)
LATER = NOON + datetime.timedelta(hours=1)
X = np.arange(2 * 256, dtype=np.float32).reshape(2, 256)


def extracted() -> pa.Table:
    """Images that were listed, of the second nothing but its name, and then read."""
    columns = {
        "mixed0": pa.array(list(X)),
        "uri": ["/a.png", "/b.png"],
        "labels": [["a"], []],
        "split": pa.array(["test", None], pa.string()),
        "group": pa.nulls(2, pa.string()),
        "size": [7, None],
        "modified_at": pa.array([NOON, None], pa.timestamp("us", tz="UTC")),
        "view": pa.array([0, 2], pa.int32()),
        "image_id": ["1" * 64, "5" * 64],
        "width": [3, 4],
        "height": [5, 6],
        "format": ["png", "jpeg"],
        "reason": pa.array([None, None], pa.string()),
    }
    return pa.table(columns)


def test_rows_of_features_have_all_columns_and_a_split() -> None:
    rows = to_features(extracted(), FACTS, "run-1", LATER)
    assert rows.schema.equals(FACTS.schema, check_metadata=True)
    first = {
        "image_id": "1" * 64,
        "uri": "/a.png",
        "labels": ["a"],
        "split": "test",
        "view": 0,
        "width": 3,
        "height": 5,
        "format": "png",
        "size": 7,
        "modified_at": NOON,
        "extracted_at": LATER,
        "run_id": "run-1",
        "mixed0": X[0].tolist(),
    }
    second = first | {
        "image_id": "5" * 64,
        "uri": "/b.png",
        "labels": [],
        "split": "validation",  # by hash
        "view": 2,
        "width": 4,
        "height": 6,
        "format": "jpeg",
        "size": 0,
        "modified_at": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        "mixed0": X[1].tolist(),
    }
    assert rows.to_pylist() == [first, second]


def test_the_group_is_kept_and_decides_the_split() -> None:
    facts = dataclasses.replace(FACTS, groups=True)
    groups = [f"patient {number}" for number in range(40)]
    first = extracted().slice(1)
    rows = pa.concat_tables(
        first.set_column(first.schema.names.index("group"), "group", pa.array([group])) for group in groups
    )
    result = to_features(rows, facts, "run-1", LATER)
    assert result.schema.equals(facts.schema, check_metadata=True)
    assert result.column("group").to_pylist() == groups
    splits = [assign_split("5" * 64, None, group) for group in groups]
    assert result.column("split").to_pylist() == splits and set(splits) == set(SPLITS)


def test_rows_that_are_taken_over_are_of_another_image_and_made_as_they_were() -> None:
    facts = dataclasses.replace(FACTS, groups=True)
    stored = to_features(extracted(), facts, "run-1", NOON)
    images = pa.table(
        {
            "uri": ["/moved/a.png", "/moved/b.png"],
            "labels": [["c"], ["d", "e"]],
            "split": pa.array([None, "test"], pa.string()),
            "group": ["p", None],
            "size": [8, None],
            "modified_at": pa.array([LATER, None], pa.timestamp("us", tz="UTC")),
        }
    )
    rows = taken_over(stored, images, facts)
    assert rows.schema.equals(facts.schema, check_metadata=True)
    first, second = stored.to_pylist()
    assert rows.to_pylist() == [
        first
        | {
            "uri": "/moved/a.png",
            "labels": ["c"],
            "split": assign_split("1" * 64, None, "p"),
            "group": "p",
            "size": 8,
            "modified_at": LATER,
        },
        second
        | {
            "uri": "/moved/b.png",
            "labels": ["d", "e"],
            "split": "test",
            "size": 0,
            "modified_at": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        },
    ]


def test_rows_of_rejections_have_no_more_than_their_columns() -> None:
    rows = extracted().drop_columns(["reason"])
    rows = rows.append_column("reason", [["corrupt", "truncated"]])
    rows = rows.append_column("detail", [["no image", ""]])
    result = to_rejections(rows, "run-1", LATER)
    assert result.schema.equals(REJECTED_SCHEMA)
    first = {"uri": "/a.png", "reason": "corrupt", "detail": "no image", "size": 7, "modified_at": NOON}
    second = {"uri": "/b.png", "reason": "truncated", "detail": "", "size": None, "modified_at": None}
    of_run = {"run_id": "run-1", "rejected_at": LATER}
    assert result.to_pylist() == [first | of_run, second | of_run]
