"""GIF: the first frame as TensorFlow reads it."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from features.images import decode
from features.images.gif import open_gif
from tests.features.pictures import assert_same_as_tensorflow, pixels_of, reason, reference, refusal, saved


def test_gif() -> None:
    first, second = (Image.fromarray(pixels_of(64, 33, seed=seed)).quantize(64) for seed in (0, 1))
    several = {"save_all": True, "append_images": [second]}
    for image in (first, Image.fromarray(pixels_of(64, 33, 1)[..., 0])):
        options: dict[str, Any]
        for options in ({}, {"interlace": 1}, {"transparency": 5}, several):
            file = io.BytesIO()
            image.save(file, "GIF", **options)
            assert_same_as_tensorflow(file.getvalue(), "gif")


def frame(number: int, width: int, height: int, left: int = 0, top: int = 0, *, cut: int = 0) -> bytes:
    """A frame with a color table of its own, as it stands in a file; of its data `cut` bytes are missing."""
    data = saved(pixels_of(height, width, seed=number), "GIF", interlace=0)
    start = data.index(b",\0\0\0\0")
    table_size = data[10] & 7
    table = data[13 : 13 + (3 << table_size + 1)]
    place = struct.pack("<HHHH", left, top, width, height)
    blocks = data[start + 10 : -1]
    return b"," + place + bytes([0x80 | table_size]) + table + (blocks[:-cut] if cut else blocks)


def gif(*frames: bytes, width: int = 64, height: int = 48) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0" + b"".join(frames) + b";"


@pytest.mark.parametrize(
    ("frames", "shape"),
    [
        ([frame(0, 64, 48)], (48, 64)),
        ([frame(0, 20, 30)], (30, 20)),  # whatever the header says
        ([frame(0, 20, 30, 5, 3)], (30, 20)),  # cut off on the right and below, black on the left and above
        ([frame(0, 20, 30, 30, 3)], (30, 20)),  # out of sight
        ([frame(0, 50, 40), frame(1, 100, 100)], (100, 100)),
        ([frame(0, 50, 40, 10, 20), frame(1, 100, 30)], (40, 100)),
        ([frame(0, 50, 40), frame(1, 10, 10, 3, 3), frame(2, 60, 10)], (40, 60)),
        ([frame(0, 50, 40), frame(1, 100, 100, cut=300)], (40, 50)),  # a frame that is cut off does not count
    ],
)
def test_frames_of_several_sizes_and_places(frames: list[bytes], shape: tuple[int, int]) -> None:
    data = gif(*frames)
    assert_same_as_tensorflow(data, "gif")
    assert decode(data).pixels.shape == (*shape, 3)


def test_the_header_may_give_a_smaller_or_a_larger_canvas() -> None:
    for width, height in ((0, 0), (1, 1), (40, 70), (640, 480), (65_535, 65_535)):
        assert_same_as_tensorflow(gif(frame(0, 33, 64), width=width, height=height), "gif")


def test_a_frame_that_is_cut_off_is_refused() -> None:
    for data in (gif(frame(0, 64, 48, cut=400))[:-1], gif(frame(0, 64, 48))[:100], gif(), b"GIF89a"):
        assert reference(data) is None
        assert refusal(data) == "truncated: the GIF ends before its first frame"


def test_the_memory_that_decoding_takes() -> None:
    data = gif(frame(0, 20, 30, 5, 3), frame(1, 10, 40))
    assert open_gif(data).memory == 3 * 20 * 40 + 8 * (5 + 20) * (3 + 30)


def test_a_canvas_that_the_data_can_not_fill_is_refused() -> None:
    large = bytearray(frame(0, 64, 48))
    large[5:9] = struct.pack("<HH", 12_000, 12_000)
    blocks = len(large) - 11 - (3 << (large[9] & 7) + 1)
    assert refusal(gif(bytes(large))) == (
        f"truncated: 12,000 × 12,000 pixels, which {blocks:,} bytes of data can't hold"
    )
    elsewhere = bytearray(frame(1, 64, 48))
    elsewhere[5:9] = struct.pack("<HH", 60_000, 60_000)
    assert reason(gif(frame(0, 64, 48), bytes(elsewhere))) == "too_large"


def test_a_large_picture_of_one_color_is_believed() -> None:
    plain = np.full((1500, 2000, 3), (10, 200, 30), np.uint8)
    np.testing.assert_array_equal(decode(saved(plain, "GIF")).pixels, plain)
