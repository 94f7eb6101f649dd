"""What a file claims, on both sides of each limit."""

from __future__ import annotations

import io
import resource
import struct

import numpy as np
import pytest
from PIL import Image

from features.images import MAX_PIXELS, ImageError, decode
from features.images.limits import check_held, check_size, check_unbounded
from tests.features.pictures import pixels_of, reason, saved


def test_the_largest_image_has_178_956_970_pixels() -> None:
    assert MAX_PIXELS == 178_956_970
    check_size(MAX_PIXELS, 1)
    with pytest.raises(ImageError, match="too_large: 178,956,971 × 1 pixels; the limit is 178,956,970"):
        check_size(MAX_PIXELS + 1, 1)
    for size in ((0, 5), (5, 0), (-3, 5)):
        with pytest.raises(ImageError, match="corrupt"):
            check_size(*size)


def test_what_the_bytes_can_hold() -> None:
    check_held(10, 10, 300, 300)
    with pytest.raises(ImageError, match="truncated: 10 × 10 pixels, which 299 bytes of data can't hold"):
        check_held(10, 10, 300, 299)


def test_few_bytes_may_ask_for_modest_memory_only() -> None:
    check_unbounded(10_000, 10_000, 2**29, 1)
    check_unbounded(10_000, 10_000, 2**29 + 1, 50_000)
    with pytest.raises(ImageError, match="too_large: 10,000 × 10,000 pixels from 48,000 bytes"):
        check_unbounded(10_000, 10_000, 2**29 + 1, 48_000)


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


@pytest.mark.parametrize(
    ("format", "options"),
    [
        *(
            ("PNG", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ),
        *(
            ("TIFF", {"compression": "packbits"}),
            ("TGA", {"compression": "tga_rle"}),
            ("GIF", {}),
            ("PCX", {}),
        ),
        *(("WEBP", {"lossless": True}), ("JPEG2000", {}), ("BMP", {}), ("AVIF", {})),
    ],
)
def test_a_large_picture_of_one_color_is_believed(format: str, options: dict[str, str]) -> None:
    plain = np.full((1500, 2000, 3), (10, 200, 30), np.uint8)
    decoded = decode(saved(plain, format, **options)).pixels
    assert decoded.shape == plain.shape
    assert np.abs(decoded.astype(int) - plain).max() <= (8 if format == "AVIF" else 0)
