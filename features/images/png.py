"""PNG, through OpenCV's libpng: TensorFlow's pixels, and its verdict on damaged files.

Only the chunks that the still image is made of reach the decoder, each with a right checksum and of a
length that the file holds. OpenCV believes what a chunk says of its length, and its reading of animations
can end the process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from features.images.errors import ImageError
from features.images.limits import check_held, check_size
from features.images.opened import OpenedImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_HEADER_END = 33
#: PNG_USER_WIDTH_MAX and PNG_USER_HEIGHT_MAX, as libpng is built.
_LONGEST_SIDE = 1_000_000
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: Bytes that one byte of a deflate stream can stand for: https://zlib.net/zlib_tech.html
_DEFLATE_RATIO = 1032


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int  # after its checksum


def open_png(data: bytes) -> OpenedImage:
    """Read the header of a PNG and walk through its chunks.

    Raises:
        ImageError: truncated, corrupt or too_large.
    """
    if len(data) < _HEADER_END:
        raise ImageError("truncated", "the image ends within its header")
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    check_size(width, height)
    if max(width, height) > _LONGEST_SIDE:
        raise ImageError(
            "unsupported", f"a PNG of {width:,} × {height:,} pixels: libpng reads {_LONGEST_SIDE:,} a side"
        )
    chunks = list(_chunks(data))
    if chunks[0].kind != b"IHDR" or chunks[0].end != _HEADER_END:
        raise ImageError("corrupt", "the PNG does not begin with its header")
    needed = [chunk for chunk in chunks if chunk.kind in _NEEDED]
    row_bits = width * data[24] * _CHANNELS.get(data[25], 1)
    held = sum(chunk.end - chunk.start - 12 for chunk in needed if chunk.kind == b"IDAT")
    check_held(width, height, height * row_bits / 8 / _DEFLATE_RATIO, held)
    if len(needed) < len(chunks):
        data = b"".join([SIGNATURE, *(data[chunk.start : chunk.end] for chunk in needed)])
    return OpenedImage("png", 6 * width * height, lambda: _load(data))


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """All chunks to the last one, `IEND`; what follows that is no part of the image.

    Like libpng: names are letters; a chunk whose name begins with a capital matters, and must be known and
    have a right checksum.
    """
    view, start = memoryview(data), len(SIGNATURE)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end > len(data):
            break
        kind = data[start + 4 : start + 8]
        if not kind.isalpha() or (kind[:1].isupper() and kind not in _NEEDED):
            raise ImageError("corrupt", f"damaged PNG data: a chunk named {kind!r}")
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if kind in _NEEDED and zlib.crc32(view[start + 4 : end - 4]) != checksum:
            raise ImageError("corrupt", f"damaged PNG data: a wrong checksum of {kind!r}")
        yield _Chunk(kind, start, end)
        if kind == b"IEND":
            return
        start = end
    raise ImageError("truncated", "the PNG ends before its last chunk")


def _load(data: bytes) -> np.ndarray:
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("corrupt", str(error).strip()) from error
    if pixels is None:  # OpenCV does not tell why
        raise ImageError("corrupt", "damaged PNG data")
    return pixels
