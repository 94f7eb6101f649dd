"""HEIF, which phones write as HEIC, through libheif (`pillow-heif`).

A HEIF file says in its own terms how its image is turned and cropped, and decoding includes that: what comes
is upright, whether EXIF orientation is applied or not.
"""

from __future__ import annotations

import io

from features.images.errors import ImageError
from features.images.limits import check_size, check_unbounded
from features.images.opened import OpenedImage
from features.images.pillow import load_rgb, readers_errors

#: At the peak: planes of the decoder, its RGB, Pillow's copy, and the pixels.
_BYTES_A_PIXEL = 18


def open_heif(data: bytes) -> OpenedImage:
    """Read the header of a HEIF file; of several images the primary one.

    Raises:
        ImageError: unsupported, truncated, corrupt or too_large.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ImageError("unsupported", "HEIF: the package pillow-heif is needed to read it") from error
    with readers_errors():
        image = HeifImageFile(io.BytesIO(data), "")
    width, height = image.size
    check_size(width, height)
    memory = _BYTES_A_PIXEL * width * height
    check_unbounded(width, height, memory, len(data))
    return OpenedImage("heif", memory, lambda: load_rgb(image))
