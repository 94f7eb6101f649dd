"""Decoding an image of whatever format, within the memory that all threads share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from features.images import gif, jpeg, png
from features.images.errors import ImageError
from features.images.families import family_of
from features.images.heif import open_heif
from features.images.memory import DECODING_BUDGET
from features.images.opened import OpenedImage
from features.images.orientation import orientation_in, turned
from features.images.others import open_other
from features.images.resizing import resize

#: A new format: its first bytes, and the function that opens it. Others are left to Pillow.
_OPENERS = (
    (jpeg.SIGNATURE, jpeg.open_jpeg),
    (png.SIGNATURE, png.open_png),
    (gif.SIGNATURE, gif.open_gif),
)


class Decoded(NamedTuple):
    """A decoded image: uint8 RGB pixels of shape (height, width, 3), and its format (`jpeg`, `png`, …)."""

    pixels: np.ndarray
    format: str


def decode(data: bytes, *, exif_orientation: bool = False) -> Decoded:
    """Decode an image of any format that TensorFlow or Pillow reads; of several frames the first.

    Waits while other threads' images take the memory that it needs.

    Args:
        data: the file's bytes.
        exif_orientation: turn the image as its EXIF data say (TensorFlow and Keras do not).

    Raises:
        ImageError: empty, not_an_image, unsupported, truncated, corrupt or too_large.
    """
    with decoded(data, exif_orientation=exif_orientation) as image:
        return image


def read_pixels(data: bytes, out: np.ndarray, *, exif_orientation: bool = False) -> tuple[int, int, str]:
    """Decode an image and resize it into `out`: see `decode` and `resize`.

    Returns:
        Width and height of the decoded image, in pixels, and its format.
    """
    with decoded(data, exif_orientation=exif_orientation) as (pixels, format):
        resize(pixels, out)
        height, width = pixels.shape[:2]
        return width, height, format


@contextlib.contextmanager
def decoded(data: bytes, *, exif_orientation: bool = False) -> Iterator[Decoded]:
    """`decode`, for as long as the pixels are needed: their memory is reserved until then."""
    with _as_image_errors():
        opened = _open(data)
    with DECODING_BUDGET.reserved(opened.memory + len(data)):
        with _as_image_errors():
            pixels = opened.load()
            if exif_orientation and opened.format != "heif":
                pixels = np.ascontiguousarray(turned(pixels, orientation_in(data)))
        yield Decoded(pixels, opened.format)


@contextlib.contextmanager
def _as_image_errors() -> Iterator[None]:
    """No file may end a run, whatever a decoder raises for it."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError("corrupt", f"unexpected {type(error).__name__} of the decoder: {error}") from error


def _open(data: bytes) -> OpenedImage:
    if not data:
        raise ImageError("empty", "0 bytes")
    for signature, open_image in _OPENERS:
        if data.startswith(signature):
            return open_image(data)
    family = family_of(data)
    return open_heif(data) if family is not None and family.pillow == "HEIF" else open_other(data)
