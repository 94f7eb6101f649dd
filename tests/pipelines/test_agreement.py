"""What a run may ask of a table that exists."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features import store as feature_store
from features.augmentation import Augmentation, parse_augmentation
from features.errors import BottleneckError, MadeAnotherWay
from features.store.commit import set_augmentation
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from pipelines.agreement import (
    check_backbone,
    check_same,
    choose_views,
    with_reading_of,
)
from pipelines.options import EndToEndOptions, ExtractOptions
from pipelines.runs import Run
from tests.contents import Stored, part_of, table_of
from tests.tables import RECIPE, add, make_rows
from tests.tiny import weights_file

TURNED = dataclasses.replace(RECIPE, exif_orientation=True)
SITES = (("site_a", "train"), ("site_b", "test"))


def made(
    store: Path, layers: tuple[str, ...] = ("avg_pool",), *, rows: int = 1, **facts: Any
) -> FeatureTable:
    """A table of the data in `store / "data"`."""
    of_table = TableFacts(
        **{"source": str(store / "data"), "weights": "random", "recipe": RECIPE, **facts}, layers=layers
    )
    table = feature_store.create(store, "flowers", of_table)
    if rows:
        batch = make_rows(of_table, np.zeros((rows, 2048), np.float32), ["a"] * rows)
        add(table, write_part(table.folder, [batch], of_table.schema))
    return feature_store.open(store, "flowers")


def check(
    table: FeatureTable, *, source: str | None = None, groups: bool | None = None, **options: Any
) -> None:
    groups = table.facts.groups if groups is None else groups
    check_same(table, ExtractOptions(**options), source or table.source, groups=groups)


@pytest.mark.parametrize(
    ("facts", "options"),
    [
        ({}, {}),
        ({}, {"layers": "avg_pool"}),
        (
            {},
            {
                "backbone": "inception_v3",
                "precision": "float32",
                "exif_orientation": False,
                "weights": "random",
            },
        ),
        ({"layers": ("mixed8", "avg_pool"), "rows": 0}, {"layers": "mixed10"}),
        ({}, {"splits": {"train": "train", "val": "validation"}, "classes": "top"}),
        ({"recipe": TURNED}, {}),
        ({"splits": SITES, "classes": "deepest"}, {}),
        ({"groups": True}, {"groups": True}),
        ({"splits": SITES, "classes": "deepest"}, {"splits": dict(reversed(SITES)), "classes": "deepest"}),
    ],
)
def test_what_a_table_has_may_be_said_again(tmp_path: Path, facts: dict[str, Any], options: dict[str, Any]):
    check(made(tmp_path, **facts), **options)


@pytest.mark.parametrize(
    ("facts", "options", "differences"),
    [
        ({}, {"layers": "mixed3"}, "`layers` was avg_pool and is now mixed3"),
        (
            {"layers": ("mixed0", "mixed8"), "rows": 0},
            {"layers": "mixed0,mixed3"},
            "`layers` was mixed0,mixed8 and is now mixed0,mixed3",
        ),
        ({}, {"precision": "bfloat16"}, "`precision` was float32 and is now bfloat16"),
        ({}, {"exif_orientation": True}, "`exif_orientation` was False and is now True"),
        ({"recipe": TURNED}, {"exif_orientation": False}, "`exif_orientation` was True and is now False"),
        (
            {},  # whose layers and weights can't be compared
            {"backbone": "resnet50", "layers": "conv2_block3_out", "weights": "/none.h5"},
            "`backbone` was inception_v3 and is now resnet50",
        ),
        ({"source": "/a"}, {"source": "/b"}, "`data` was /a and is now /b"),
        ({"source": "/a"}, {"source": "/b", "groups": True}, "`data` was /a and is now /b"),
        (
            {},
            {"groups": True},
            "`group` was missing from the input or empty and is now a column of the input",
        ),
        (
            {"groups": True},
            {"groups": False, "precision": "bfloat16"},
            "`group` was a column of the input and is now missing from the input or empty; "
            "`precision` was float32 and is now bfloat16",
        ),
        ({}, {"classes": "deepest"}, "`classes` was not given and is now deepest"),
        ({"classes": "deepest"}, {"classes": "top"}, "`classes` was deepest and is now top"),
        ({}, {"splits": {"site_a": "train"}}, "`splits` was not given and is now site_a=train"),
        ({}, {"splits": {"train": "test"}}, "`splits` was not given and is now train=test"),
        (
            {"splits": SITES},
            {"splits": {"site_a": "test", "site_b": "train"}, "precision": "bfloat16"},
            "`precision` was float32 and is now bfloat16; "
            "`splits` was site_a=train,site_b=test and is now site_a=test,site_b=train",
        ),
    ],
)
def test_a_table_refuses_what_it_was_not_made_with(
    tmp_path: Path, facts: dict[str, Any], options: dict[str, Any], differences: str
):
    with pytest.raises(BottleneckError) as error:
        check(made(tmp_path, **facts), **options)
    moved = ", or, where the images were moved, say `data_moved_from=/a`"
    assert str(error.value) == (
        f"table 'flowers' was made another way: {differences}. "
        f"Name a new table with `features=NAME` to keep both{moved if '`data`' in differences else ''}"
    )


def test_a_table_takes_the_same_weights_from_any_file_and_refuses_others(tmp_path: Path):
    table = made(tmp_path)
    same = weights_file(tmp_path / "same.h5", table.backbone, "0" * 64)
    check(table, weights=str(same))
    other = weights_file(tmp_path / "other.h5", table.backbone, "f" * 64)
    with pytest.raises(BottleneckError) as error:
        check(table, weights=str(other))
    assert "`weights` was random (sha256 000000000000…) and is now other (sha256 ffffffffffff…). " in str(
        error.value
    )


def test_weights_of_the_store_count_from_the_store_and_given_ones_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The same relative path may mean two files."""
    table = made(tmp_path / "store", weights="weights/tuned.h5")
    for folder, sha256 in ((tmp_path / "store" / "weights", "0" * 64), (tmp_path / "weights", "f" * 64)):
        folder.mkdir()
        weights_file(folder / "tuned.h5", table.backbone, sha256)
    monkeypatch.chdir(tmp_path)
    for same in ("auto", str(tmp_path / "store/weights/tuned.h5"), "store/weights/tuned.h5"):
        check(table, weights=same)
    with pytest.raises(BottleneckError, match="`weights` was random .* and is now tuned"):
        check(table, weights="weights/tuned.h5")


