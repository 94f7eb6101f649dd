"""PNG: TensorFlow's pixels, bit by bit, and its verdict on damaged files."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from features.images import decode
from features.images.png import open_png
from tests.features.pictures import assert_same_as_tensorflow, pixels_of, reason, reference, refusal, saved


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
    return of_chunks((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def of_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with right lengths and checksums."""
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks:
        check = struct.pack(">I", zlib.crc32(name + content))
        data += struct.pack(">I", len(content)) + name + content + check
    return data


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, start = [], 8
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    return chunks


def animated(mode: str, **options: Any) -> bytes:
    """An animation of a red, a green and a blue frame."""
    frames = [Image.new("RGB", (16, 12), color).convert(mode) for color in ("red", "lime", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=100, **options)
    return file.getvalue()


#: Color type, channels and depth of each kind without a palette.
KINDS = [
    *((0, 1, depth) for depth in (1, 2, 4, 8, 16)),
    *((color, channels, depth) for color, channels in ((2, 3), (4, 2), (6, 4)) for depth in (8, 16)),
]
sides = st.integers(1, 40)


@settings(max_examples=150)
@given(st.sampled_from(KINDS), sides, sides, st.booleans(), st.booleans(), st.booleans())
def test_png(
    kind: tuple[int, int, int], height: int, width: int, interlaced: bool, gamma: bool, transparent: bool
) -> None:
    color, channels, depth = kind
    values = np.random.default_rng(depth).integers(0, 2**depth, (height, width, channels))
    chunks = [(b"gAMA", struct.pack(">I", 100_000))] if gamma else []
    if transparent and color in (0, 2):
        chunks.append((b"tRNS", struct.pack(f">{channels}H", *values[0, 0])))
    assert_same_as_tensorflow(png(values, depth, color, *chunks, interlaced=interlaced), "png")


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
    for cut in [8, 20, 32]:
        assert refusal(data[:cut]) == "truncated: the image ends within its header", cut
    for cut in [33, 100, len(data) // 2, len(data) - 12, len(data) - 1]:
        assert refusal(data[:cut]) == "truncated: the PNG ends before its last chunk", cut
    for position, name in [
        (30, b"IHDR"),
        (len(data) // 2, b"IDAT"),
        (len(data) - 14, b"IDAT"),
        (-1, b"IEND"),
    ]:
        damaged = bytearray(data)
        damaged[position] ^= 255
        assert refusal(bytes(damaged)) == f"corrupt: damaged PNG data: a wrong checksum of {name!r}"


def test_what_follows_the_last_chunk_is_no_part_of_the_image() -> None:
    data = saved(pixels_of(20, 30), "PNG")
    assert_same_as_tensorflow(data + b"anything", "png")
    assert_same_as_tensorflow(data + bytes(20), "png")


def test_the_memory_that_decoding_takes() -> None:
    assert open_png(saved(pixels_of(20, 30), "PNG")).memory == 6 * 20 * 30


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_of_an_animation_the_default_image_counts(mode: str) -> None:
    for default_image in (False, True):
        data = animated(mode, default_image=default_image)
        assert b"acTL" in data
        assert_same_as_tensorflow(data, "png")
        if mode == "RGB":
            assert decode(data).pixels[0, 0].tolist() == [255, 0, 0]


def test_a_chunk_length_that_the_file_does_not_hold_is_refused_without_taking_memory_for_it() -> None:
    whole = saved(pixels_of(64, 48), "PNG")
    header_only = bytearray(
        of_chunks((b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)), (b"IDAT", b"abc"))
    )
    header_only[33:37] = b"\xff\xff\xff\xf0"
    longer = bytearray(whole)
    longer[33:37] = b"\xff\xff\xff\xff"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (header_only, longer):
        assert reference(bytes(data)) is None
        assert reason(bytes(data)) == "truncated"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_size_that_the_data_can_not_fill_is_refused() -> None:
    chunks = dict(chunks_of(saved(pixels_of(64, 48), "PNG")))
    for width, height in ((48, 65), (48, 10_000), (10_000, 10_000)):
        chunks[b"IHDR"] = struct.pack(">II", width, height) + chunks[b"IHDR"][8:]
        data = of_chunks(*chunks.items())
        assert reference(data) is None
        # What the compressed bytes could hold if they were all zeros is left to the decoder.
        assert reason(data) == ("corrupt" if height < 10_000 or width == 48 else "truncated")


def test_chunks_that_do_not_matter_may_be_damaged_and_others_may_not() -> None:
    chunks = chunks_of(saved(pixels_of(20, 30), "PNG"))
    text = of_chunks(chunks[0], (b"tEXt", b"a\0b"), *chunks[1:])
    damaged = bytearray(text)
    damaged[33 + 12] ^= 1  # within the text, so that its checksum is wrong
    assert_same_as_tensorflow(bytes(damaged), "png")
    for name in (b"ABCD", b"a\xffcd", b"\0\x01TE"):
        data = of_chunks(chunks[0], (name, b"abc"), *chunks[1:])
        assert reference(data) is None
        assert refusal(data) == f"corrupt: damaged PNG data: a chunk named {name!r}"
    assert_same_as_tensorflow(of_chunks(chunks[0], (b"abCd", b"abc"), *chunks[1:]), "png")
    late = of_chunks((b"tEXt", struct.pack(">II", 30, 20)), *chunks)
    assert refusal(late) == "corrupt: the PNG does not begin with its header"
    longer = of_chunks((b"IHDR", chunks[0][1] + b"\0"), *chunks[1:])
    assert refusal(longer) == "corrupt: the PNG does not begin with its header"


def test_a_side_that_libpng_does_not_read_is_unsupported() -> None:
    for side in (1_000_000, 1_000_001):
        header = (b"IHDR", struct.pack(">IIBBBBB", side, 1, 1, 0, 0, 0, 0))
        data = of_chunks(header, (b"IDAT", zlib.compress(bytes(125_002))), (b"IEND", b""))
        if side == 1_000_000:
            assert decode(data).pixels.shape == (1, side, 3)
        else:
            assert refusal(data) == (
                "unsupported: a PNG of 1,000,001 × 1 pixels: libpng reads 1,000,000 a side"
            )


def test_a_large_picture_of_one_color_is_believed() -> None:
    plain = np.full((1500, 2000, 3), (10, 200, 30), np.uint8)
    np.testing.assert_array_equal(decode(saved(plain, "PNG")).pixels, plain)


def test_damaged_pixels_under_a_right_checksum_are_corrupt() -> None:
    data = saved(pixels_of(20, 30), "PNG")
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start], "big")
    chunk = b"IDAT" + bytes(length)
    data = data[:start] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[start + 4 + length + 4 :]
    assert refusal(data) == "corrupt: damaged PNG data"
