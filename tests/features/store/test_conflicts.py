"""What becomes of a change, given what others did: each rule, without a table."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.store.conflicts import BROUGHT_SCHEMA, STORED_SCHEMA, Settled, among, rows_of_parts, settle
from tests.tables import NOON, Rejected, rejections

EARLIER, LATER = NOON - datetime.timedelta(seconds=1), NOON + datetime.timedelta(seconds=1)


def stored(uri: str, part: str, **others: Any) -> dict[str, Any]:
    row = {"uri": uri, "part": part, "size": 7, "modified_at": NOON, "image_id": "1", "written_at": NOON}
    return row | others


def brought(uri: str, modified_at: datetime.datetime | None = NOON, features: bool = True) -> dict[str, Any]:
    return {"uri": uri, "modified_at": modified_at, "features": features}


def settled(
    mine: list[dict[str, Any]],
    outdated: list[dict[str, Any]],
    since: list[dict[str, Any]],
    parts: list[str],
) -> tuple[list[str], dict[str, list[str]]]:
    """`settle` on rows: what is left out, and what leaves which part."""
    result: Settled = settle(
        pa.Table.from_pylist(mine, BROUGHT_SCHEMA),
        pa.Table.from_pylist(outdated, STORED_SCHEMA),
        pa.Table.from_pylist(since, STORED_SCHEMA),
        parts,
    )
    assert result.left_out.type == pa.string()
    return result.left_out.to_pylist(), {name: uris.to_pylist() for name, uris in result.leaving.items()}


def test_where_nobody_did_anything_a_change_is_what_was_planned() -> None:
    mine = [brought("/a"), brought("/new")]
    outdated = [stored("/a", "p1"), stored("/b", "p2"), stored("/c", "p1")]
    assert settled(mine, outdated, [], ["p1", "p2", "p3"]) == ([], {"p1": ["/a", "/c"], "p2": ["/b"]})
    assert settled(mine, [], [], []) == ([], {})


@pytest.mark.parametrize(
    ("mine", "others", "wins"),
    [
        (brought("/a"), stored("/a", "theirs", modified_at=EARLIER), True),
        (brought("/a"), stored("/a", "theirs"), False),
        (brought("/a"), stored("/a", "theirs", modified_at=LATER), False),
        (brought("/a"), stored("/a", "theirs", image_id=None), True),
        (brought("/a"), stored("/a", "theirs", image_id=None, modified_at=LATER), False),
        (brought("/a", features=False), stored("/a", "theirs"), False),
        (brought("/a", features=False), stored("/a", "theirs", image_id=None), False),
        (brought("/a", LATER, features=False), stored("/a", "theirs"), True),
        (brought("/a", None, features=False), stored("/a", "theirs", image_id=None), False),
        (brought("/a", None), stored("/a", "theirs", image_id=None, modified_at=None), True),
        (brought("/a", None), stored("/a", "theirs", modified_at=None), False),
        (brought("/a"), stored("/a", "theirs", image_id=None, modified_at=None), True),
    ],
)
def test_the_later_change_of_a_file_wins_then_features_then_what_is_there(
    mine: dict[str, Any], others: dict[str, Any], wins: bool
) -> None:
    found = settled([mine, brought("/b")], [], [others], ["theirs"])
    assert found == (([], {"theirs": ["/a"]}) if wins else (["/a"], {}))


def test_it_must_be_later_than_each_of_several_rows() -> None:
    rows = [stored("/a", "p1", modified_at=EARLIER), stored("/a", "p2", modified_at=LATER)]
    assert settled([brought("/a")], [], rows, ["p1", "p2"]) == (["/a"], {})
    later = LATER + datetime.timedelta(seconds=1)
    assert settled([brought("/a", later)], [], rows, ["p1", "p2"]) == ([], {"p1": ["/a"], "p2": ["/a"]})


def test_what_others_removed_stays_away_and_the_rest_of_the_change_holds() -> None:
    mine = [brought("/gone", LATER), brought("/b"), brought("/new")]
    outdated = [stored("/gone", "old"), stored("/b", "p1")]
    assert settled(mine, outdated, [], ["p1"]) == (["/gone"], {"p1": ["/b"]})


def test_a_row_that_moved_to_another_part_is_taken_there() -> None:
    moved = stored("/a", "rewritten")
    assert settled([brought("/a")], [stored("/a", "old")], [moved], ["rewritten"]) == (
        [],
        {"rewritten": ["/a"]},
    )
    assert settled([], [stored("/a", "old")], [moved], ["rewritten"]) == ([], {"rewritten": ["/a"]})


@pytest.mark.parametrize(
    "other",
    [{"size": 8}, {"modified_at": EARLIER}, {"image_id": "2"}, {"image_id": None}, {"written_at": LATER}],
)
def test_a_row_is_removed_only_as_the_plan_saw_it(other: dict[str, Any]) -> None:
    changed = stored("/a", "theirs", **other)
    outdated = [stored("/a", "old"), stored("/b", "p1")]
    assert settled([], outdated, [changed], ["theirs", "p1"]) == ([], {"p1": ["/b"]})


def test_others_may_add_beside_the_row_that_is_outdated() -> None:
    """As when they were planned before the row was there."""
    outdated, theirs = stored("/a", "p1", modified_at=EARLIER), stored("/a", "theirs", modified_at=EARLIER)
    assert settled([], [outdated], [theirs], ["p1", "theirs"]) == ([], {"p1": ["/a"], "theirs": ["/a"]})
    theirs["image_id"] = "2"
    assert settled([], [outdated], [theirs], ["p1", "theirs"]) == ([], {"p1": ["/a"]})
    assert settled([brought("/a")], [outdated], [theirs], ["p1", "theirs"]) == (
        [],
        {"p1": ["/a"], "theirs": ["/a"]},
    )
    assert settled([brought("/a", EARLIER)], [outdated], [theirs], ["p1", "theirs"]) == (["/a"], {})


def test_rows_of_some_images_are_read_from_parts_of_both_tables(tmp_path: Path) -> None:
    features = {
        "uri": ["/a", "/a", "/b"],
        "view": [1, 0, 0],
        "size": [1, 1, 2],
        "modified_at": pa.array([NOON, NOON, LATER], pa.timestamp("us", tz="UTC")),
        "extracted_at": pa.array([LATER, EARLIER, EARLIER], pa.timestamp("us", tz="UTC")),
        "image_id": ["1", "1", "2"],
        "run_id": ["run-2", "run-1", "run-1"],
    }
    pq.write_table(pa.table(features), tmp_path / "f.parquet")
    bad = [Rejected("/c", "corrupt", "", None, None), Rejected("/a", "corrupt", "", 3, 0)]
    pq.write_table(rejections(bad), tmp_path / "r.parquet")
    rows = rows_of_parts(
        [tmp_path / "f.parquet"], [str(tmp_path / "r.parquet")], pa.array(["/a", "/c", "/x"])
    )
    assert rows.schema.equals(STORED_SCHEMA)
    nothing = {"image_id": None, "part": "r.parquet", "written_at": NOON}
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert rows.to_pylist() == [
        stored("/a", "f.parquet", size=1, written_at=EARLIER),
        stored("/c", "r.parquet", size=None, modified_at=None, image_id=None),
        {"uri": "/a", "size": 3, "modified_at": epoch, **nothing},
    ]
    assert rows_of_parts([], [], pa.array(["/a"])).equals(STORED_SCHEMA.empty_table())
    assert among(rows, ["/c"]).column("part").to_pylist() == ["r.parquet"]
