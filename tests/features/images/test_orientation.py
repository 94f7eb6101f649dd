from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from features.images import decode
from features.images.orientation import orientation_of
from tests.features.pictures import pixels_of, saved


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(format: str, orientation: int) -> None:
    pixels = pixels_of(20, 30)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    plain = decode(saved(pixels, format, **lossless)).pixels
    data = saved(pixels, format, exif=exif, **lossless)
    np.testing.assert_array_equal(decode(data).pixels, plain)
    image = Image.fromarray(plain)
    image.getexif()[0x0112] = orientation
    turned = decode(data, exif_orientation=True).pixels
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_there_is_not_is_upright(orientation: int) -> None:
    pixels = pixels_of(20, 30)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("PNG", "TIFF"):
        data = saved(pixels, format, exif=exif)
        np.testing.assert_array_equal(decode(data, exif_orientation=True).pixels, pixels)
    image = Image.new("RGB", (3, 2))
    image.getexif()[0x0112] = str(orientation)
    assert orientation_of(image) == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_do_not_lose_the_photo() -> None:
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff"
    png = saved(pixels_of(20, 30), "PNG")
    text = struct.pack(">I", 3) + b"tEXta\0b" + b"\0\0\0\0"  # with a wrong checksum: Pillow refuses the file
    for data in (saved(pixels_of(20, 30), "JPEG", exif=exif), png[:33] + text + png[33:]):
        np.testing.assert_array_equal(decode(data, exif_orientation=True).pixels, decode(data).pixels)


def test_exif_data_that_can_not_be_read_say_nothing() -> None:
    class Damaged(Image.Image):
        def getexif(self) -> Image.Exif:
            raise ValueError("no EXIF data")

    assert orientation_of(Damaged()) == 1