def test_a_backbone_that_is_given_is_the_tables(tmp_path: Path):
    table = made(tmp_path)
    for backbone in (None, "inception_v3"):
        check_backbone(table, ExtractOptions(backbone=backbone))
    with pytest.raises(BottleneckError) as error:
        check_backbone(table, ExtractOptions(backbone="resnet50"))
    assert str(error.value) == "table 'flowers' was made with `backbone=inception_v3`, not resnet50"


def test_folders_are_read_as_they_were_for_the_rows_there_are(tmp_path: Path):
    table = made(tmp_path, splits=SITES, classes="deepest")

    def reading(table: FeatureTable | None = table, **options: Any) -> tuple[Any, Any]:
        read = with_reading_of(table, ExtractOptions(**options))
        return read.splits, read.classes

    kept = dict(SITES), "deepest"
    assert reading() == reading(data=table.source) == reading(data=f"file://{table.source}/") == kept
    assert reading(splits={"a": "test"}, classes="top") == ({"a": "test"}, "top")
    assert reading(classes="top") == (dict(SITES), "top")
    assert reading(data=str(tmp_path)) == reading(None) == (None, None)
    assert reading(made(tmp_path / "empty", rows=0, splits=SITES, classes="deepest")) == (None, None)
    assert with_reading_of(table, ExtractOptions(chunk_size=7)).chunk_size == 7


def test_of_an_input_that_was_moved_folders_are_read_as_before(tmp_path: Path):
    table = made(tmp_path, splits=SITES, classes="deepest")
    read = with_reading_of(table, ExtractOptions(data="/new", data_moved_from=f"{table.source}/"))
    assert (read.splits, read.classes) == (dict(SITES), "deepest")
    other = with_reading_of(table, ExtractOptions(data="/new", data_moved_from="/other"))
    assert (other.splits, other.classes) == (None, None)
    whole = with_reading_of(table, EndToEndOptions(data="/new"))  # which knows no such option
    assert (whole.splits, whole.classes) == (None, None)


def test_a_built_in_data_set_is_known_by_its_name(tmp_path: Path):
    table = made(tmp_path, source="digits", classes="top")
    assert with_reading_of(table, ExtractOptions(data="digits")).classes == "top"
    assert with_reading_of(table, ExtractOptions(data="flowers")).classes is None


WEAK, STRONG = ("crop=0.1",), ("crop=0.4", "flip")


def with_views(store: Path, views: int, augment: Sequence[str] | None = None) -> FeatureTable:
    """Of an image with so many views, and one without."""
    table = table_of(store, [Stored("/t", "tulip", split="test")])
    if views:
        table = set_augmentation(table, parse_augmentation(augment))
        add(table, part_of(table, [Stored("/rose", "rose", views)]))
    return feature_store.open(store)


