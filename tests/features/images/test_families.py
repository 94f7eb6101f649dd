from __future__ import annotations

import pytest

from features.images.families import family_of
from tests.features.pictures import pixels_of, reason, saved


@pytest.mark.parametrize(
    ("format", "name"),
    [
        *(
            ("JPEG", "JPEG"),
            ("PNG", "PNG"),
            ("GIF", "GIF"),
            ("BMP", "BMP"),
            ("TIFF", "TIFF"),
            ("WEBP", "WebP"),
        ),
        *(("AVIF", "AVIF"), ("JPEG2000", "JPEG 2000"), ("SGI", "SGI"), ("DDS", "DDS"), ("ICNS", "ICNS")),
    ],
)
def test_formats_are_told_by_their_first_bytes(format: str, name: str) -> None:
    family = family_of(saved(pixels_of(64, 64), format))
    assert family is not None and family.name == name and family.pillow == format


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"BM",
            b"BMW is a make of cars, not an image",
            b"%PDF-1.4",
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        ),
        *(b"RIFF\x24\0\0\0WAVEfmt ", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ],
)
def test_other_files_are_of_none(data: bytes) -> None:
    assert family_of(data) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"\xff\x0a" + bytes(30), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30)),  # JPEG XL
        *(b"v/1\x01" + bytes(30), b"#?RADIANCE\n", bytes(128) + b"DICM" + bytes(30), b"gimp xcf v011"),
        *(b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", b"FUJIFILMCCD-RAW 0201"),
    ],
)
def test_an_image_that_nothing_here_reads_is_unsupported(data: bytes) -> None:
    assert reason(data) == "unsupported"
