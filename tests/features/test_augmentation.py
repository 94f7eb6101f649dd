from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from features.augmentation import Augmentation, augment, draw, parse_augmentation
from features.errors import BottleneckError
from features.images.resizing import resize

OFF = Augmentation(crop=0, flip=False, rotation=0, brightness=0, contrast=0, saturation=0)
STRONG = Augmentation(crop=0.5, flip=True, rotation=0.5, brightness=0.3, contrast=0.6, saturation=1)
IMAGE = "ab" * 32
KINDS = "crop, flip, rotation, brightness, contrast, saturation"


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), np.uint8)


def photo(name: str, times: int = 1) -> np.ndarray:
    return np.ascontiguousarray(load_sample_image(name).repeat(times, 0).repeat(times, 1))


def augmented(
    pixels: np.ndarray,
    size: tuple[int, int] = (299, 299),
    augmentation: Augmentation = STRONG,
    image_id: str = IMAGE,
    view: int = 1,
) -> np.ndarray:
    out = np.full((*size, 3), np.nan, np.float32)
    augment(pixels, out, augmentation, image_id, view)
    return out


def with_tensorflow(
    pixels: np.ndarray, size: tuple[int, int], augmentation: Augmentation, image_id: str, view: int
) -> np.ndarray:
    """The view, made by TensorFlow; places are traced back from the view to the image, step by step."""
    import tensorflow as tf

    drawn = draw(augmentation, image_id, view)
    (old_height, old_width), (height, width) = pixels.shape[:2], size
    cos, sin = math.cos(math.tau * drawn.angle), math.sin(math.tau * drawn.angle)
    to_corner, to_center = translation(0.5, 0.5), translation(-0.5, -0.5)
    unflip = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]]) if drawn.flipped else np.eye(3)
    turn = translation(-width / 2, -height / 2)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ turn
    turn = translation(width / 2, height / 2) @ turn
    window = np.diag([drawn.side * old_width / width, drawn.side * old_height / height, 1])
    window = translation(drawn.left * old_width, drawn.top * old_height) @ window
    matrix = to_center @ window @ turn @ unflip @ to_corner
    view_pixels = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels[None].astype(np.float32) / 255,
        transforms=[[*matrix[:2].ravel(), 0, 0]],
        output_shape=size,
        fill_value=0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
    view_pixels = tf.image.adjust_brightness(view_pixels, drawn.brightness)
    view_pixels = tf.image.adjust_contrast(view_pixels, drawn.contrast)
    view_pixels = tf.clip_by_value(view_pixels, 0, 1)
    # As `adjust_saturation`, which turns a pixel gray when its hue is rounded to a full turn.
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(view_pixels), axis=-1)
    saturation = tf.clip_by_value(saturation * drawn.saturation, 0, 1)
    return tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1)).numpy() * 255


def translation(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


@pytest.mark.parametrize("augmentation", [Augmentation(), STRONG], ids=["default", "strong"])
@pytest.mark.parametrize(
    "pixels",
    [
        photo("china.jpg"),
        photo("flower.jpg"),
        photo("china.jpg", times=5),
        noise(240, 320),
        noise(2000, 3000),
    ],
    ids=["china", "flower", "large", "noise", "large noise"],
)
def test_same_as_tensorflow(pixels: np.ndarray, augmentation: Augmentation) -> None:
    for view in range(1, 5):
        expected = with_tensorflow(pixels, (299, 299), augmentation, IMAGE, view)
        difference = np.abs(augmented(pixels, augmentation=augmentation, view=view) - expected)
        assert difference.max() < 1
        assert difference.mean() < 0.05


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colors_as_tensorflow_changes_them(name: str) -> None:
    import tensorflow as tf

    pixels, augmentation = noise(60, 50), parse_augmentation([f"{name}=1"])
    for view in range(1, 9):
        changed_by = getattr(draw(augmentation, IMAGE, view), name)
        expected = getattr(tf.image, f"adjust_{name}")(pixels.astype(np.float32) / 255, changed_by)
        expected = np.clip(expected.numpy() * 255, 0, 255)
        np.testing.assert_allclose(
            augmented(pixels, (60, 50), augmentation, view=view), expected, rtol=0, atol=0.01
        )


sides = st.integers(1, 40)


@settings(max_examples=100, deadline=None)
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.integers(1, 1000))
def test_images_and_views_of_any_size(old: tuple[int, int], new: tuple[int, int], view: int) -> None:
    """Long ones turned in a long view are mirrored many times."""
    pixels = noise(*old)
    expected = with_tensorflow(pixels, new, STRONG, IMAGE, view)
    np.testing.assert_allclose(augmented(pixels, new, view=view), expected, rtol=0, atol=0.5)


