"""Small pictures as data URIs, so that the page needs no other file: bounded in number and bytes.

An image that can't be read gives None, never an error: where it should be, the page says so.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from features.images import ImageError, decode, image_bytes
from features.machine import usable_cores

#: Images that are read ahead, some of them in vain where the budget ends.
_TOGETHER = 64


def thumbnails(
    uris: Sequence[str],
    *,
    side: int,
    quality: int,
    most_bytes: int,
    exif_orientation: bool = False,
) -> Mapping[str, str | None]:
    """Thumbnails of images, until their bytes are used up; the same images always give the same ones.

    Args:
        uris: files, the most important first.
        side: the longer side, in pixels.
        quality: of WebP, 1 to 100.
        most_bytes: of all data URIs together.
        exif_orientation: whether to turn the images as their EXIF data say.

    Returns:
        A data URI for each file; None where it can't be read, or does not fit in any more.
    """
    found: dict[str, str | None] = dict.fromkeys(uris)
    left = most_bytes
    for uri, thumbnail in _read(list(found), side, quality, exif_orientation):
        if thumbnail is not None and len(thumbnail) > left:
            break
        found[uri] = thumbnail
        left -= len(thumbnail or "")
    return found


def _read(
    uris: Sequence[str], side: int, quality: int, exif_orientation: bool
) -> Iterator[tuple[str, str | None]]:
    """Thumbnails in the order of the files, some of them read ahead."""
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="thumbnail") as pool:
        for start in range(0, len(uris), _TOGETHER):
            some = uris[start : start + _TOGETHER]
            yield from zip(
                some, pool.map(lambda uri: thumbnail(uri, side, quality, exif_orientation), some), strict=True
            )


def thumbnail(uri: str, side: int, quality: int, exif_orientation: bool = False) -> str | None:
    """A thumbnail as a data URI, or None for an image that can't be read."""
    try:
        with image_bytes(uri) as data:
            pixels = decode(data, exif_orientation=exif_orientation).pixels
    except (ImageError, MemoryError):
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = pixels if scale == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return _data_uri(np.ascontiguousarray(small), quality)


def _data_uri(pixels: np.ndarray, quality: int) -> str:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV was built without WebP")  # its wheels have it
    return f"data:image/webp;base64,{base64.b64encode(encoded.tobytes()).decode()}"
