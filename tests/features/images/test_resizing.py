from __future__ import annotations

import numpy as np
import pytest

from features.images.resizing import resize

SMALL = [
    (1, 1),
    (1, 50),
    (50, 1),
    (8, 8),
    (150, 150),
    (240, 320),
    (299, 299),
    (298, 300),
    (500, 375),
    (598, 598),
]
LARGE = [(20, 3001), (1025, 40), (1200, 1600), (2000, 1500)]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), np.uint8)


def resized(pixels: np.ndarray, size: tuple[int, int] = (299, 299)) -> np.ndarray:
    out = np.full((*size, 3), np.nan, np.float32)
    resize(pixels, out)
    return out


def reference(pixels: np.ndarray, size: tuple[int, int] = (299, 299)) -> np.ndarray:
    import tensorflow as tf

    return tf.image.resize(pixels, size, method="bilinear").numpy()


@pytest.mark.parametrize(("height", "width"), SMALL)
def test_same_as_tensorflow(height: int, width: int) -> None:
    # Noise is the worst case: a step of 255 between neighbors turns TensorFlow's rounded coordinates into
    # differences of up to 0.015. On average they are a thousandth of a level.
    pixels = noise(height, width)
    difference = np.abs(resized(pixels) - reference(pixels))
    assert difference.max() < 0.015
    assert difference.mean() < 0.0015


@pytest.mark.parametrize(("height", "width"), LARGE)
def test_the_same_bits_as_tensorflow_for_large_images(height: int, width: int) -> None:
    pixels = noise(height, width)
    np.testing.assert_allclose(resized(pixels), reference(pixels), rtol=0, atol=1e-4)


def test_other_sizes_than_299() -> None:
    for pixels in (noise(70, 90), noise(1100, 1050)):
        np.testing.assert_allclose(resized(pixels, (75, 96)), reference(pixels, (75, 96)), rtol=0, atol=0.015)


def test_writes_into_its_place_in_a_batch() -> None:
    batch = np.full((3, 299, 299, 3), -1, np.float32)
    pixels = noise(100, 120)
    resize(pixels, batch[1])
    np.testing.assert_array_equal(batch[1], resized(pixels))
    assert (batch[[0, 2]] == -1).all()


def test_views_are_resized_like_their_copies() -> None:
    turned = noise(100, 120).transpose(1, 0, 2)[::-1]
    np.testing.assert_array_equal(resized(turned), resized(np.ascontiguousarray(turned)))


@pytest.mark.parametrize(
    "out", [np.empty((299, 299, 3)), np.empty((299, 3, 299), np.float32).transpose(0, 2, 1)]
)
def test_refuses_what_it_could_not_write_to(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="contiguous float32"):
        resize(noise(10, 10), out)
