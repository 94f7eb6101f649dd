from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.errors import BottleneckError
from features.images.preparation import prepare
from features.inputs import list_images
from features.recipe import FeatureRecipe
from features.splits import assign_split
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads.pixels import streams as streams_module
from heads.pixels.images import LabelledImages, crashed_images, images_of_listing, images_of_table
from heads.pixels.streams import PixelReader
from tests import tables
from tests.conftest import photo
from tests.tables import Rejected, add, add_views, make_rows

READER = PixelReader(8)


def test_images_that_can_not_be_read_are_left_out_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "_AT_ONCE", 5)
    counts: list[int] = []
    images = images_of_listing(list_images(str(folder)), READER, reading=counts.append)
    assert counts == [14], "before they are read"
    assert images.name == f"`data={folder}`"
    assert images.notices == [
        f"left out 2 images that can't be read: {folder}/rose/bad.jpg: not_an_image (unknown format; it "
        f"begins with b'no image'), {folder}/rose/empty.jpg: empty (0 bytes)"
    ]
    rows = {Path(row["uri"]).name: row for row in images.rows.to_pylist()}
    assert sorted(rows) == [f"{number:02}.png" for number in range(12)]
    for name, row in rows.items():
        image_id = prepare(row["uri"], np.zeros((8, 8, 3), np.float32)).image_id
        assert row["labels"] == ["daisy" if int(name[:2]) % 3 else "rose"]
        assert (row["split"], row["view"]) == (assign_split(image_id, None), 0)
    assert set(images.labels()) == {"daisy", "rose"}


def test_splits_that_are_given_are_kept_and_images_without_a_label_are_not_read(tmp_path: Path) -> None:
    photo(1).save(tmp_path / "a.png")
    photo(2).save(tmp_path / "b.png")
    (tmp_path / "list.csv").write_text("uri,label,split\na.png,x,test\nb.png,y,val\nnone.png,,train\n")
    images = images_of_listing(list_images(str(tmp_path / "list.csv")), READER)
    rows = {Path(row["uri"]).name: (row["labels"], row["split"]) for row in images.rows.to_pylist()}
    assert rows["a.png"] == (["x"], "test") and rows["b.png"] == (["y"], "validation")
    assert rows["none.png"][0] == []


def test_images_of_a_group_stay_on_one_side(tmp_path: Path) -> None:
    lines = ["uri,label,group"]
    for number in range(30):
        photo(number).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number % 2},{number // 10}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    rows = images_of_listing(list_images(str(tmp_path / "list.csv")), READER).rows.to_pylist()
    for row in rows:
        group = str(int(Path(row["uri"]).stem) // 10)
        assert row["split"] == assign_split("", None, group)


def test_images_of_which_none_can_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.jpg").write_text("no image")
    with pytest.raises(BottleneckError) as error:
        images_of_listing(list_images(str(tmp_path)), READER)
    assert str(error.value) == (
        f"none of the 1 labelled image of `data={tmp_path}` can be read: {tmp_path}/a/bad.jpg: not_an_image "
        f"(unknown format; it begins with b'no image')"
    )


def listed(folder: Path, *lines: str) -> LabelledImages:
    """The images of a list whose header names a group."""
    (folder / "list.csv").write_text("\n".join(["uri,label,split,group", *lines]))
    return images_of_listing(list_images(str(folder / "list.csv")), READER)


def test_the_same_bytes_in_several_places_and_torn_groups_are_told(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 1), ("c", 1), ("d", 2)):
        photo(number).save(tmp_path / f"{name}.png")
    images = listed(tmp_path, "a.png,x,train,p", "b.png,y,train,", "c.png,y,test,", "d.png,x,test,p")
    same = f"  {tmp_path}/a.png = {tmp_path}/b.png = {tmp_path}/c.png"
    assert images.notices[2:] == [
        "1 image is there several times, the same bytes under different labels:",
        same,
        "1 image is there several times, the same bytes under different splits:",
        same,
        "1 group is torn apart by the splits that the data came with:",
        "  p: 1 in train, 1 in test",
    ]


def test_the_digest_of_data_is_that_of_bytes_labels_and_splits(tmp_path: Path) -> None:
    for number in range(3):
        photo(number).save(tmp_path / f"{number}.png")
    lines = ["0.png,x|y,train,", "1.png,y,test,"]
    digest = listed(tmp_path, *lines).digest()
    assert listed(tmp_path, "1.png,y,test,p", "2.png,,train,", "0.png,y|x,train,").digest() == digest
    for others in (
        [lines[0], "1.png,y,train,"],
        [lines[0], "1.png,x,test,"],
        [lines[0], "2.png,y,test,"],
        [*lines, "2.png,y,test,"],
    ):
        assert listed(tmp_path, *others).digest() != digest


def test_images_that_crashed_in_an_extraction_are_not_read(folder: Path, tmp_path: Path) -> None:
    listing = list_images(str(folder))
    table = tables.make_table(tmp_path / "store", np.zeros((0, 2048)), [], name="mine")
    rows = listing.images.select(["uri", "size", "modified_at"]).to_pylist()
    rejections = [
        Rejected(row["uri"], reason, "", row["size"], round(row["modified_at"].timestamp() * 1e6))
        for row, reason in zip(rows, ["crashed", "crashed", "corrupt"], strict=False)
    ]
    add(table, rejected=rejections, run_id="run-2")
    os.utime(rows[1]["uri"], (1, 1))
    crashed = crashed_images(tmp_path / "store", "mine")
    assert sorted(crashed.column("uri").to_pylist()) == [row["uri"] for row in rows[:2]]
    images = images_of_listing(list_images(str(folder)), READER, crashed)
    assert images.notices[0] == f"left out 1 image that extraction rejected as crashed: {rows[0]['uri']}"
    assert rows[0]["uri"] not in images.rows.column("uri").to_pylist() and len(images.rows) == 11
    assert len(crashed_images(tmp_path / "store", "none")) == 0


def make_table(folder: Path, store: Path) -> FeatureTable:
    """A table of the good images of a folder, and of one that has no label and no file."""
    listing = images_of_listing(list_images(str(folder)), READER).rows
    uris = [*listing.column("uri").to_pylist(), "/none.png"]
    recipe = FeatureRecipe(weights="random", weights_sha256="0" * 64, backbone="efficientnet_v2_s")
    facts = TableFacts("digits", "random", ("block2d_add",), recipe)
    labels = [*listing.column("labels").to_pylist(), []]
    splits = ["train", "validation", "test"] * 4 + ["train"]
    rows = make_rows(facts, np.zeros((len(uris), 48)), labels, splits)
    ids = [prepare(uri, np.zeros((8, 8, 3), np.float32)).image_id for uri in uris[:-1]]
    columns = {"uri": pa.array(uris), "image_id": pa.array([*ids, "0" * 64])}
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.names.index(name), rows.schema.field(name), column)
    table = feature_store.create(store, "mine", facts)
    add(table, write_part(table.folder, [rows], facts.schema, run_id="run-1"))
    return feature_store.open(store, "mine")


