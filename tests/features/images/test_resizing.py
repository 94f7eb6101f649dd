from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.images.resizing import resize

SMALL = [(1, 50), (150, 150), (299, 299), (298, 300), (500, 375)]
LARGE = [(20, 3001), (1025, 40), (1200, 1600)]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), np.uint8)


def resized(pixels: np.ndarray, size: tuple[int, int] = (299, 299)) -> np.ndarray:
    out = np.full((*size, 3), np.nan, np.float32)
    resize(pixels, out)
    return out


def reference(pixels: np.ndarray, size: tuple[int, int] = (299, 299)) -> np.ndarray:
    import tensorflow as tf

    return tf.image.resize(pixels, size, method="bilinear").numpy()


def formula(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear between half-pixel centers, in float64."""
    values = pixels.astype(np.float64)
    for axis, new in enumerate(size):
        old = values.shape[axis]
        position = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(position).astype(int)
        share = (position - low).reshape([-1 if axis == side else 1 for side in range(3)])
        below, above = values.take(low, axis), values.take(np.minimum(low + 1, old - 1), axis)
        values = below + (above - below) * share
    return values


sides = st.integers(1, 40)
large_sides = st.integers(1025, 1400)


@settings(max_examples=100)
@given(
    st.tuples(sides, sides) | st.tuples(st.just(2), large_sides) | st.tuples(large_sides, st.just(3)),
    st.tuples(sides, sides),
)
def test_each_pixel_follows_the_formula(old: tuple[int, int], new: tuple[int, int]) -> None:
    pixels = noise(*old)
    np.testing.assert_allclose(resized(pixels, new), formula(pixels, new), rtol=0, atol=0.05)


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
    with pytest.raises(ValueError, match="^resize needs a contiguous float32 array to write to$"):
        resize(noise(10, 10), out)
