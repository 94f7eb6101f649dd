"""The one resize of this project: what `tf.image.resize(method="bilinear")` computes, without TensorFlow.

Bilinear between half-pixel centers, in float32, without antialiasing (Pillow's antialiases), and never
rounded: the pixels stay float32.
"""

from __future__ import annotations

import cv2
import numpy as np

#: Beyond this side (pixels) TensorFlow's coordinates are worked out here: see `resize`.
_LARGE_SIDE = 1024


def resize(pixels: np.ndarray, out: np.ndarray) -> None:
    """Resize as `tf.image.resize(method="bilinear")` does, without rounding, straight into `out`.

    OpenCV computes the same, but works out where each pixel comes from more exactly than TensorFlow,
    whose float32 coordinates drift by up to 1e-7 of the side: 0.01 of 255 in 500 pixels of pure noise,
    and 0.1 in 5,000. There TensorFlow's own coordinates are used, which gives its numbers to the bit and,
    since only the pixels needed are converted to float, is also the faster way.

    Args:
        pixels: uint8 (h, w, 3).
        out: float32 (height, width, 3), contiguous; gets values from 0 to 255.
    """
    if out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError("resize needs a contiguous float32 array to write to")  # or cv2 writes elsewhere
    height, width = out.shape[:2]
    if max(pixels.shape[:2]) <= _LARGE_SIDE:
        floats = pixels.astype(np.float32, order="C")
        cv2.resize(floats, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
        return
    low_y, high_y, share_y = _sources(pixels.shape[0], height)
    low_x, high_x, share_x = _sources(pixels.shape[1], width)
    below = _blend_columns(pixels[high_y], low_x, high_x, share_x)
    above = _blend_columns(pixels[low_y], low_x, high_x, share_x)
    below -= above
    below *= share_y[:, None, None]
    np.add(above, below, out=out)


def _sources(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new position along a side: the two old ones it lies between, and the second one's share.

    In float32 like TensorFlow:
    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/kernels/image/resize_bilinear_op.cc
    """
    scale = np.float32(size) / np.float32(new_size)
    half = np.float32(0.5)
    position = (np.arange(new_size, dtype=np.float32) + half) * scale - half
    floor = np.floor(position)
    low = np.maximum(floor, 0).astype(np.intp)
    high = np.minimum(np.ceil(position), size - 1).astype(np.intp)
    return low, high, position - floor


def _blend_columns(rows: np.ndarray, low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    left = rows[:, low].astype(np.float32)
    blended = rows[:, high].astype(np.float32)
    blended -= left
    blended *= share[None, :, None]
    blended += left
    return blended
