from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from features.images import ImageError, decode, limits
from features.images.heif import open_heif
from tests.features.pictures import pixels_of, reason, refusal

PIXELS = pixels_of(40, 60)


def heic(pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    height, width = pixels.shape[:2]
    image = pillow_heif.from_bytes("RGB", (width, height), pixels.tobytes())
    file = io.BytesIO()
    image.save(file, format="HEIF", quality=-1, chroma=444, matrix_coefficients=0, **options)
    return file.getvalue()


DATA = heic()


def test_heic_is_read_and_its_name_does_not_matter() -> None:
    decoded = decode(DATA)
    assert decoded.format == "heif"
    np.testing.assert_array_equal(decoded.pixels, PIXELS)


def test_heic_is_upright_whether_exif_orientation_is_asked_for_or_not() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = heic(exif=exif.tobytes())
    upright = decode(data).pixels
    np.testing.assert_array_equal(decode(data, exif_orientation=True).pixels, upright)


def test_the_memory_that_decoding_takes() -> None:
    assert open_heif(DATA).memory == 18 * 40 * 60


def test_a_heic_that_claims_more_than_can_be_believed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MODEST_MEMORY", 18 * 40 * 60 - 1)
    assert decode(DATA).format == "heif", "it has bytes enough"
    monkeypatch.setattr(limits, "_PIXELS_A_BYTE", 0)
    assert refusal(DATA) == (f"too_large: 60 × 40 pixels from {len(DATA):,} bytes: more than can be believed")


def test_damaged_heic_is_refused() -> None:
    data = heic()
    for cut in (12, 30, 200, len(data) // 2):
        assert reason(data[:cut]) in ("truncated", "corrupt", "unsupported"), cut
    assert "heif" not in {reason(data[:40] + bytes(len(data) - 40))}


def test_without_its_reader_heic_is_unsupported_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="unsupported: HEIF: the package pillow-heif is needed to read it"):
        decode(DATA)


def test_many_threads_read_heic_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        for decoded in pool.map(decode, [DATA] * 24):
            np.testing.assert_array_equal(decoded.pixels, PIXELS)