@pytest.mark.parametrize("old", [(1, 1), (1, 2), (2, 1), (1, 5000), (5000, 1)])
def test_the_smallest_images(old: tuple[int, int]) -> None:
    pixels = noise(*old)
    for view in range(1, 9):
        expected = with_tensorflow(pixels, (299, 299), STRONG, IMAGE, view)
        assert np.abs(augmented(pixels, view=view) - expected).max() < 1


def test_turned_as_keras_turns() -> None:
    import keras

    pixels, rotation = noise(30, 50), dataclasses.replace(OFF, rotation=0.2)
    for view in range(1, 5):
        angle = draw(rotation, IMAGE, view).angle
        turn = keras.layers.RandomRotation((angle, angle), fill_mode="reflect", interpolation="bilinear")
        expected = np.asarray(turn(pixels[None].astype(np.float32), training=True))[0]
        difference = np.abs(augmented(pixels, (30, 50), rotation, view=view) - expected)
        assert difference.max() < 0.1


@pytest.mark.parametrize("pixels", [photo("china.jpg"), noise(298, 300), noise(1200, 1600), noise(1, 1)])
def test_without_any_kind_it_is_the_resize(pixels: np.ndarray) -> None:
    expected = np.empty((299, 299, 3), np.float32)
    resize(pixels, expected)
    np.testing.assert_allclose(augmented(pixels, augmentation=OFF), expected, rtol=0, atol=0.1)


def test_flipped_from_left_to_right_or_left() -> None:
    pixels, flip = noise(20, 30), dataclasses.replace(OFF, flip=True)
    flips = [draw(flip, IMAGE, view).flipped for view in range(1, 20)]
    assert set(flips) == {False, True}
    for view, flipped in enumerate(flips, start=1):
        expected = pixels[:, ::-1] if flipped else pixels
        np.testing.assert_allclose(augmented(pixels, (20, 30), flip, view=view), expected, rtol=0, atol=0.001)


def test_no_value_leaves_the_range() -> None:
    views = [augmented(noise(50, 50), (40, 40), view=view) for view in range(1, 30)]
    assert min(view.min() for view in views) == 0
    assert max(view.max() for view in views) == 255


IDS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(1000)]


def test_what_is_drawn_stays_in_its_range_and_fills_it() -> None:
    drawn = np.array([draw(STRONG, image_id, view) for image_id in IDS for view in (1, 2)], np.float64)
    left, top, side, flipped, *others = drawn.T
    for position in (left, top):
        assert position.min() >= 0 and (position + side).max() <= 1
        assert 0.45 < np.mean(position / (1 - side)) < 0.55, "no place is preferred"
    assert 0.5 <= side.min() < 0.51 and 0.99 < side.max() <= 1
    assert 0.45 < flipped.mean() < 0.55
    for values, middle, strength in zip(others, (0, 0, 1, 1), (0.5, 0.3, 0.6, 1), strict=True):
        assert middle - strength <= values.min() < middle - 0.99 * strength
        assert middle + 0.99 * strength < values.max() <= middle + strength
    correlations = np.corrcoef(drawn.T[2:]) - np.eye(6)
    assert np.abs(correlations).max() < 0.1, "each is drawn by itself"


def test_the_same_is_drawn_for_ever() -> None:
    assert draw(Augmentation(), "00" * 32, 1) == pytest.approx(
        (
            0.0134625466,
            0.0646752661,
            0.9128064100,
            True,
            -0.0083886057,
            0.0818427483,
            0.8797935559,
            1.0542375522,
        ),
        abs=1e-9,
    )
    assert draw(Augmentation(), IMAGE, 2) == pytest.approx(
        (
            0.0254431374,
            0.0095321430,
            0.9509317480,
            True,
            0.0110938096,
            -0.0088867197,
            1.0769766141,
            0.8363300173,
        ),
        abs=1e-9,
    )


