"""Decoding an image of whatever format; the formats have tests of their own."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from features.images import DECODING, ImageError, decode, decoding, read_pixels, resize
from features.images.memory import MemoryBudget
from features.images.opened import OpenedImage
from features.images.preparation import prepare
from tests.features.images.test_heif import heic
from tests.features.pictures import pixels_of, reason, saved

#: Small files, 20 × 12 pixels, and what they must become for ever: the first digits of the image's id, and of
#: the sha256 of its pixels. Their decoders compute in integers, the same ones on every processor.
GOLDEN = {
    "jpeg": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1R"
        "V19iZ2hnPk1xeXBkeFxlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2Nj"
        "Y2NjY2NjY2NjY2NjY2P/wAARCAAMABQDASIAAhEBAxEB/8QAGAAAAwEBAAAAAAAAAAAAAAAAAAQGAwX/xAAgEAACAQQCAwEA"
        "AAAAAAAAAAABAgAEBRESAzETFCFB/8QAFgEBAQEAAAAAAAAAAAAAAAAABAMF/8QAHxEAAQQABwAAAAAAAAAAAAAAAwABAgQF"
        "ERUhIlFx/9oADAMBAAIRAxEAPwDoWy/rXPqRiYVdePe8Q6P7Jy0sV5jg4jrEmsBPcQMTFNKA+LZKN2rGEPFTJxqVB2hEUdtR"
        "9hDPgg+1jagRtl//2Q==",
        "d34fc75ed969a0f0",
        "2e1131163d80d95e",
    ),
    "cmyk": (
        "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdf"
        "YmdoZz5NcXlwZHhcZWdj/8AAFAgADAAUBEMRAE0RAFkRAEsRAP/EABkAAAMBAQEAAAAAAAAAAAAAAAAFBgMHAf/EACgQAAIC"
        "AQIFAgcAAAAAAAAAAAECAAMFBBEGEhMhMUFxFCIyNFFSYf/aAA4EQwBNAFkASwAAPwDXDZVsk5R0Ke8aYritNfZyEbR5eKVX"
        "fqr2/s6BJ3Ln4fOg+Rv5m9mUR9WKd/MX6/NW3aZtDXSzBhtzAQj2rL1CtRzDxGiaVWUHmHeTJ4Uvclu43O8JpokWtiUAHtOT"
        "8Puw1J2M8v1N24+c+YScz/3Jb1jyp2OTXv6y+4aoqfHK7oGb8kQiQ3Wb/UZY0u3SXv6Rz0q/0EJ//9k=",
        "d6c40f2e4ea6c3b7",
        "b22af6b102f111da",
    ),
    "webp": (
        "UklGRoIAAABXRUJQVlA4IHYAAADQBACdASoUAAwAPtFWpEuoJKOhsAgBABoJbACdMoRwN4BTAAH1Oi+rsnwAVQT5AAD+4AXI"
        "BIPOozemHrxcWarpr6xyC9msrYp6TtuY0YgbAwp0pPMTQFwguo8eBXGKp2U/Ue3f8/Y2l72gK28ueHrdWtp2AAAA",
        "20dc1c79d190ece1",
        "6e017f19b08a88a5",
    ),
    "gif": (
        "R0lGODdhFAAMAIIAAKjsn6TJaUffuyrEs4+Khx6Ook5Vql8UeCwAAAAAFAAMAAAIbAABCBw4UIDBAQMEBFi4kKBDgwIQDmDY"
        "0GHBiBIpBoBo8WBGigZCGiDgcECBkwU0igxJUiABAigLTGy4ciTJAC9jJoR4oCfLl0B17hTQsyjQlyJPSjRYtOdRAitlShzQ"
        "9MDTqFOpVj0aVSrCgAA7",
        "3f9796580331afb8",
        "2f0178e4e26074c4",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_pixels_of_images_that_are_stored_never_change(name: str) -> None:
    text, image_id, pixels_sha256 = GOLDEN[name]
    data = base64.b64decode(text)
    decoded = decode(data)
    assert DECODING == 1, "goes up when any of these changes"
    assert prepare(data, np.empty((8, 8, 3), np.float32)).image_id[:16] == image_id
    assert (decoded.pixels.shape, decoded.pixels.dtype) == ((12, 20, 3), np.uint8)
    assert hashlib.sha256(decoded.pixels.tobytes()).hexdigest()[:16] == pixels_sha256


#: What each format keeps without loss, in Pillow's modes.
LOSSLESS = {
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("1", "L", "P"),
    "PCX": ("1", "L", "P", "RGB"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB"),
    "TGA": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA"),
}
sides = st.integers(1, 40)


@settings(max_examples=150)
@given(st.sampled_from([(f, mode) for f in LOSSLESS for mode in LOSSLESS[f]]), sides, sides)
def test_an_image_that_is_saved_without_loss_has_its_pixels(
    kind: tuple[str, str], height: int, width: int
) -> None:
    format, mode = kind
    pixels = pixels_of(height, width, 4)
    image = Image.fromarray(pixels[..., :3]).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(pixels[..., 3]))
    file = io.BytesIO()
    image.save(file, format)
    expected = np.asarray((image.convert(mode[:-1]) if mode.endswith("A") else image).convert("RGB"))
    decoded = decode(file.getvalue())
    assert decoded.format == format.lower()
    np.testing.assert_array_equal(decoded.pixels, expected)


def test_pixels_are_read_into_their_place_and_the_size_is_told() -> None:
    out = np.empty((9, 8, 3), np.float32)
    expected = np.empty((9, 8, 3), np.float32)
    resize(pixels_of(40, 30), expected)
    assert read_pixels(saved(pixels_of(40, 30), "PNG"), out) == (30, 40, "png")
    np.testing.assert_array_equal(out, expected)


def test_photos_are_turned_where_that_is_asked_for_and_heic_as_it_says_itself() -> None:
    pixels, exif = pixels_of(40, 60), Image.Exif()
    exif[0x0112] = 6
    turned = np.rot90(pixels, -1)
    out = np.empty((8, 8, 3), np.float32)
    for data, format, expected in (
        (saved(pixels, "PNG", exif=exif), "png", turned),
        (heic(pixels), "heif", pixels),
    ):
        assert read_pixels(data, out) == (60, 40, format)
        np.testing.assert_array_equal(decode(data).pixels, pixels)
        asked = decode(data, exif_orientation=True).pixels
        np.testing.assert_array_equal(asked, expected)
        assert asked.flags.c_contiguous
        assert read_pixels(data, out, exif_orientation=True)[:2] == expected.shape[1::-1]


def opener(monkeypatch: pytest.MonkeyPatch, open_image: Callable[[bytes], OpenedImage]) -> None:
    """Open each file this way."""
    monkeypatch.setattr(decoding, "_OPENERS", ((b"", open_image),))


def opened_by(load: Callable[[], np.ndarray]) -> Callable[[bytes], OpenedImage]:
    return lambda data: OpenedImage("new", 1000, load)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*data: bytes) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("loading", [False, True])
def test_a_lack_of_memory_is_no_fault_of_the_image_and_any_other_error_is(
    loading: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, raised, message in (
        (MemoryError("none"), MemoryError, "none"),
        (ImageError("truncated", "half"), ImageError, "truncated: half"),
        (KeyError("x"), ImageError, "corrupt: unexpected KeyError of the decoder: 'x'"),
    ):
        opener(monkeypatch, opened_by(failing(error)) if loading else failing(error))
        with pytest.raises(raised) as caught:
            decode(b"data")
        assert str(caught.value) == message


def test_memory_for_the_image_and_the_file_is_held_until_the_pixels_are_resized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = MemoryBudget(2**20)
    held = []

    def load() -> np.ndarray:
        held.append(budget._taken)
        return pixels_of(3, 4)

    def resize_here(pixels: np.ndarray, out: np.ndarray) -> None:
        held.append(budget._taken)

    monkeypatch.setattr(decoding, "DECODING_BUDGET", budget)
    monkeypatch.setattr(decoding, "resize", resize_here)
    opener(monkeypatch, opened_by(load))
    read_pixels(b"12345", np.empty((1, 1, 3), np.float32))
    assert (held, budget._taken) == ([1005, 1005], 0)


@pytest.mark.parametrize(
    "data",
    [b"a text file\n" * 20, b"<html>", b"\0" * 100, b"%PDF-1.4", b"BM", bytes(range(256)), b"II", b"\xff"],
)
def test_what_is_no_image_is_refused_and_its_first_bytes_are_told(data: bytes) -> None:
    with pytest.raises(ImageError) as error:
        decode(data)
    assert str(error.value) == f"not_an_image: unknown format; it begins with {data[:8]!r}"


def test_empty() -> None:
    with pytest.raises(ImageError, match="^empty: 0 bytes$"):
        decode(b"")


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
