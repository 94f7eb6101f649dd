from __future__ import annotations

import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from features.images import decode, resize
from tests.features.pictures import SIZES, assert_same_as_tensorflow, pixels_of, reason, saved

# Other formats


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


def test_of_16_bits_the_high_byte_is_kept() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (9, 7)).astype(np.uint16)
    for format in ("PNG", "TIFF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(values).save(file, format)
        expected = np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
        np.testing.assert_array_equal(decode(file.getvalue()).pixels, expected)


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "WEBP"])
def test_truncated_files_of_other_formats_are_refused(format: str) -> None:
    data = saved(pixels_of(64, 48), format)
    assert reason(data[: len(data) // 2]) in ("truncated", "corrupt")


@pytest.mark.parametrize(
    "data",
    [b"a text file\n" * 20, b"<html>", b"\0" * 100, b"%PDF-1.4", b"BM", bytes(range(256))]
    + [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert reason(data) == "not_an_image"


def test_empty() -> None:
    assert reason(b"") == "empty"


def test_absurd_sizes_are_refused_before_they_are_decoded() -> None:
    jpeg = bytearray(saved(pixels_of(8, 8), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    image = bytearray(saved(pixels_of(8, 8), "PNG"))
    image[16:24] = struct.pack(">II", 60_000, 60_000)
    bmp = bytearray(saved(pixels_of(8, 8), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    assert [reason(bytes(data)) for data in (jpeg, image, bmp)] == ["too_large"] * 3


def test_many_threads_at_once() -> None:
    images = [saved(pixels_of(60 + n, 90, seed=n), "JPEG" if n % 3 else "PNG") for n in range(24)]
    images += [saved(pixels_of(40, 50, 4), "JPEG", "CMYK"), saved(pixels_of(40, 50), "GIF")]

    def run(data: bytes) -> np.ndarray:
        out = np.empty((299, 299, 3), np.float32)
        resize(decode(data).pixels, out)
        return out

    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(map(run, images * 2), pool.map(run, images * 2), strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_tensorflow_is_needed() -> None:
    code = "import features.images, sys; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
