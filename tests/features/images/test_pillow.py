"""TIFFs and others whose samples are not 8 bits: scaled by a rule, or refused; never black in silence."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from features.images import ImageError, decode
from features.images.pillow import readers_errors
from tests.features.pictures import pixels_of, saved


def tiff(
    samples: np.ndarray, bits: int, *, sample_format: int = 1, photometric: int = 1, order: str = "<"
) -> bytes:
    """An uncompressed TIFF; samples of shape (height, width, bands), or bytes of packed rows."""
    height, width, bands = samples.shape
    rows = samples.astype(samples.dtype.newbyteorder(">" if order == ">" else "<")).tobytes()
    if bits == 12:
        pairs = samples.reshape(-1, 2).astype(np.uint32)
        packed = np.stack(
            [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1
        )
        rows = packed.astype(np.uint8).tobytes()
    entries = 10
    shorts_at = 8 + 2 + 12 * entries + 4
    data_at = shorts_at + 4 * bands

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        if kind == 3 and count == 1:
            return struct.pack(f"{order}HHIHH", tag, kind, count, value, 0)
        return struct.pack(f"{order}HHII", tag, kind, count, value)

    def per_band(tag: int, value: int, at: int) -> bytes:
        if bands == 1:
            return entry(tag, 3, 1, value)
        if bands == 2:
            return struct.pack(f"{order}HHIHH", tag, 3, 2, value, value)
        return entry(tag, 3, bands, at)

    tags = [
        *(entry(256, 3, 1, width), entry(257, 3, 1, height), per_band(258, bits, shorts_at)),
        *(entry(259, 3, 1, 1), entry(262, 3, 1, photometric), entry(273, 4, 1, data_at)),
        *(entry(277, 3, 1, bands), entry(278, 3, 1, height), entry(279, 4, 1, len(rows))),
        per_band(339, sample_format, shorts_at + 2 * bands),
    ]
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    shorts = struct.pack(f"{order}{2 * bands}H", *[bits] * bands, *[sample_format] * bands)
    return start + struct.pack(f"{order}H", entries) + b"".join(tags) + bytes(4) + shorts + rows


VALUES = np.random.default_rng(0).integers(0, 2**16, (9, 14, 1)).astype(np.uint16)


def gray(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels.reshape(9, 14, 1).astype(np.uint8), 3, axis=2)


def test_of_16_bits_the_high_byte_is_kept() -> None:
    files = [tiff(VALUES, 16, order=order) for order in "<>"]
    files += [saved(VALUES, format) for format in ("PNG", "TIFF", "PPM")]
    for data in files:
        np.testing.assert_array_equal(decode(data).pixels, gray(VALUES >> 8))


def test_of_12_bits_the_high_byte_is_kept() -> None:
    np.testing.assert_array_equal(decode(tiff(VALUES >> 4, 12)).pixels, gray(VALUES >> 8))


def test_where_zero_is_white_16_bits_are_inverted_like_8() -> None:
    np.testing.assert_array_equal(decode(tiff(VALUES, 16, photometric=0)).pixels, gray(255 - (VALUES >> 8)))
    eight = (VALUES >> 8).astype(np.uint8)
    np.testing.assert_array_equal(decode(tiff(eight, 8, photometric=0)).pixels, gray(255 - eight))


@pytest.mark.parametrize(
    ("samples", "bits", "sample_format", "detail"),
    [
        (VALUES.astype(np.float32) / 65535, 32, 3, "floats"),
        (VALUES.astype(np.float32), 32, 3, "floats"),
        (VALUES.astype(np.int32), 32, 2, "32-bit integers"),
        (VALUES.astype(np.uint32), 32, 1, "32-bit integers"),
        ((VALUES >> 1).astype(np.int16) - 9000, 16, 2, "signed integers"),
        (np.repeat(VALUES.astype(np.float32), 3, axis=2), 32, 3, "3 bands of 32 bits, float"),
        (np.repeat(VALUES, 13, axis=2), 16, 1, "13 bands of 16 bits, unsigned"),
        (np.repeat(VALUES, 13, axis=2), 16, 4, "13 bands of 16 bits, unknown"),
        (VALUES.astype(np.float64), 64, 3, "1 bands of 64 bits, float"),
    ],
)
def test_samples_of_unknown_range_are_unsupported(
    samples: np.ndarray, bits: int, sample_format: int, detail: str
) -> None:
    with pytest.raises(ImageError, match=detail) as caught:
        decode(tiff(samples, bits, sample_format=sample_format, photometric=1 + (samples.shape[2] == 3)))
    assert caught.value.reason == "unsupported"


def test_a_map_of_floats_is_unsupported() -> None:
    file = io.BytesIO()
    Image.fromarray(VALUES[..., 0].astype(np.float32)).save(file, "PPM")
    with pytest.raises(ImageError, match="unsupported: samples are floats"):
        decode(file.getvalue())


@pytest.mark.parametrize(("position", "layout", "value"), [(28, "<H", 7), (30, "<I", 4), (14, "<I", 66)])
def test_an_odd_bmp_is_unsupported(position: int, layout: str, value: int) -> None:
    data = bytearray(saved(pixels_of(9, 14), "BMP"))
    struct.pack_into(layout, data, position, value)
    with pytest.raises(ImageError, match="unsupported: Unsupported BMP"):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("format", "mode"),
    [("PNG", "RGBA"), ("TIFF", "RGB"), ("TIFF", "RGBA"), ("TIFF", "CMYK"), ("TGA", "P"), ("BMP", "1")],
)
def test_a_large_image_in_bands_has_the_pixels_of_one_piece(
    format: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(pixels_of(101, 97)).convert(mode)
    file = io.BytesIO()
    image.save(file, format)
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    monkeypatch.setattr("features.images.pillow._BAND_PIXELS", 1000)
    np.testing.assert_array_equal(decode(file.getvalue()).pixels, expected)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (MemoryError("none left"), MemoryError, "none left"),
        (ImageError("empty", "0 bytes"), ImageError, "empty: 0 bytes"),
        (Image.DecompressionBombError("too many"), ImageError, "too_large: too many"),
        (NotImplementedError("later"), ImageError, "unsupported: later"),
        (OSError("Unsupported  BMP\nkind (9)"), ImageError, "unsupported: Unsupported BMP kind (9)"),
        (OSError("cannot find loader"), ImageError, "unsupported: cannot find loader"),
        (ValueError("conversion from I;16 to RGB"), ImageError, "unsupported: conversion from I;16 to RGB"),
        (OSError("image file is truncated"), ImageError, "truncated: image file is truncated"),
        (EOFError("Unexpected end of image"), ImageError, "truncated: Unexpected end of image"),
        (ValueError("not enough data"), ImageError, "truncated: not enough data"),
        (SyntaxError("broken PNG file"), ImageError, "corrupt: broken PNG file"),
        (struct.error(), ImageError, "corrupt: error"),
    ],
)  # fmt: skip
def test_what_an_error_of_a_reader_means(error: Exception, raised: type[Exception], message: str) -> None:
    with pytest.raises(raised) as caught, readers_errors():
        raise error
    assert str(caught.value) == message
