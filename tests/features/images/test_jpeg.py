"""JPEG: TensorFlow's pixels, bit by bit, and its verdict on damaged files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simplejpeg

from features.images import ImageError, decode
from features.images.jpeg import open_jpeg
from tests.features.pictures import (
    SIZES,
    assert_same_as_tensorflow,
    pixels_of,
    reason,
    reference,
    refusal,
    saved,
)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}, {"quality": 98}]
)
def test_color_jpeg(subsampling: str, options: dict[str, Any]) -> None:
    for size in SIZES:
        assert_same_as_tensorflow(saved(pixels_of(*size), "JPEG", subsampling=subsampling, **options), "jpeg")


def test_jpeg_with_chroma_halved_downwards() -> None:
    assert_same_as_tensorflow(simplejpeg.encode_jpeg(pixels_of(35, 41), colorsubsampling="440"), "jpeg")


@pytest.mark.parametrize("progressive", [False, True])
def test_gray_jpeg_and_jpeg_in_rgb(progressive: bool) -> None:
    for size in SIZES:
        assert_same_as_tensorflow(saved(pixels_of(*size, 1), "JPEG", progressive=progressive), "jpeg")
        rgb = saved(pixels_of(*size), "JPEG", progressive=progressive, keep_rgb=True)
        assert_same_as_tensorflow(rgb, "jpeg")


def test_cmyk_jpeg() -> None:
    for size in SIZES:
        adobe = saved(pixels_of(*size, 4), "JPEG", "CMYK")
        assert_same_as_tensorflow(adobe, "jpeg")
        start = adobe.index(b"\xff\xee")  # without Adobe's marker the inks are not inverted
        end = start + 2 + int.from_bytes(adobe[start + 2 : start + 4], "big")
        assert_same_as_tensorflow(adobe[:start] + adobe[end:], "jpeg")
        ycck = simplejpeg.encode_jpeg(pixels_of(*size, 4), colorspace="CMYK", colorsubsampling="420")
        assert_same_as_tensorflow(ycck, "jpeg")


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg_is_refused(progressive: bool) -> None:
    data = saved(pixels_of(64, 48), "JPEG", progressive=progressive)
    for cut in [
        3,
        4,
        10,
        21,
        200,
        620,
        *range(650, len(data), 150),
        len(data) - 3,
        len(data) - 2,
        len(data) - 1,
    ]:
        assert reason(data[:cut]) == "truncated", cut
    assert reason(data[: len(data) * 2 // 3] + bytes(len(data) // 3)) == "truncated"
    assert reason(data[:-2] + b"no end marker") == "truncated"


def test_harmless_damage_to_a_jpeg_is_accepted_like_by_tensorflow() -> None:
    data = saved(pixels_of(64, 48), "JPEG")
    tables = data.index(b"\xff\xdb")
    odd = [
        data + b"trailing bytes",
        data[:-2] + b"extraneous" + data[-2:],
        data[:tables] + b"\0\0\0" + data[tables:],
        data[:tables] + b"\xff\xff" + data[tables:],
        data[:tables] + b"stray\xff\0stray" + data[tables:],
    ]
    for jpeg in odd:
        assert_same_as_tensorflow(jpeg, "jpeg")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_damaged_jpegs_are_accepted_or_refused_like_by_tensorflow(options: dict[str, Any]) -> None:
    data = saved(pixels_of(64, 48), "JPEG", **options)
    random = np.random.default_rng(1)
    for position in random.integers(2, len(data), 60):
        damaged = bytearray(data)
        damaged[position] ^= 1 << random.integers(8)
        if reference(bytes(damaged)) is None:
            assert reason(bytes(damaged)) in ("corrupt", "truncated")
        else:
            assert_same_as_tensorflow(bytes(damaged), "jpeg")


@pytest.mark.parametrize("revision", [b"\0\0", b"\x01\0", b"\x03\x05", b"\xff\xff"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_any_jfif_revision(revision: bytes, options: dict[str, Any]) -> None:
    for subsampling in ("4:4:4", "4:2:0"):
        data = saved(pixels_of(64, 48), "JPEG", quality=98, subsampling=subsampling, **options)
        assert data[6:11] == b"JFIF\0"
        assert_same_as_tensorflow(data[:11] + revision + data[13:], "jpeg")


def sampled(data: bytes, factors: tuple[int, int, int]) -> bytes:
    """The JPEG with other sampling factors in its header; fit for pictures of one color."""
    frame = data.index(b"\xff\xc0")
    changed = bytearray(data)
    changed[frame + 11], changed[frame + 14], changed[frame + 17] = factors
    return bytes(changed)


@pytest.mark.parametrize(
    "factors", [(0x12, 0x12, 0x11), (0x31, 0x11, 0x11), (0x14, 0x11, 0x11), (0x22, 0x21, 0x12)]
)
def test_jpeg_whose_chroma_is_sampled_in_a_rare_way_is_kept(factors: tuple[int, int, int]) -> None:
    data = saved(np.full((40, 40, 3), (90, 140, 30), np.uint8), "JPEG", subsampling="4:4:4")
    for _ in range(3):  # enough blocks for any sampling
        data = data[:-2] + data[data.index(b"\xff\xda") + 14 : -2] + b"\xff\xd9"
    expected = reference(sampled(data, factors))
    assert expected is not None
    pixels = decode(sampled(data, factors)).pixels
    assert pixels.shape == (40, 40, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 19


def test_jpeg_of_12_bits_is_unsupported() -> None:
    data = bytearray(saved(pixels_of(64, 48), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert reference(bytes(data)) is None
    assert refusal(bytes(data)) == "unsupported: a JPEG of 12 bits a sample, not 8"


def test_a_jpeg_that_does_not_give_its_size_is_refused() -> None:
    data = saved(pixels_of(64, 48), "JPEG")
    frame = data.index(b"\xff\xc0")
    without = data[:frame] + data[frame + 19 :]
    assert refusal(without) == "corrupt: the JPEG's data begin before its size was given"
    for cut in (3, frame, frame + 18):
        assert refusal(data[:cut]) == "truncated: the image ends within its header", cut


@pytest.mark.parametrize(
    ("channels", "options", "bytes_a_pixel"),
    [
        *((3, {}, 10), (1, {}, 10), (4, {}, 10)),
        *((3, {"progressive": True}, 16), (1, {"progressive": True}, 12), (4, {"progressive": True}, 18)),
    ],
)
def test_the_memory_that_decoding_takes(channels: int, options: dict[str, Any], bytes_a_pixel: int) -> None:
    data = saved(pixels_of(20, 30, channels), "JPEG", "CMYK" if channels == 4 else None, **options)
    assert open_jpeg(data).memory == bytes_a_pixel * 20 * 30


@pytest.mark.parametrize("progressive", [False, True])
def test_a_size_that_the_data_can_not_fill_is_refused(progressive: bool) -> None:
    data = bytearray(saved(pixels_of(64, 48), "JPEG", progressive=progressive))
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\x27\x10\x27\x10"  # 10,000 × 10,000
    with pytest.raises(
        ImageError, match=f"10,000 × 10,000 pixels, which {len(data):,} bytes of data can't hold"
    ):
        decode(bytes(data))


def test_a_picture_of_one_color_is_no_less_believed() -> None:
    assert_same_as_tensorflow(saved(np.full((2000, 3000, 1), 90, np.uint8), "JPEG", optimize=True), "jpeg")
    flat = saved(np.full((2000, 3000, 3), 90, np.uint8), "JPEG", optimize=True, progressive=True)
    assert_same_as_tensorflow(flat, "jpeg")
