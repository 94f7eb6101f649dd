from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from PIL import Image

from features import store as feature_store
from features.errors import BottleneckError
from features.images import ImageError
from features.images.preparation import prepare
from features.inputs import list_images
from features.recipe import FeatureRecipe
from features.splits import assign_split
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads.pixels import images as images_module
from heads.pixels.images import LabelledImages, PixelReader, PixelStream, images_of_listing, images_of_table
from tests.conftest import photo
from tests.tables import add, make_rows

READER = PixelReader(8)


def pixels_of(path: Path | str, reader: PixelReader = READER) -> np.ndarray:
    pixels = np.zeros((reader.side, reader.side, 3), np.float32)
    prepare(str(path), pixels, reader.exif_orientation)
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of two classes, and two files with an image's name that are none."""
    for number in range(12):
        place = tmp_path / "photos" / ("daisy" if number % 3 else "rose")
        place.mkdir(parents=True, exist_ok=True)
        photo(number).save(place / f"{number:02}.png")
    (tmp_path / "photos" / "rose" / "bad.jpg").write_text("no image")
    (tmp_path / "photos" / "rose" / "empty.jpg").touch()
    return tmp_path / "photos"


def test_pixels_are_those_of_extraction_with_photos_turned_where_that_is_asked(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(1).save(tmp_path / "turned.jpg", exif=exif)
    as_it_is, turned = (PixelReader(8, exif_orientation=turn) for turn in (False, True))
    for reader in (as_it_is, turned):
        np.testing.assert_array_equal(
            reader.read(str(tmp_path / "turned.jpg")), pixels_of(tmp_path / "turned.jpg", reader)
        )
    difference = as_it_is.read(str(tmp_path / "turned.jpg")) - turned.read(str(tmp_path / "turned.jpg"))
    assert np.abs(difference).max() > 1


def test_images_that_can_not_be_read_are_left_out_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "_AT_ONCE", 5)
    images = images_of_listing(list_images(str(folder)), READER)
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
    images = images_of_table(table, READER)
    assert (images.name, images.notices) == ("table 'mine'", [])
    assert images.rows.equals(table.metadata(["uri", "labels", "split", "view"]))


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
    assert {split: (stream.uris, stream.y.tolist()) for split, stream in streams.items()} == {
        "train": (["/0", "/1"], [1, 0]),
        "validation": ([], []),
        "test": (["/3", "/5"], [1, 0]),
    }


def test_images_with_several_labels() -> None:
    images = rows([["b", "a"], ["odd"], ["odd", "b"]], ["train", "train", "train"])
    train = images.streams(["a", "b"], READER, multi_label=True, ignored=["odd"])["train"]
    assert (train.uris, train.y.tolist()) == (["/0", "/2"], [[1, 1], [0, 1]])


@pytest.fixture
def stream(folder: Path) -> PixelStream:
    uris = sorted(map(str, folder.rglob("*.png")))
    return PixelStream(uris, np.arange(12, dtype=np.int64), READER)


def epoch(data: tf.data.Dataset) -> tuple[list[int], list[int]]:
    """The sizes of the batches, and y."""
    batches = list(data.as_numpy_iterator())
    return [len(pixels) for pixels, _ in batches], np.concatenate([y for _, y in batches]).tolist()


def test_a_stream_gives_each_image_once_in_its_order(stream: PixelStream) -> None:
    data = stream.dataset(5)
    pixels, y = zip(*data.as_numpy_iterator(), strict=True)
    assert [batch.shape for batch in pixels] == [(5, 8, 8, 3), (5, 8, 8, 3), (2, 8, 8, 3)]
    assert np.concatenate(y).tolist() == list(range(12)) and len(stream) == 12
    np.testing.assert_array_equal(np.concatenate(pixels), [pixels_of(uri) for uri in stream.uris])
    assert epoch(data) == ([5, 5, 2], list(range(12))), "and again"
    assert int(data.cardinality()) == 3
    assert data.element_spec[0].shape.as_list() == [None, 8, 8, 3]


def test_shuffled_it_has_another_order_each_time_which_the_seed_decides(stream: PixelStream) -> None:
    orders = [
        [epoch(data)[1] for _ in range(2)]
        for data in (stream.dataset(4, shuffle=True, seed=s) for s in (1, 1, 2))
    ]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][0] != orders[0][1] != list(range(12))
    assert all(sorted(order) == list(range(12)) for run in orders for order in run)
    data = stream.dataset(4, shuffle=True)
    for pixels, y in data.as_numpy_iterator():
        np.testing.assert_array_equal(pixels, [pixels_of(stream.uris[number]) for number in y])


def test_some_of_a_stream_are_taken_at_random(stream: PixelStream) -> None:
    some, others = stream.some(5), stream.some(5, seed=1)
    assert some.uris == [stream.uris[number] for number in some.y] and len(some) == 5
    assert sorted(some.y) == some.y.tolist() != others.y.tolist()
    assert stream.some(100).uris == stream.uris


def test_a_file_that_goes_away_meanwhile_is_named(stream: PixelStream) -> None:
    Path(stream.uris[7]).unlink()
    with pytest.raises(BottleneckError) as error, stream.reading():
        list(stream.dataset(4))
    assert str(error.value) == (
        f"an image can't be read any more: {stream.uris[7]}: missing (No such file or directory)"
    )


def test_another_fault_of_tensorflow_is_its_own(stream: PixelStream) -> None:
    with pytest.raises(tf.errors.OutOfRangeError), stream.reading():
        raise tf.errors.OutOfRangeError(None, None, "at an end")


def test_a_reader_says_of_each_image_what_it_is(folder: Path) -> None:
    paths = [str(folder / "rose" / name) for name in ("bad.jpg", "00.png", "none.png")]
    outcomes = list(READER.check(paths))
    assert outcomes[0][0] is None and str(outcomes[0][1]).startswith("not_an_image (")
    assert outcomes[1] == (prepare(paths[1], np.zeros((8, 8, 3), np.float32)).image_id, None)
    assert outcomes[2] == (None, "missing (No such file or directory)")
    with pytest.raises(ImageError):
        READER.read(paths[0])
    assert dataclasses.astuple(READER) == (8, False)
