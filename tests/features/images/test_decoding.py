from __future__ import annotations

import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from features.images import decode, resize
from tests.features.pictures import pixels_of, reason, saved


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
