"""EXIF orientation: how a camera was held."""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image


def orientation_in(data: bytes) -> int:
    """The orientation that a file's EXIF data say: see `orientation_of`."""
    try:
        return orientation_of(Image.open(io.BytesIO(data)))
    except Exception:  # Pillow is choosier about headers than the decoder of JPEG used here
        return 1


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, from 1 (upright) to 8; 1 where there is none, or none that can be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block is no reason to lose the photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A view of pixels (h, w, 3) turned upright from an EXIF orientation."""
    if orientation >= 5:  # stored with rows and columns exchanged
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
