"""JPEG and PNG: TensorFlow's pixels, bit by bit, and its verdict on damaged files."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
import simplejpeg

from features.images import decode
from tests.features.pictures import SIZES, assert_same_as_tensorflow, pixels_of, reason, reference, saved


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


def test_jpeg_whose_chroma_is_sampled_in_an_unknown_way_is_kept() -> None:
    data = bytearray(saved(np.full((40, 40, 3), 90, np.uint8), "JPEG", subsampling="4:4:4"))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = data[frame + 14] = 0x12
    assert decode(bytes(data)).pixels.shape == (40, 40, 3)


def png(
    values: np.ndarray, depth: int, color: int, *chunks: tuple[bytes, bytes], interlaced: bool = False
) -> bytes:
    """A PNG with `values` (height, width, channels) of `depth` bits; Pillow writes only some kinds."""
    height, width, _ = values.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: each pass's first row, first column, and steps
        passes = [
            *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
            *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
        ]
    rows = b""
    for top, left, down, right in passes:
        for row in values[top::down, left::right]:
            if row.size:
                bits = np.unpackbits(row.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - depth :]
                rows += b"\0" + np.packbits(bits.ravel()).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]:
        check = struct.pack(">I", zlib.crc32(name + content))
        data += struct.pack(">I", len(content)) + name + content + check
    return data


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("color", "channels", "depth"),
    [(0, 1, 1), (0, 1, 2), (0, 1, 4), (0, 1, 8), (0, 1, 16), (2, 3, 8), (2, 3, 16), (4, 2, 8), (4, 2, 16)]
    + [(6, 4, 8), (6, 4, 16)],
)
def test_png(color: int, channels: int, depth: int, interlaced: bool) -> None:
    for height, width in SIZES:
        values = np.random.default_rng(depth).integers(0, 2**depth, (height, width, channels))
        assert_same_as_tensorflow(png(values, depth, color, interlaced=interlaced), "png")
    gamma = (b"gAMA", struct.pack(">I", 100_000))
    assert_same_as_tensorflow(png(values, depth, color, gamma), "png")
    if color in (0, 2):
        transparent = (b"tRNS", struct.pack(f">{channels}H", *values[0, 0]))
        assert_same_as_tensorflow(png(values, depth, color, transparent), "png")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_png(depth: int) -> None:
    random = np.random.default_rng(depth)
    values = random.integers(0, 2**depth, (17, 33, 1))
    palette = (b"PLTE", random.integers(0, 256, 3 * 2**depth, np.uint8).tobytes())
    transparency = (b"tRNS", random.integers(0, 256, 2 ** (depth - 1), np.uint8).tobytes())
    assert_same_as_tensorflow(png(values, depth, 3, palette), "png")
    assert_same_as_tensorflow(png(values, depth, 3, palette, transparency), "png")


def test_alpha_is_dropped_not_blended() -> None:
    pixels = pixels_of(20, 30, 4)
    np.testing.assert_array_equal(decode(saved(pixels, "PNG")).pixels, pixels[..., :3])
    np.testing.assert_array_equal(decode(saved(pixels, "TIFF")).pixels, pixels[..., :3])


def test_damaged_png_is_refused() -> None:
    data = saved(pixels_of(64, 48), "PNG")
    for cut in [8, 20, 30, 100, len(data) // 2, len(data) - 12, len(data) - 1]:
        assert reason(data[:cut]) == "truncated", cut
    for position in [30, len(data) // 2, len(data) - 14]:
        damaged = bytearray(data)
        damaged[position] ^= 255
        assert reason(bytes(damaged)) == "corrupt", position
