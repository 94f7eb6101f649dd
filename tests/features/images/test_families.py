from __future__ import annotations

import pytest

from features.images import ImageError, decode
from features.images.families import Family, family_of
from tests.features.pictures import pixels_of, saved

AVIF, BMP, HEIF = Family("AVIF", "AVIF"), Family("BMP", "BMP"), Family("HEIF", "HEIF")


@pytest.mark.parametrize(
    ("format", "name"),
    [
        *(("JPEG", "JPEG"), ("PNG", "PNG"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF")),
        *(("WEBP", "WebP"), ("AVIF", "AVIF"), ("JPEG2000", "JPEG 2000")),
        *(("SGI", "SGI"), ("DDS", "DDS"), ("ICNS", "ICNS")),
    ],
)
def test_formats_are_told_by_their_first_bytes(format: str, name: str) -> None:
    assert family_of(saved(pixels_of(64, 64), format)) == Family(name, format)


@pytest.mark.parametrize(
    ("size", "family"),
    [*((size, BMP) for size in (12, 16, 40, 52, 56, 64, 108, 124)), (13, None), (40 << 16, None)],
)
def test_a_bmp_has_a_header_of_a_size_that_there_is(size: int, family: Family | None) -> None:
    assert family_of(b"BM" + bytes(12) + size.to_bytes(4, "little") + bytes(30)) == family


def media(*brands: bytes, size: int | None = None) -> bytes:
    """The begin of an ISO base media file: its first brand, and those that it is compatible with."""
    box = b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])
    return (4 + len(box) if size is None else size).to_bytes(4, "big") + box


@pytest.mark.parametrize(
    ("data", "family"),
    [
        (media(b"heic"), HEIF),
        (media(b"XXXX", b"mif1"), HEIF),
        (media(b"XXXX", b"YYYY", b"heix"), HEIF),
        (media(b"avif"), AVIF),
        (media(b"mif1", b"miaf", b"avif"), AVIF),  # both are HEIF's, too
        (media(b"XXXX", b"YYYY", b"avis"), AVIF),
        (media(b"crx ", b"isom"), Family("Canon raw", None)),
        (media(b"isom", b"crx "), None),
        (media(b"mp42", b"isom"), None),
        (media(b"XXXX", b"YYYY", size=20) + b"heic", None),  # what follows the brands is none
        (media(b"XXXX", *[b"YYYY"] * 59, b"heic", size=2**32 - 1), HEIF),
        (media(b"XXXX", *[b"YYYY"] * 60, b"heic", size=2**32 - 1), None),  # no list is so long
    ],
)
def test_photos_are_told_from_films_by_their_brands(data: bytes, family: Family | None) -> None:
    assert family_of(data) == family


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"BM", b"BMW is a make of cars, not an image", b"%PDF-1.4"),
        *(b"RIFF\x24\0\0\0WAVEfmt ", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ],
)
def test_other_files_are_of_none(data: bytes) -> None:
    assert family_of(data) is None


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xff\x0a" + bytes(30), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "JPEG XL"),
        (b"v/1\x01" + bytes(30), "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (bytes(128) + b"DICM" + bytes(30), "DICOM"),
        (b"gimp xcf v011", "GIMP"),
        (media(b"crx ", b"isom"), "Canon raw"),
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm raw"),
    ],
)
def test_an_image_that_nothing_here_reads_is_unsupported(data: bytes, name: str) -> None:
    with pytest.raises(ImageError) as error:
        decode(data)
    assert str(error.value) == f"unsupported: {name}: there is no reader for it here"