def test_the_same_pixels_are_made_for_ever() -> None:
    y, x = np.mgrid[:40, :60]
    pixels = np.stack([x * 4, y * 6, (x + y) * 2], -1).astype(np.uint8)
    view = augmented(pixels, (8, 8), Augmentation(), "00" * 32)
    expected = [[211.4, 45.8, 122.7], [118.3, 131.5, 105.5], [42.1, 231.6, 99.8]]
    np.testing.assert_allclose(view[[0, 3, 7], [0, 4, 7]], expected, rtol=0, atol=0.5)


def test_each_view_of_each_image_is_another_one_and_always_the_same() -> None:
    pixels = noise(30, 40)
    views = [
        augmented(pixels, (20, 20), Augmentation(), image_id, view)
        for image_id in IDS[:5]
        for view in (1, 2, 12)
    ]
    again = augmented(pixels, (20, 20), Augmentation(), IDS[0], 1)
    np.testing.assert_array_equal(views[0], again)
    assert len({view.tobytes() for view in views}) == len(views)


@pytest.mark.parametrize("name", ["crop", "flip", "rotation", "brightness", "contrast", "saturation"])
def test_a_kind_that_is_off_leaves_the_others_as_they_are(name: str) -> None:
    fields = {"crop": {"left", "top", "side"}, "flip": {"flipped"}, "rotation": {"angle"}}.get(name, {name})
    without = draw(dataclasses.replace(STRONG, **{name: getattr(OFF, name)}), IMAGE, 2)._asdict()
    with_it = draw(STRONG, IMAGE, 2)._asdict()
    neutral = draw(OFF, IMAGE, 2)._asdict()
    assert without == {**with_it, **{field: neutral[field] for field in fields}}
    assert neutral == {
        **{"left": 0, "top": 0, "side": 1, "flipped": False, "angle": 0},
        **{"brightness": 0, "contrast": 1, "saturation": 1},
    }


def test_pixels_may_be_a_turned_view() -> None:
    turned = noise(100, 120).transpose(1, 0, 2)[::-1]
    np.testing.assert_array_equal(augmented(turned), augmented(np.ascontiguousarray(turned)))


@pytest.mark.parametrize(
    "out", [np.empty((299, 299, 3)), np.empty((299, 3, 299), np.float32).transpose(0, 2, 1)]
)
def test_refuses_what_it_could_not_write_to(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="^augment needs a contiguous float32 array to write to$"):
        augment(noise(10, 10), out, STRONG, IMAGE, 1)


def test_refuses_to_make_views_of_another_algorithm() -> None:
    other = dataclasses.replace(STRONG, algorithm=2)
    message = (
        "the augmented views were made by algorithm 2 and this version has algorithm 1: "
        "use the version that made them, or a new table"
    )
    with pytest.raises(BottleneckError, match=f"^{re.escape(message)}$"):
        augmented(noise(10, 10), augmentation=other)


OTHER: dict[str, Any] = {
    **{"crop": 0.1, "flip": False, "rotation": 0.01, "brightness": 0.2},
    **{"contrast": 0.1, "saturation": 0.3, "algorithm": 2},
}


def test_everything_that_decides_the_pixels_is_in_the_fingerprint() -> None:
    assert OTHER.keys() == Augmentation().to_dict().keys() - {"format"}
    changed = [dataclasses.replace(Augmentation(), **{name: value}) for name, value in OTHER.items()]
    fingerprints = {Augmentation().fingerprint, *(other.fingerprint for other in changed)}
    assert len(fingerprints) == 1 + len(OTHER)
    for other, (name, value) in zip(changed, OTHER.items(), strict=True):
        assert Augmentation().differences(other) == {name: (getattr(Augmentation(), name), value)}
    assert Augmentation().differences(Augmentation()) == {}


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    assert Augmentation().fingerprint == "0aaea6fe3580167d"
    assert dataclasses.replace(OFF, crop=-0.0).fingerprint == OFF.fingerprint


