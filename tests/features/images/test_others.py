"""Every other format that Pillow reads."""

from __future__ import annotations

import io
import resource
import struct

import numpy as np
import pytest
from PIL import Image

from features.images import ImageError, decode
from features.images.others import open_other
from tests.features.pictures import assert_same_as_tensorflow, pixels_of, reason, refusal, saved


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
    ids=["EPS", "WMF", "EMF", "GRIB", "BUFR", "HDF5", "MPEG"],
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


def claiming(data: bytes, position: int, layout: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, position, *values)
    return bytes(changed)


def test_claims_of_every_format_are_refused_without_taking_memory_for_them() -> None:
    pixels = pixels_of(48, 64)
    bmp, tga, ppm = (saved(pixels, format) for format in ("BMP", "TGA", "PPM"))
    tiff = io.BytesIO()
    Image.fromarray(pixels).save(tiff, "TIFF", tiffinfo={270: "x"})
    tags = tiff.getvalue().index(struct.pack("<HHI", 256, 4, 1))
    large = claiming(tiff.getvalue(), tags + 8, "<I", 12_000)
    large = claiming(large, tags + 12 + 8, "<I", 12_000)
    webp = saved(pixels, "WEBP", lossless=True)
    header = webp.index(b"VP8L") + 9
    jp2 = saved(pixels, "JPEG2000", no_jp2=True)
    size = jp2.index(b"\xff\x51") + 6
    claims = [
        claiming(bmp, 18, "<ii", 12_000, 12_000),
        claiming(tga, 12, "<HH", 12_000, 12_000),
        ppm.replace(b"64 48", b"12000 12000"),
        large,
        claiming(webp, header, "<I", 9_999 | 9_999 << 14),
        claiming(jp2, size, ">IIIIII", 12_000, 12_000, 0, 0, 12_000, 12_000),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [reason(data) for data in claims] == ["truncated"] * 4 + ["too_large"] * 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_how_much_a_byte_can_hold_depends_on_the_compression(compression: str | None) -> None:
    data = saved(pixels_of(48, 64), "TIFF", compression=compression)
    (width,) = (data.index(tag) for kind in (3, 4) if (tag := struct.pack("<HHI", 256, kind, 1)) in data)
    data = claiming(claiming(data, width + 8, "<I", 8000), width + 12 + 8, "<I", 8000)
    held = f"8,000 × 8,000 pixels, which {len(data):,} bytes of data can't hold"
    assert refusal(data) == f"truncated: {held}"


def test_how_much_a_byte_can_hold_depends_on_the_bits_of_a_pixel() -> None:
    data = b"P6 100 100 255 " + bytes(2000)
    assert refusal(data) == "truncated: 100 × 100 pixels, which 2,015 bytes of data can't hold"


@pytest.mark.parametrize(
    ("format", "compression"),
    [("TIFF", name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")]
    + [("TGA", "tga_rle"), ("PCX", None), ("WEBP", None), ("JPEG2000", None), ("BMP", None), ("AVIF", None)],
)
def test_a_large_picture_of_one_color_is_believed(format: str, compression: str | None) -> None:
    plain = np.full((1500, 2000, 3), (10, 200, 30), np.uint8)
    data = saved(plain, format, compression=compression, lossless=True)
    decoded = decode(data).pixels
    assert decoded.shape == plain.shape
    assert np.abs(decoded.astype(int) - plain).max() <= (8 if format == "AVIF" else 0)
