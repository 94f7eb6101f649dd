"""Generated pictures, and what TensorFlow makes of them."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from features.images import REASONS, ImageError, decode

SIZES = [(1, 1), (2, 3), (17, 33), (64, 48), (101, 97)]


def pixels_of(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """A picture with both smooth parts and noise, uint8 (height, width, channels)."""
    random = np.random.default_rng([height, width, channels, seed])
    small = random.integers(0, 256, (height // 4 + 2, width // 4 + 2, channels), np.uint8)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(
        height, width, channels
    )
    return np.clip(smooth + random.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, format: str, mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if mode == "CMYK":
        image = Image.frombytes("CMYK", image.size, pixels.tobytes())
    elif mode:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def reference(data: bytes) -> np.ndarray | None:
    """TensorFlow's pixels, or None where it refuses the data."""
    import tensorflow as tf

    try:
        return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError:
        return None


def assert_same_as_tensorflow(data: bytes, format: str) -> None:
    decoded = decode(data)
    assert decoded.format == format
    assert decoded.pixels.dtype == np.uint8
    np.testing.assert_array_equal(decoded.pixels, reference(data))


def reason(data: bytes) -> str:
    """The word for which the data are refused."""
    word, _, detail = refusal(data).partition(": ")
    assert word in REASONS
    assert detail
    return word


def refusal(data: bytes) -> str:
    """The whole of what is said when the data are refused."""
    with pytest.raises(ImageError) as caught:
        decode(data)
    return str(caught.value)