def test_the_images_of_a_table_have_its_labels_and_splits(folder: Path, tmp_path: Path) -> None:
    table = make_table(folder, tmp_path / "store")
    counts: list[int] = []
    images = images_of_table(table, READER, counts.append)
    assert counts == [12]
    assert (images.name, images.notices) == ("table 'mine'", [])
    assert images.rows.equals(table.metadata(["uri", "image_id", "labels", "split", "view"]))
    viewed = add_views(table)
    assert len(viewed.metadata(["uri"])) > len(images.rows)
    assert images_of_table(viewed, READER).rows.equals(images.rows)


def test_files_of_a_table_that_are_gone_or_have_changed_are_refused(folder: Path, tmp_path: Path) -> None:
    table = make_table(folder, tmp_path / "store")
    (folder / "daisy" / "01.png").unlink()
    photo(99).save(folder / "daisy" / "02.png")
    with pytest.raises(BottleneckError) as error:
        images_of_table(table, READER)
    assert str(error.value) == (
        f"training on pixels needs the files of table 'mine', version 1, and 2 of 12 are not as they were: "
        f"{folder}/daisy/01.png: missing (No such file or directory), {folder}/daisy/02.png: changed. Bring "
        f"them back, or extract again and train a head on what there is"
    )


def rows(labels: list[list[str]], splits: list[str | None]) -> LabelledImages:
    uris = [f"/{number}" for number in range(len(labels))]
    table = pa.table({"uri": uris, "labels": labels, "split": pa.array(splits, pa.string())})
    return LabelledImages(table, "these", [])


def test_the_images_of_each_split_that_have_a_label_which_is_learned() -> None:
    images = rows(
        [["b"], ["a"], ["odd"], ["b"], [], ["a"]], ["train", "train", "train", "test", None, "test"]
    )
    streams = images.streams(["a", "b"], READER, multi_label=False, ignored=["odd"])
    assert {
        split: (stream.uris, stream.y.tolist(), stream.left_out) for split, stream in streams.items()
    } == {
        "train": (["/0", "/1"], [1, 0], 1),
        "validation": ([], [], 0),
        "test": (["/3", "/5"], [1, 0], 0),
    }


def test_images_with_several_labels() -> None:
    images = rows([["b", "a"], ["odd"], ["odd", "b"]], ["train", "train", "train"])
    train = images.streams(["a", "b"], READER, multi_label=True, ignored=["odd"])["train"]
    assert (train.uris, train.y.tolist(), train.left_out) == (["/0", "/2"], [[1, 1], [0, 1]], 1)