def chosen(table: FeatureTable, *others: Run, **options: Any) -> tuple[int, Augmentation | None]:
    newest, views = choose_views(table, ExtractOptions(**options), others)
    assert newest.augmentation == feature_store.open(table.store).augmentation
    return views, newest.augmentation


def test_by_default_a_table_has_as_many_views_as_it_had(tmp_path: Path):
    table = with_views(tmp_path / "without", 0)
    assert chosen(table) == chosen(table, views=0) == (0, None)
    assert feature_store.open(table.store).version == table.version
    table = with_views(tmp_path / "with", 2, WEAK)
    for options in ({}, {"views": 2}, {"augment": WEAK}):
        assert chosen(table, **options) == (2, parse_augmentation(WEAK))
    assert chosen(table, views=3, augment=WEAK) == (3, parse_augmentation(WEAK))
    assert feature_store.open(table.store).version == table.version


@pytest.mark.parametrize(("views", "text"), [(0, "`views=0` is fewer"), (1, "`views=1` is fewer")])
def test_fewer_views_than_a_table_has_are_refused(tmp_path: Path, views: int, text: str):
    with pytest.raises(MadeAnotherWay) as error:
        choose_views(with_views(tmp_path, 2), ExtractOptions(views=views), ())
    assert str(error.value) == (
        f"table 'inception_v3' has 2 views of each training image, and {text}: leave it out (a head can be "
        f"trained with fewer), or name a new table with `features=NAME`"
    )


def test_how_the_first_views_are_made_is_kept_with_the_table(tmp_path: Path):
    """And may be said again as long as there are none: a run may have been stopped before its first."""
    table = with_views(tmp_path, 0)
    assert chosen(table, views=1) == (1, Augmentation())
    newest = feature_store.open(tmp_path)
    assert chosen(newest, views=2, augment=STRONG) == (2, parse_augmentation(STRONG))
    newest = feature_store.open(tmp_path)
    assert chosen(newest, views=2) == (2, parse_augmentation(STRONG))
    assert feature_store.open(tmp_path).version == newest.version


def test_views_that_are_made_another_way_are_refused(tmp_path: Path):
    table = with_views(tmp_path, 1, WEAK)
    with pytest.raises(MadeAnotherWay) as error:
        choose_views(table, ExtractOptions(views=2, augment=STRONG), ())
    assert str(error.value) == (
        "the views of table 'inception_v3' are made by crop 0.1, and `augment` asks for crop 0.4, flip: "
        "leave it out, or name a new table with `features=NAME` to keep both"
    )
    assert feature_store.open(tmp_path).augmentation == parse_augmentation(WEAK)


@pytest.mark.parametrize("augment", [None, ("flip",)])
def test_views_of_another_algorithm_are_refused(tmp_path: Path, augment: tuple[str, ...] | None):
    """Of a later version of this program, or an earlier one."""
    made_by = dataclasses.replace(parse_augmentation(augment), algorithm=99)
    table = set_augmentation(table_of(tmp_path), made_by)
    add(table, part_of(table, [Stored("/rose", "rose", 1)]))
    with pytest.raises(MadeAnotherWay, match="are made by algorithm 99, and this version has 1: name a"):
        choose_views(feature_store.open(tmp_path), ExtractOptions(augment=augment), ())


def test_how_views_are_made_is_not_said_where_there_are_none(tmp_path: Path):
    for options in ({"augment": WEAK}, {"augment": WEAK, "views": 0}):
        with pytest.raises(BottleneckError) as error:
            choose_views(with_views(tmp_path / str(len(options)), 0), ExtractOptions(**options), ())
        assert str(error.value) == (
            "`augment` says how views are made, and there are none: give `views`, too"
        )


def test_beside_others_views_are_made_as_these_make_them(tmp_path: Path):
    """The first to want any says how, whether others without views are at work or not."""
    other = Run(tmp_path, "other")
    table = with_views(tmp_path, 0)
    assert chosen(table, other, views=1, augment=WEAK) == (1, parse_augmentation(WEAK))
    said = feature_store.open(tmp_path)
    assert chosen(said, other, views=2) == (2, parse_augmentation(WEAK))
    with pytest.raises(MadeAnotherWay, match="made by crop 0.1, and `augment` asks for crop 0.4"):
        choose_views(said, ExtractOptions(views=2, augment=STRONG), [other])
    with pytest.raises(MadeAnotherWay, match="made by crop 0.1, and `augment` asks for crop 0.4"):
        choose_views(table, ExtractOptions(views=2, augment=STRONG), [other])  # said since it looked
    assert feature_store.open(tmp_path).augmentation == parse_augmentation(WEAK)
