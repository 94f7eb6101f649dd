"""Images that are no longer in the input: how many of them are taken for a mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from features.errors import BottleneckError, InputShrunk
from features.inputs import LISTING_SCHEMA
from features.store.table import FeatureTable
from pipelines.missing import (
    check_lost,
    check_shrunk,
    check_there,
    images_with_features,
    nothing_lost,
)
from pipelines.options import ExtractOptions
from pipelines.planning import Plan, make_plan
from tests.contents import FACTS, Stored, Wish, table_of
from tests.tables import Rejected


def four(store: Path) -> FeatureTable:
    """Of four images and two rejections."""
    rejected = [Rejected(f"/bad-{number}", "corrupt", "no image in it", 100, 1) for number in range(2)]
    return table_of(store, [Stored(f"/{number}", str(number), 1) for number in range(4)], rejected=rejected)


def plan_of(table: FeatureTable, *uris: str, size: int = 100) -> Plan:
    files = [Wish(uri, "", size=size)._asdict() for uri in uris]
    return make_plan(pa.Table.from_pylist(files, LISTING_SCHEMA), table, views=1)


def shrunk(table: FeatureTable, *uris: str, max_removed: float = 0.5, size: int = 100) -> None:
    check_shrunk(plan_of(table, *uris, size=size), ExtractOptions(max_removed=max_removed))


def test_an_input_may_lose_a_share_of_the_stored_images(tmp_path: Path):
    """Rejections are none of them, nor are views."""
    table = four(tmp_path)
    shrunk(table, "/0", "/1")
    shrunk(table, "/0", "/1", "/2", max_removed=0.25)
    shrunk(table, max_removed=1)
    shrunk(table, "/0", "/1", "/2", "/3", max_removed=0)
    with pytest.raises(InputShrunk) as error:
        shrunk(table, "/0", "/bad-0", "/bad-1")
    assert str(error.value) == (
        "3 of the 4 images in table 'inception_v3' are missing from the input, more than `max_removed=0.5` "
        "allows. If they are gone for good, run it once with `remove_gone` and `max_removed=1`; "
        "nothing was changed"
    )
    with pytest.raises(InputShrunk, match="1 of the 4 .* `max_removed=0.2` allows"):
        shrunk(table, "/0", "/1", "/2", max_removed=0.2)
    with pytest.raises(InputShrunk, match="4 of the 4"):
        shrunk(table)


def test_images_that_changed_count_among_the_stored(tmp_path: Path):
    """Two of four are missing: not two of the two that are as they were."""
    table = four(tmp_path)
    shrunk(table, "/0", "/1", size=101)
    with pytest.raises(InputShrunk, match="3 of the 4"):
        shrunk(table, "/0", size=101)


def test_images_that_seem_to_have_been_moved_are_not_lost(tmp_path: Path):
    table = four(tmp_path)
    shrunk(table, "/a/0", "/a/1", "/a/2", "/a/3", max_removed=0)
    shrunk(table, "/0", "/a/1")
    with pytest.raises(InputShrunk, match="4 of the 4"):
        shrunk(table, "/a/0", "/a/1", "/a/2", "/a/3", size=101)


def test_a_table_without_images_loses_none(tmp_path: Path):
    bad = Rejected("/bad", "corrupt", "no image in it", 100, 1)
    for name, rejected in (("empty", []), ("rejected", [bad])):
        shrunk(table_of(tmp_path / name, rejected=rejected), "/new", max_removed=0)


def test_what_is_missing_for_sure_is_looked_at_before_it_is_taken_out(tmp_path: Path):
    """Other images of the same sizes seemed to be those that were moved, and are not."""
    plan, options = plan_of(four(tmp_path), "/0", "/a", "/b", "/c"), ExtractOptions()
    check_shrunk(plan, options)
    with pytest.raises(InputShrunk) as error:
        check_lost(plan.missing_from_input, plan, options)
    assert str(error.value) == (
        "3 of the 4 images in table 'inception_v3' are missing from the input, more than `max_removed=0.5` "
        "allows. If they are gone for good, run it once with `remove_gone` and `max_removed=1`; "
        "none was taken out"
    )
    images = plan.missing_from_input.filter(plan.missing_from_input.column("image_id").is_valid())
    rejected = plan.missing_from_input.filter(plan.missing_from_input.column("image_id").is_null())
    assert (images_with_features(plan.missing_from_input), len(images), len(rejected)) == (3, 3, 2)
    check_lost(pa.concat_tables([images[:2], rejected]), plan, options)
    check_lost(plan.missing_from_input, plan, ExtractOptions(max_removed=0.75))


def test_an_input_that_a_table_was_made_from_has_to_be_there(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "list.csv").touch()
    missing = str(tmp_path / "nowhere")
    tables = {
        source: table_of(
            tmp_path / name, [Stored("/a", "a")], facts=dataclasses.replace(FACTS, source=source)
        )
        for name, source in (
            ("there", str(tmp_path / "photos")),
            ("list", str(tmp_path / "list.csv")),
            ("away", missing),
            ("named", "digits"),
        )
    }
    for source, table in tables.items():
        if source != missing:
            check_there(table, ExtractOptions())
            check_there(table, ExtractOptions(data=source))
    check_there(None, ExtractOptions(data=missing))
    check_there(tables[missing], ExtractOptions(data=str(tmp_path / "photos")))  # another one: refused later
    empty = table_of(tmp_path / "empty", facts=dataclasses.replace(FACTS, source=missing))
    check_there(empty, ExtractOptions())
    for data in ("auto", missing, f"{tmp_path}/photos/../nowhere"):
        with pytest.raises(InputShrunk) as error:
            check_there(tables[missing], ExtractOptions(data=data))
        assert str(error.value) == (
            f"{missing} is missing, which table 'inception_v3' was made from: mount it, or say where it is "
            f"now with `data` and `data_moved_from`; nothing was changed"
        )


def test_where_the_images_were_is_not_enough_to_say(tmp_path: Path):
    with pytest.raises(BottleneckError, match="^`data_moved_from` says where the images were: give `data`, "):
        check_there(None, ExtractOptions(data_moved_from="/old"))
    check_there(None, ExtractOptions(data_moved_from="/old", data="/new"))


def test_an_empty_input_is_said_to_have_changed_nothing(tmp_path: Path):
    for table, more in (
        (four(tmp_path / "four"), "; nothing was changed in table 'inception_v3'"),
        (table_of(tmp_path / "empty"), ""),
        (None, ""),
    ):
        with pytest.raises(InputShrunk) as error, nothing_lost(table):
            raise InputShrunk("found no images")
        assert str(error.value) == f"found no images{more}"