def test_kept_in_json() -> None:
    facts = json.loads(json.dumps(STRONG.to_dict()))
    assert Augmentation.from_dict(facts) == STRONG
    assert facts["format"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 2},
            "the augmentation is stored in format 2 and this version reads format 1: "
            "use the version that stored it",
        ),
        (
            {"format": None},
            "the augmentation is stored in format None and this version reads format 1: "
            "use the version that stored it",
        ),
        (
            {"noise": 0.1, "blur": 0.1},
            "the stored augmentation and this version do not have the same fields (blur, noise): "
            "use the version that stored it",
        ),
        (
            {"crop": None},
            "the stored augmentation and this version do not have the same fields (crop): "
            "use the version that stored it",
        ),
    ],
)
def test_stored_by_another_version(change: dict[str, Any], message: str) -> None:
    facts = {name: value for name, value in {**STRONG.to_dict(), **change}.items() if value is not None}
    with pytest.raises(BottleneckError, match=f"^{re.escape(message)}$"):
        Augmentation.from_dict(facts)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "crop",
            0.51,
            "the augmentation crop expects the most of each side that is cut off, "
            "at least 0 and at most 0.5, not 0.51",
        ),
        (
            "rotation",
            -0.1,
            "the augmentation rotation expects the most that a view is turned by, in full turns, "
            "at least 0 and at most 0.5, not -0.1",
        ),
        (
            "brightness",
            math.nan,
            "the augmentation brightness expects the most that is added, white being 1, "
            "at least 0 and at most 1, not nan",
        ),
        (
            "contrast",
            None,
            "the augmentation contrast expects the most that the factor of contrast differs from 1, "
            "at least 0 and at most 1, not None",
        ),
        (
            "saturation",
            1.5,
            "the augmentation saturation expects the most that the factor of saturation differs from 1, "
            "at least 0 and at most 1, not 1.5",
        ),
        ("flip", 0.5, "the augmentation flip is on or off, True or False, not 0.5"),
    ],
)
def test_refuses_what_is_out_of_range(field: str, value: Any, message: str) -> None:
    with pytest.raises(BottleneckError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(STRONG, **{field: value})


def test_kinds_that_are_named_replace_the_default_ones() -> None:
    assert parse_augmentation(None) == Augmentation()
    assert parse_augmentation(["crop=0.3", " flip "]) == dataclasses.replace(OFF, crop=0.3, flip=True)
    defaults = dataclasses.replace(OFF, rotation=Augmentation.rotation, contrast=Augmentation.contrast)
    assert parse_augmentation(iter(["rotation", "contrast"])) == defaults
    colors = dataclasses.replace(OFF, brightness=1, saturation=0.25)
    assert parse_augmentation(["saturation = .25", "brightness=1"]) == colors


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["none"],
            f"augmented views without augmentation would be copies: choose from {KINDS}, "
            f"or ask for no views, `views=0`",
        ),
        (
            [],
            f"augmented views without augmentation would be copies: choose from {KINDS}, "
            f"or ask for no views, `views=0`",
        ),
        (["flip", "none"], f"there is no augmentation 'none': choose from {KINDS}"),
        (["noise=0.1"], f"there is no augmentation 'noise': choose from {KINDS}"),
        (["algorithm=2"], f"there is no augmentation 'algorithm': choose from {KINDS}"),
        (["flip", "flip"], "the augmentation 'flip' is given twice"),
        (["flip=0.5"], "the augmentation flip takes no strength, and is given '0.5'"),
        (
            ["crop=0"],
            "the augmentation crop expects the most of each side that is cut off, "
            "above 0 and at most 0.5, not '0'",
        ),
        (
            ["crop="],
            "the augmentation crop expects the most of each side that is cut off, "
            "above 0 and at most 0.5, not ''",
        ),
        (
            ["rotation=much"],
            "the augmentation rotation expects the most that a view is turned by, in full turns, "
            "above 0 and at most 0.5, not 'much'",
        ),
    ],
)
def test_refuses_what_it_does_not_know(given: list[str], message: str) -> None:
    with pytest.raises(BottleneckError, match=f"^{re.escape(message)}$"):
        parse_augmentation(given)


def test_in_a_line_for_people() -> None:
    assert str(Augmentation()) == (
        "crop 0.2, flip, rotation 0.03, brightness 0.1, contrast 0.2, saturation 0.2"
    )
    assert str(parse_augmentation(["rotation=0.05", "flip"])) == "flip, rotation 0.05"
    assert str(OFF) == "none"
