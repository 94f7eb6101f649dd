from __future__ import annotations

import re

import keras
import numpy as np
import pytest

from features.errors import BottleneckError
from heads.pixels.augmentation import (
    AUGMENTATIONS,
    augment_features,
    augment_pixels,
    parse_augmentation,
)

PIXELS = np.random.default_rng(0).uniform(0, 255, (6, 16, 16, 3)).astype(np.float32)
FEATURES = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
DEVIATION = np.array([0.5, 1, 20], np.float32)


def model(*given: str, seed: int = 0) -> keras.Model:
    strengths = parse_augmentation(given)
    if any(AUGMENTATIONS[name].of == "features" for name in strengths):
        features = keras.Input(FEATURES.shape[1:])
        return keras.Model(features, augment_features(features, strengths, DEVIATION, seed))
    pixels = keras.Input(PIXELS.shape[1:])
    return keras.Model(pixels, augment_pixels(pixels, strengths, seed))


def inputs(name: str) -> np.ndarray:
    return PIXELS if AUGMENTATIONS[name].of == "pixels" else FEATURES


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_images_are_changed_in_training_and_never_at_inference(name: str) -> None:
    augmented, given = model(name), inputs(name)
    np.testing.assert_array_equal(augmented(given, training=False), given)
    first, second = (np.asarray(augmented(given, training=True)) for _ in range(2))
    assert first.shape == given.shape and np.isfinite(first).all()
    assert np.abs(first - given).max() > 0 and np.abs(first - second).max() > 0, (
        "another time, another change"
    )


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_seed_gives_the_same_changes(name: str) -> None:
    one, same, other = (np.asarray(model(name, seed=seed)(inputs(name), training=True)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_a_flip_is_from_left_to_right() -> None:
    flipped = np.asarray(model("flip")(PIXELS, training=True))
    kinds = {
        "as it was" if np.array_equal(image, before) else "flipped"
        for image, before in zip(flipped, PIXELS, strict=True)
        if np.array_equal(image, before) or np.array_equal(image, before[:, ::-1])
    }
    assert kinds == {"as it was", "flipped"}


def test_the_size_of_noise_is_that_of_its_strength() -> None:
    gray = np.full((4, 64, 64, 3), 100, np.float32)
    pixels = keras.Input(gray.shape[1:])
    noisy = keras.Model(pixels, augment_pixels(pixels, {"noise": 0.1}))(gray, training=True)
    assert np.std(noisy) == pytest.approx(25.5, rel=0.02)
    changes = np.asarray(model("feature_noise=0.3")(FEATURES, training=True)) - FEATURES
    np.testing.assert_allclose(changes.std(axis=0), 0.3 * DEVIATION, rtol=0.1)


def test_a_crop_shows_a_part_of_the_image_in_its_size() -> None:
    """A ramp of brightness is less steep when it is zoomed in, and begins elsewhere."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32)[None, None, :, None], (20, 64, 64, 3))
    inputs = keras.Input(ramp.shape[1:])
    cropped = np.asarray(keras.Model(inputs, augment_pixels(inputs, {"crop": 0.5}))(ramp, training=True))
    middle = cropped[:, 32, 28:36, 0]
    steepness = np.diff(middle, axis=1).mean(axis=1)
    assert 0.49 < steepness.min() < 0.6 and 0.9 < steepness.max() < 1.01
    assert np.ptp(middle[:, 4]) > 8, "at several places"


def test_a_crop_may_lie_at_an_edge_of_the_image() -> None:
    """What is zoomed is any part of the image, not of its middle, and hardly anything is mirrored."""
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32)[None, None, :, None], (400, 20, 100, 3))
    inputs = keras.Input(ramp.shape[1:])
    cropped = np.asarray(keras.Model(inputs, augment_pixels(inputs, {"crop": 0.3}))(ramp, training=True))
    rows = cropped[:, 10, :, 0]
    zoomed = rows[np.median(np.diff(rows, axis=1), axis=1) < 0.85]
    assert len(zoomed) > 100 and zoomed.min() < 1 and zoomed.max() > 98
    assert np.mean(np.diff(rows, axis=1) < 0) < 0.03


def test_kinds_are_read_from_text_in_one_order() -> None:
    assert parse_augmentation(["noise = 0.5", "crop", "flip"]) == {"flip": None, "crop": 0.1, "noise": 0.5}
    assert list(parse_augmentation(["noise", "flip"])) == ["flip", "noise"]
    assert parse_augmentation(["none"]) == parse_augmentation([]) == {}
    assert parse_augmentation(None) == {"flip": None, "crop": 0.1, "rotation": 0.03}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["blur"],
            "there is no augmentation 'blur': choose from flip, crop, rotation, noise, feature_noise, "
            "or none alone",
        ),
        (["flip", "none"], "there is no augmentation 'none': choose from flip, "),
        (["flip", "flip"], "the augmentation 'flip' is given twice"),
        (["flip=0.5"], "the augmentation flip takes no strength, and is given '0.5'"),
        (
            ["crop=0.6"],
            "the augmentation crop expects the most of each side that is cut off, above 0 and at most 0.5, "
            "not '0.6'",
        ),
        (["noise=0"], "the deviation of the noise, white being 1, above 0 and at most 1, not '0'"),
        (["rotation=little"], "in full turns, above 0 and at most 0.5, not 'little'"),
        (["crop="], "above 0 and at most 0.5, not ''"),
    ],
)
def test_what_is_no_augmentation_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(BottleneckError, match=re.escape(message)):
        parse_augmentation(given)


def test_pixels_and_features_are_augmented_apart() -> None:
    strengths = parse_augmentation(["flip", "feature_noise"])
    pixels, features = keras.Input(PIXELS.shape[1:]), keras.Input(FEATURES.shape[1:])
    names = [layer.name for layer in keras.Model(pixels, augment_pixels(pixels, strengths)).layers]
    assert len(names) == 2 and names[1].startswith("random_flip")
    assert augment_features(features, {"flip": None}, DEVIATION) is features


def test_each_kind_draws_its_own_numbers() -> None:
    layers = model("flip", "crop", "rotation", "noise").layers
    seeds = [layer.seed for layer in layers if hasattr(layer, "seed")]
    assert len(seeds) == len(set(seeds)) == 5
