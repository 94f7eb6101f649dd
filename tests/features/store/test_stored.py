"""What is stored is found again by its bytes, and copied for other rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import store as feature_store
from features.locations import features_path
from features.store import stored
from features.store.stored import Place, StoredImages, Wanted, copy_rows
from features.store.table import FeatureTable
from tests.contents import Stored, has_its_own_features, id_of, part_of, table_of
from tests.tables import add


def sizes(*numbers: int | None) -> pa.Array:
    return pa.array(numbers, pa.int64())


def find(table: FeatureTable, content: str, *numbers: int | None) -> tuple[str, int] | None:
    """The uri of the row that is found, and how many views are."""
    place = StoredImages(table, sizes(*numbers)).find(id_of(content))
    if place is None:
        return None
    uris = pq.read_table(table.folder / place.part, columns=["uri"]).column("uri").to_pylist()
    return uris[place.row], place.views


def test_an_image_is_found_by_its_bytes_among_those_of_the_sizes(tmp_path: Path):
    table = table_of(tmp_path, [Stored("/a", "rose", size=7), Stored("/b", "tulip", size=8)])
    assert find(table, "rose", 7) == ("/a", 0)
    assert find(table, "tulip", 7, 8, 8) == ("/b", 0)
    assert find(table, "tulip", 7) is None  # not of this size, though in a part that is read
    assert find(table, "daisy", 7, 8) is None


def test_sizes_that_nobody_knows_find_nothing(tmp_path: Path):
    table = table_of(tmp_path, [Stored("/a", "rose", size=7)])
    assert find(table, "rose") is find(table, "rose", None) is None
    assert find(table, "rose", None, 7) == ("/a", 0)
    Path(table.paths[0]).unlink()  # and nothing is opened for them
    assert find(table, "rose") is find(table, "rose", None) is None


def test_in_a_table_without_rows_nothing_is_found(tmp_path: Path):
    assert find(table_of(tmp_path), "rose", 100) is None


def test_sizes_within_the_range_of_a_part_need_not_be_in_it(tmp_path: Path):
    table = table_of(tmp_path, [Stored("/a", "rose", size=7), Stored("/b", "tulip", size=9)])
    assert find(table, "rose", 8) is None


def test_of_several_places_that_with_the_most_views_is_found(tmp_path: Path):
    table = table_of(
        tmp_path,
        [Stored("/few", "rose", 1), Stored("/none", "rose"), Stored("/other", "tulip", 3)],
        [Stored("/most", "rose", 2), Stored("/test", "rose", split="test")],
    )
    assert find(table, "rose", 100) == ("/most", 2)
    assert find(table, "tulip", 100) == ("/other", 3)


def test_places_are_rows_of_the_images_themselves_in_the_newest_parts(tmp_path: Path):
    """A part keeps its rows by split, whatever their order was."""
    table = table_of(tmp_path, [Stored("/t", "daisy", split="test"), Stored("/a", "rose", 2)])
    assert StoredImages(table, sizes(100)).find(id_of("daisy")) == Place(table.names[0], 3, 0)
    assert StoredImages(table, sizes(100)).find(id_of("rose")) == Place(table.names[0], 0, 2)
    add(table, part_of(table, [Stored("/a", "tulip", run_id="run-2")]), replacing=["/a"])
    newest = feature_store.open(tmp_path)
    assert find(newest, "rose", 100) is None
    assert find(newest, "daisy", 100) == ("/t", 0) and find(newest, "tulip", 100) == ("/a", 0)


def test_ids_are_compared_to_their_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where that is zero, which ends a text elsewhere."""
    ids = ["00" * 32, "ff" * 31 + "00", "ff" * 32, "80" + "00" * 30 + "01", "7f" * 32]
    monkeypatch.setattr("tests.contents.id_of", lambda content: content)
    table = table_of(tmp_path, [Stored(f"/{image_id}", image_id) for image_id in ids])
    images = StoredImages(table, sizes(100))
    for image_id in ids:
        place = images.find(image_id)
        assert place is not None
        rows = pq.read_table(table.folder / place.part, columns=["uri"])
        assert rows.column("uri")[place.row].as_py() == f"/{image_id}"
    for image_id in ("ff" * 30 + "0000", "00" * 31 + "01", "80" + "00" * 31, "ff" * 30 + "00ff"):
        assert images.find(image_id) is None


