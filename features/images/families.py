"""Image formats by their first bytes, so that an image that can't be read is told apart from what is none."""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """An image format.

    Attributes:
        name: for people.
        pillow: name of Pillow's reader; None where Pillow has none.
    """

    name: str
    pillow: str | None


#: Position, bytes, family: https://en.wikipedia.org/wiki/List_of_file_signatures
_SIGNATURES: tuple[tuple[int, bytes, Family], ...] = (
    (0, b"\xff\xd8\xff", Family("JPEG", "JPEG")),
    (0, b"\x89PNG\r\n\x1a\n", Family("PNG", "PNG")),
    (0, b"GIF8", Family("GIF", "GIF")),
    (8, b"WEBP", Family("WebP", "WEBP")),
    (0, b"II*\0", Family("TIFF", "TIFF")),
    (0, b"MM\0*", Family("TIFF", "TIFF")),
    (0, b"II+\0", Family("BigTIFF", "TIFF")),
    (0, b"MM\0+", Family("BigTIFF", "TIFF")),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", Family("JPEG 2000", "JPEG2000")),
    (0, b"\xff\x4f\xff\x51", Family("JPEG 2000", "JPEG2000")),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", Family("JPEG XL", None)),
    (0, b"\xff\x0a", Family("JPEG XL", None)),
    (0, b"II\xbc", Family("JPEG XR", None)),
    (0, b"8BPS", Family("Photoshop", "PSD")),
    (0, b"qoif", Family("QOI", "QOI")),
    (0, b"DDS ", Family("DDS", "DDS")),
    (0, b"\x01\xda", Family("SGI", "SGI")),
    (0, b"icns", Family("ICNS", "ICNS")),
    (0, b"v/1\x01", Family("OpenEXR", None)),
    (0, b"#?RADIANCE", Family("Radiance HDR", None)),
    (0, b"FUJIFILMCCD-RAW", Family("Fujifilm raw", None)),
    (0, b"gimp xcf", Family("GIMP", None)),
    (0, b"SIMPLE  =", Family("FITS", "FITS")),
    (128, b"DICM", Family("DICOM", None)),
    (0, b"AT&TFORM", Family("DjVu", None)),
    (0, b"BPG\xfb", Family("BPG", None)),
    (0, b"FLIF", Family("FLIF", None)),
)

#: Sizes of the header after the file's own, by which a BMP is told from a text that begins with "BM".
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)

#: Brands of ISO base media files (ISO/IEC 14496-12) that hold images.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf")
_AVIF_BRANDS = (b"avif", b"avis")


def family_of(data: bytes) -> Family | None:
    """The format that the first bytes are of; None where they are of none that is known."""
    for position, signature, family in _SIGNATURES:
        if data.startswith(signature, position):
            return family
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return Family("BMP", "BMP")
    if data[4:8] == b"ftyp":
        return _media_family(data)
    return None


def _media_family(data: bytes) -> Family | None:
    """HEIF and AVIF share a container with films: the brands tell."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[start : start + 4] for start in range(16, end, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return Family("AVIF", "AVIF")
    if any(brand in _HEIF_BRANDS for brand in brands):
        return Family("HEIF", "HEIF")
    return Family("Canon raw", None) if brands[0] == b"crx " else None
