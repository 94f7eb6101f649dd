from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from features.errors import BottleneckError
from features.images import ImageError
from features.images.preparation import prepare
from heads.pixels.streams import PixelReader, PixelStream
from tests.conftest import photo

READER = PixelReader(8)


def pixels_of(path: Path | str, reader: PixelReader = READER) -> np.ndarray:
    pixels = np.zeros((reader.side, reader.side, 3), np.float32)
    prepare(str(path), pixels, reader.exif_orientation)
    return pixels


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