def test_only_parts_that_may_hold_the_sizes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table = table_of(
        tmp_path,
        [Stored("/small", "rose", size=10), Stored("/larger", "daisy", size=20)],
        [Stored("/large", "tulip", size=30), Stored("/largest", "lily", size=40)],
    )
    read: list[str] = []

    class Noted(pq.ParquetFile):
        def read(self, *args: object, **options: object) -> pa.Table:
            rows = super().read(*args, **options)
            read.extend(sorted(rows.column("uri").to_pylist()))
            return rows

    monkeypatch.setattr(stored.files, "parquet_file", lambda path: Noted(path))
    for numbers, parts in (
        ((9, 21, 29, 41), []),
        ((10,), ["/larger", "/small"]),
        ((5, 20), ["/larger", "/small"]),
        ((15,), ["/larger", "/small"]),
        ((30, 50), ["/large", "/largest"]),
        ((40,), ["/large", "/largest"]),
    ):
        StoredImages(table, sizes(*numbers))
        assert (numbers, read) == (numbers, parts)
        read.clear()


def test_row_groups_have_ranges_of_their_own(tmp_path: Path):
    """Each split has a row group: the second one holds the size here."""
    table = table_of(tmp_path, [Stored("/a", "rose", size=10), Stored("/t", "lily", size=30, split="test")])
    assert find(table, "lily", 30) == ("/t", 0)
    assert find(table, "rose", 10) == ("/a", 0)
    assert find(table, "rose", 20) is None


def test_a_part_without_statistics_may_hold_any_size(tmp_path: Path):
    """Whoever else wrote it."""
    table = table_of(tmp_path, [Stored("/a", "rose", size=7)])
    (path,) = table.paths
    pq.write_table(pq.read_table(path), path, write_statistics=False)
    assert find(table, "rose", 7) == ("/a", 0) and find(table, "rose", 8) is None


def test_rows_are_copied_by_place_or_by_uri_with_the_views_that_are_wanted(tmp_path: Path):
    images = [Stored("/t", "lily", split="test"), Stored("/a", "rose", 2), Stored("/b", "rose", 3)]
    table = table_of(tmp_path, images)
    path = features_path(tmp_path, "inception_v3") / table.names[0]
    place = StoredImages(table, sizes(100)).find(id_of("lily"))
    assert place is not None
    wanted = [
        Wanted(range(2), "/b"),
        Wanted((0,), row=place.row),
        Wanted((2, 0), "/a", row=place.row),
        Wanted((), "/a"),
        Wanted(range(1, 4), None, 3),
    ]
    rows, owners, decodings = copy_rows(path, wanted, table.facts.schema)
    found = zip(owners.tolist(), *(rows.column(name).to_pylist() for name in ("uri", "view")), strict=True)
    assert list(found) == [
        (0, "/b", 0),
        (0, "/b", 1),
        (1, "/t", 0),
        (2, "/a", 2),
        (2, "/a", 0),
        (4, "/b", 1),
        (4, "/b", 2),
        (4, "/b", 3),
    ]
    assert rows.schema == table.facts.schema and has_its_own_features(rows) and decodings == {}


def test_what_is_copied_tells_its_decodings(tmp_path: Path):
    table = table_of(tmp_path)
    part = part_of(table, [Stored("/a", "rose")], {"run-1": 1})
    rows, owners, decodings = copy_rows(table.folder / part.name, [], table.facts.schema)
    assert (len(rows), len(owners), decodings) == (0, 0, {"run-1": 1}) and owners.dtype == np.int64
