from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from features.inputs import listing
from features.inputs.listing import (
    LISTING_SCHEMA,
    ColumnBuilder,
    FileFacts,
    Listing,
    file_facts,
    single_labels,
)

SCHEMA = pa.schema([("name", pa.string()), ("sizes", pa.list_(pa.int64()))])


def test_the_schema_is_the_one_that_stored_tables_were_planned_with() -> None:
    assert str(LISTING_SCHEMA).splitlines() == [
        "uri: string not null",
        "labels: list<element: string not null> not null",
        "  child 0, element: string not null",
        "split: string",
        "group: string",
        "size: int64",
        "modified_at: timestamp[us, tz=UTC]",
    ]


def test_facts_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"123")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    assert file_facts(str(path)) == FileFacts(3, 1_700_000_000_123_456)


def test_links_are_followed_and_dangling_ones_have_no_facts(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"123")
    (tmp_path / "good.jpg").symlink_to("photo.jpg")
    (tmp_path / "dangling.jpg").symlink_to("none.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert file_facts(str(tmp_path / "good.jpg")).size == 3
    for name in ("dangling.jpg", "loop.jpg", "none.jpg", "nul\0.jpg"):
        assert file_facts(str(tmp_path / name)) == FileFacts(None, None)


@pytest.mark.parametrize("rows", range(8))
def test_rows_become_columns_whatever_number_is_kept_at_a_time(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_ROWS_AT_ONCE", 3)
    builder = ColumnBuilder(SCHEMA)
    for number in range(rows):
        assert len(builder) == number
        builder.add(str(number), [number] * (number % 3))
    table = builder.table()
    assert (len(builder), len(table), table.schema) == (rows, rows, SCHEMA)
    assert table.to_pylist() == [
        {"name": str(number), "sizes": [number] * (number % 3)} for number in range(rows)
    ]
    assert builder.table() == table
    assert [len(batch) for batch in table.to_batches()] == [3] * (rows // 3) + [rows % 3] * (rows % 3 > 0)


@pytest.mark.parametrize("rows", [[("a",)], [("a", []), ("b", [], 1)]])
def test_rows_that_do_not_fit_the_columns_are_refused(rows: list[tuple]) -> None:
    builder = ColumnBuilder(SCHEMA)
    for row in rows:
        builder.add(*row)
    with pytest.raises(ValueError, match="zip"):
        builder.table()


@pytest.mark.parametrize("labels", [[], [None], ["a"], [None, "b", "", None, "a", "b"]])
def test_a_label_or_none_each(labels: list[str | None]) -> None:
    column = single_labels(pa.array(labels, pa.string()))
    assert column.type == LISTING_SCHEMA.field("labels").type
    assert column.to_pylist() == [[] if label is None else [label] for label in labels]


def test_names_of_all_labels() -> None:
    rows = [{"uri": uri, "labels": labels} for uri, labels in (("/a", ["b", "a"]), ("/b", []), ("/c", ["b"]))]
    assert Listing("/", pa.Table.from_pylist(rows, LISTING_SCHEMA), 0, []).labels() == ["a", "b"]
    assert Listing("/", LISTING_SCHEMA.empty_table(), 0, []).labels() == []


@pytest.mark.parametrize(
    ("groups", "expected"), [([], False), ([None, None], False), ([None, "p"], True), (["p", "p"], True)]
)
def test_whether_there_are_groups(groups: list[str | None], expected: bool) -> None:
    images = pa.Table.from_pylist(
        [{"uri": f"/{number}", "labels": [], "group": group} for number, group in enumerate(groups)],
        LISTING_SCHEMA,
    )
    assert Listing("/", images, 0, []).has_groups() == expected
