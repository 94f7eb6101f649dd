"""Every other format that Pillow reads."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from features.images import ImageError, decode
from features.images.others import open_other
from tests.features.pictures import SIZES, assert_same_as_tensorflow, pixels_of, reason, saved


def test_bmp() -> None:
    for size in SIZES:
        for data in (saved(pixels_of(*size), "BMP"), saved(pixels_of(*size, 1), "BMP")):
            assert_same_as_tensorflow(data, "bmp")
        assert_same_as_tensorflow(saved(pixels_of(*size, 4), "BMP"), "bmp")


def test_palette_bmp_has_its_colors() -> None:
    # TensorFlow takes the indices for gray levels.
    image = Image.fromarray(pixels_of(20, 30)).quantize(16)
    file = io.BytesIO()
    image.save(file, "BMP")
    np.testing.assert_array_equal(decode(file.getvalue()).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("lossless", [False, True])
def test_webp(lossless: bool) -> None:
    assert_same_as_tensorflow(saved(pixels_of(64, 33), "WEBP", lossless=lossless), "webp")
    several = saved(pixels_of(20, 30), "WEBP", save_all=True, append_images=[Image.new("RGB", (30, 20))])
    assert decode(several).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("format", ["TIFF", "PPM", "TGA", "PCX", "AVIF", "JPEG2000"])
def test_what_only_pillow_reads(format: str) -> None:
    data = saved(pixels_of(40, 30), format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.format == format.lower()


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "WEBP"])
def test_truncated_files_of_other_formats_are_refused(format: str) -> None:
    data = saved(pixels_of(64, 48), format)
    assert reason(data[: len(data) // 2]) in ("truncated", "corrupt")


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "EPS"),
        (b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<4hH6x", 0, 0, 8, 8, 96) + b"\x01\0\t\0" + bytes(40), "WMF"),
        (b"\x01\0\0\0" + struct.pack("<9i", 88, 0, 0, 8, 8, 0, 0, 8, 8) + b" EMF" + bytes(60), "WMF"),
        (b"GRIB\0\0\0\x01" + bytes(50), "GRIB"),
        (b"BUFR" + bytes(50), "BUFR"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"\0\0\x01\xb3\x10\0\x10" + bytes(50), "MPEG"),
    ],
)
def test_drawings_films_and_measurements_are_no_photos(data: bytes, format: str) -> None:
    with pytest.raises(ImageError) as error:
        decode(data)
    assert str(error.value) == f"not_an_image: not a photo ({format})"


@pytest.mark.parametrize(
    ("format", "bytes_a_pixel"),
    [("BMP", 11), ("TIFF", 11), ("PPM", 11), ("TGA", 11), ("WEBP", 20), ("AVIF", 18), ("JPEG2000", 32)],
)
def test_the_memory_that_decoding_takes(format: str, bytes_a_pixel: int) -> None:
    assert open_other(saved(pixels_of(40, 30), format)).memory == bytes_a_pixel * 40 * 30
