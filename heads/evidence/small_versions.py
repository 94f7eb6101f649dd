"""Small versions of images, read from their files: what pixels say where features only propose."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from features.images import ImageError
from features.images.preparation import prepare
from features.machine import usable_cores
from heads.evidence.images import LabelledRows
from heads.progress import Progress, silent

#: Pixels of a side.
SIDE = 32
#: Images that the threads are given at a time.
_AT_ONCE = 512


class SmallVersions(NamedTuple):
    """Small versions of some images.

    Attributes:
        numbers: of the images, ascending, (n,).
        pixels: uint8 of shape (n, SIDE, SIDE, 3); zeros for an image that can't be read.
        readable: which images are there, and are as they were, bool (n,).
        detailed: which of them are no smaller than this: others look alike that are not, (n,).
    """

    numbers: np.ndarray
    pixels: np.ndarray
    readable: np.ndarray
    detailed: np.ndarray

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Where images are among these: -1 for one that is not, or that can't be read; of the same shape."""
        if not len(self.numbers):
            return np.full(numbers.shape, -1)
        places = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where((self.numbers[places] == numbers) & self.readable[places], places, -1)


def read_small(images: LabelledRows, numbers: np.ndarray, progress: Progress = silent) -> SmallVersions:
    """Read images on threads and keep a small version of each.

    They are decoded as for the network. One whose bytes are others by now counts as unreadable.

    Args:
        numbers: of those that are read, ascending.
        progress: called now and then with how many are read.
    """
    side, exif_orientation = images.table.backbone.input_size, images.table.recipe.exif_orientation
    pixels = np.zeros((len(numbers), SIDE, SIDE, 3), np.uint8)
    readable, detailed = np.zeros((2, len(numbers)), bool)
    of_thread = threading.local()

    def one(uri: str, image_id: str) -> tuple[np.ndarray, bool] | None:
        if not hasattr(of_thread, "pixels"):
            of_thread.pixels = np.zeros((side, side, 3), np.float32)
        try:
            prepared = prepare(uri, of_thread.pixels, exif_orientation)
        except ImageError:
            return None
        if prepared.image_id != image_id:
            return None
        detailed = min(prepared.width, prepared.height) >= SIDE
        return shrink(of_thread.pixels, SIDE), detailed

    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE].tolist()
        uris, image_ids = ([of_all[number] for number in some] for of_all in (images.uris, images.image_ids))
        with ThreadPoolExecutor(max(2, usable_cores())) as threads:
            for place, version in enumerate(threads.map(one, uris, image_ids), start=start):
                if version is not None:
                    pixels[place], readable[place] = np.clip(np.rint(version[0]), 0, 255), True
                    detailed[place] = version[1]
        progress(start + len(some), len(numbers), {})
    return SmallVersions(numbers, pixels, readable, detailed)


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image of (height, width, 3) as (side, side, 3), each pixel the mean of those that it covers."""
    import cv2

    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def pixel_side(width: int) -> int:
    """The side of a square of RGB pixels that is about as many numbers as features are, SIDE at most."""
    return max(2, min(SIDE, round((width / 3) ** 0.5)))
