"""HEIF, which phones write as HEIC, through libheif (`pillow-heif`).

A HEIF file says in its own terms how its image is turned and cropped, and decoding includes that: what comes
is upright, whether EXIF orientation is applied or not.
"""

from __future__ import annotations

import io

import numpy as np

from features.images.errors import ImageError
from features.images.limits import check_size, check_unbounded
from features.images.opened import OpenedImage
from features.images.pillow import damage, load_rgb

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
    try:
        image = HeifImageFile(io.BytesIO(data), "")
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, as Pillow's readers
        raise damage(error) from error
    width, height = image.size
    check_size(width, height)
    memory = _BYTES_A_PIXEL * width * height
    check_unbounded(width, height, memory, len(data))

    def load() -> np.ndarray:
        return load_rgb(image)

    return OpenedImage("heif", memory, load)
