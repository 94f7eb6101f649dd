"""GIF, through Pillow: the first frame as TensorFlow reads it (tensorflow/core/lib/gif/gif_io.cc).

The canvas is as large as the largest frame of the file, whatever its header says; the first frame lies on
it in its place, and around it, and where it is transparent, the canvas is black.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from features.images.errors import ImageError
from features.images.limits import check_held, check_size
from features.images.opened import OpenedImage
from features.images.pillow import load_rgb, open_with_pillow

SIGNATURE = b"GIF8"

#: Pixels that a byte of LZW data can stand for: a code of 12 bits names at most 4,096 of them.
_LZW_RATIO = 4096 * 8 / 12


class _Frame(NamedTuple):
    left: int
    top: int
    width: int
    height: int
    held: int  # bytes of its data


def open_gif(data: bytes) -> OpenedImage:
    """Walk through the blocks of a GIF.

    Raises:
        ImageError: truncated, corrupt or too_large.
    """
    frames = list(_frames(data))
    if not frames:
        raise ImageError("truncated", "the GIF ends before its first frame")
    first = frames[0]
    check_size(first.width, first.height)
    check_held(first.width, first.height, first.width * first.height / _LZW_RATIO, first.held)
    width, height = max(frame.width for frame in frames), max(frame.height for frame in frames)
    check_size(width, height)
    # Pillow makes a canvas as large as the header says, which nobody else believes: it gets what is needed.
    right, bottom = first.left + first.width, first.top + first.height
    check_size(right, bottom)
    canvas_size = b"".join(min(side, 0xFFFF).to_bytes(2, "little") for side in (right, bottom))
    data = data[:6] + canvas_size + data[10:]

    def load() -> np.ndarray:
        canvas = np.zeros((height, width, 3), np.uint8)
        frame = _first_frame(data)[: max(0, height - first.top), : max(0, width - first.left)]
        canvas[first.top : first.top + len(frame), first.left : first.left + frame.shape[1]] = frame
        return canvas

    return OpenedImage("gif", 3 * width * height + 8 * right * bottom, load)


def _first_frame(data: bytes) -> np.ndarray:
    """The pixels of the first frame alone, transparent ones black."""
    image = open_with_pillow(data, "GIF")
    left, top, right, bottom = (image.tile[0][1] if image.tile else None) or (0, 0, *image.size)
    pixels = load_rgb(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels = np.where(np.asarray(image)[:, :, None] == transparent, np.uint8(0), pixels)
    return pixels[top:bottom, left:right]


def _frames(data: bytes) -> Iterator[_Frame]:
    """The frames in the order of the file, as far as it can be read.

    https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    position = 13 + _color_table(data, 10)
    while position < len(data):
        block, position = data[position], position + 1
        if block == 0x2C and position + 9 <= len(data):
            places = range(position, position + 8, 2)
            left, top, width, height = (int.from_bytes(data[at : at + 2], "little") for at in places)
            start = position + 10 + _color_table(data, position + 8)
            position = _after_blocks(data, start)
            if position > len(data):  # giflib does not count a frame that is cut off
                return
            yield _Frame(left, top, width, height, position - start)
        elif block == 0x21:
            position = _after_blocks(data, position + 1)
        else:  # the trailer, or damage
            return


def _color_table(data: bytes, position: int) -> int:
    """Bytes of the color table that the flags at `position` announce."""
    flags = data[position] if position < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> int:
    """Where a chain of data blocks ends: each begins with its length, and one of no length is the last."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1
