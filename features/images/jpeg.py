"""JPEG: through libjpeg-turbo with the fast DCT and smooth chroma upsampling, as TensorFlow decodes it.

TensorFlow's side is tensorflow/core/lib/jpeg/jpeg_mem.cc.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg

from features.images.errors import ImageError
from features.images.limits import check_held, check_size
from features.images.opened import OpenedImage
from features.images.pillow import load_cmyk, load_rgb, open_with_pillow

SIGNATURE = b"\xff\xd8\xff"

#: At the peak, for a JPEG that Pillow has to look at too.
_BYTES_A_PIXEL = 10

#: Rows of a CMYK image that are turned into RGB at a time.
_ROWS_AT_ONCE = 256

_START_OF_SCAN = 0xDA
#: Frames (SOF markers): all, those in Huffman coding, and those whose coefficients are all in memory at once.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}
_PROGRESSIVE_FRAMES = {0xC2, 0xCA}


class _Frame(NamedTuple):
    """What the header says of the picture: a SOF segment (ITU-T T.81, B.2.2)."""

    marker: int
    precision: int
    height: int
    width: int
    components: int


def open_jpeg(data: bytes) -> OpenedImage:
    """Read the header of a JPEG.

    Raises:
        ImageError: unsupported, truncated, corrupt or too_large.
    """
    frame = _frame(data)
    width, height = frame.width, frame.height
    if frame.precision != 8:
        raise ImageError("unsupported", f"a JPEG of {frame.precision} bits a sample, not 8")
    check_size(width, height)
    if frame.marker in _HUFFMAN_FRAMES:
        blocks = -(-width // 8) * -(-height // 8)
        check_held(width, height, blocks / 8, len(data))  # each block of 8 × 8 has a bit of its own at least
    coefficients = 2 * frame.components if frame.marker in _PROGRESSIVE_FRAMES else 0
    memory = (_BYTES_A_PIXEL + coefficients) * width * height
    return OpenedImage("jpeg", memory, lambda: _load(data, cmyk=frame.components == 4))


def _frame(data: bytes) -> _Frame:
    for marker, start, end in _segments(data):
        if marker in _FRAMES and start + 10 <= end <= len(data):
            height, width = (int.from_bytes(data[start + at : start + at + 2], "big") for at in (5, 7))
            return _Frame(marker, data[start + 4], height, width, data[start + 9])
        if marker == _START_OF_SCAN:
            raise ImageError("corrupt", "the JPEG's data begin before its size was given")
    raise ImageError("truncated", "the image ends within its header")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment of the header; the last is the start of the first scan.

    What lies between segments is passed over, as decoders do.
    """
    start = data.find(b"\xff", 2)
    while 0 <= start < len(data) - 3:
        marker = data[start + 1]
        if marker in (0x00, 0xFF):
            end = start + 1
        else:
            end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
            yield marker, start, end
            if marker == _START_OF_SCAN:
                return
        start = data.find(b"\xff", end)


def _load(data: bytes, *, cmyk: bool) -> np.ndarray:
    data = _with_known_revision(data)
    colors = "CMYK" if cmyk else "RGB"
    try:
        pixels = simplejpeg.decode_jpeg(data, colors, fastdct=True)
    except (ValueError, KeyError) as complaint:  # KeyError: its word for a sampling that it has no name for
        pixels = _load_odd(data, colors, str(complaint))
    return _cmyk_to_rgb(pixels, data) if cmyk else pixels


def _with_known_revision(data: bytes) -> bytes:
    """The same JPEG with a JFIF revision that libjpeg knows: it calls any other damage."""
    if data[2:4] == b"\xff\xe0" and data[6:11] == b"JFIF\0" and data[11:12] not in (b"\x01", b"\x02"):
        return data[:11] + b"\x01\x01" + data[13:]
    return data


def _load_odd(data: bytes, colors: str, complaint: str) -> np.ndarray:
    """A JPEG with which libjpeg has a quarrel: refused where TensorFlow refuses it, else decoded.

    libjpeg tells only its first complaint, and one that is harmless may hide that the data end early;
    Pillow's way of feeding libjpeg, like TensorFlow's, finds that out.
    """
    if "Premature end of JPEG file" in complaint:
        raise ImageError("truncated", complaint)
    image = open_with_pillow(data, "JPEG")
    pillows = load_cmyk(image) if colors == "CMYK" else load_rgb(image)
    try:
        return simplejpeg.decode_jpeg(_without_stray_bytes(data), colors, fastdct=True, strict=False)
    except (ValueError, KeyError):
        # Chroma sampled in a way that TurboJPEG has no name for: see docs/inputs.md.
        return pillows


def _without_stray_bytes(data: bytes) -> bytes:
    """The same JPEG without what may lie between the segments of its header, which no decoder reads."""
    segments = [data[:2]]
    for marker, start, end in _segments(data):
        if marker == _START_OF_SCAN:
            return b"".join([*segments, data[start:]])
        segments.append(data[start:end])
    return data


def _cmyk_to_rgb(cmyk: np.ndarray, jpeg: bytes) -> np.ndarray:
    """TensorFlow's formula, in tensorflow/core/lib/jpeg/jpeg_mem.cc: Adobe stores the inks inverted."""
    inverted = "adobe" in open_with_pillow(jpeg, "JPEG").info
    rgb = np.empty((*cmyk.shape[:2], 3), np.uint8)
    for start in range(0, len(cmyk), _ROWS_AT_ONCE):
        inks = cmyk[start : start + _ROWS_AT_ONCE].astype(np.uint16)
        if not inverted:
            inks = 255 - inks
        rgb[start : start + _ROWS_AT_ONCE] = inks[..., :3] * inks[..., 3:] // 255
    return rgb
