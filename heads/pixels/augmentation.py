"""Augmentation: images are changed a little each time they are trained on, and never when they are labelled.

Each kind is built from Keras's own layers, so that it is part of the one model that is trained. At inference
these layers hand on exactly what they get. A new kind is a function here and a line in `AUGMENTATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from features.strengths import parse_strengths

if TYPE_CHECKING:
    import keras
    import numpy as np

#: The brightest pixel.
_WHITE = 255.0


class Augmentation(NamedTuple):
    """One kind of augmentation.

    Attributes:
        of: what it changes: the `pixels` of an image, or its pooled `features`.
        meaning: what its strength is, for people.
        strength: the strength where none is given; None for a kind that has none.
        most: the greatest strength.
        apply: called with a tensor of Keras, the strength, a seed, and the scale of what is changed.
    """

    of: Literal["pixels", "features"]
    meaning: str
    strength: float | None
    most: float
    apply: Callable[[keras.KerasTensor, float, int, Any], keras.KerasTensor]


#: The kinds that are wanted, each with its strength, None for one that has none.
Strengths = Mapping[str, float | None]


def parse_augmentation(given: Iterable[str] | None) -> dict[str, float | None]:
    """The kinds of augmentation and their strengths, from text such as `["flip", "crop=0.2"]`.

    Args:
        given: names, with `=STRENGTH` or without; `none` alone for no augmentation; None for `DEFAULT`.

    Returns:
        From name to strength, in the order of `AUGMENTATIONS`.

    Raises:
        BottleneckError: for an unknown name, or a strength out of range.
    """
    if given is None:
        return dict(DEFAULT)
    texts = [text.strip() for text in given]
    parsed = parse_strengths([] if texts == ["none"] else texts, AUGMENTATIONS, ", or none alone")
    return {name: parsed[name] for name in AUGMENTATIONS if name in parsed}


def augment_pixels(pixels: keras.KerasTensor, strengths: Strengths, seed: int = 0) -> keras.KerasTensor:
    """Pixels as they are trained on, from those of images, float32 (batch, height, width, 3) from 0 to 255.

    Noise may leave that range.
    """
    return _augment(pixels, "pixels", strengths, seed, _WHITE)


def augment_features(
    features: keras.KerasTensor, strengths: Strengths, deviation: np.ndarray, seed: int = 0
) -> keras.KerasTensor:
    """Features as they are trained on, float32 (batch, width); `deviation` is that of each, (width,)."""
    return _augment(features, "features", strengths, seed, deviation.tolist())


def _augment(tensor: Any, of: str, strengths: Strengths, seed: int, scale: Any) -> Any:
    for number, (name, strength) in enumerate(strengths.items()):
        kind = AUGMENTATIONS[name]
        if kind.of == of:
            tensor = kind.apply(tensor, strength or 0.0, seed + number, scale)
    return tensor


def _flip(pixels: Any, _strength: float, seed: int, _scale: Any) -> Any:
    import keras

    return keras.layers.RandomFlip("horizontal", seed=seed)(pixels)


def _crop(pixels: Any, strength: float, seed: int, _scale: Any) -> Any:
    """A part of the image at a random place, as large as the image; beyond its edges it is mirrored.

    By shifting and zooming: `RandomCrop` would resize the images at inference, too. Zoomed in first, an image
    would have lost what lies outside its middle, and mirrored pixels would be shifted in.
    """
    import keras

    pixels = keras.layers.RandomTranslation(strength / 2, strength / 2, seed=seed + 1000)(pixels)
    return keras.layers.RandomZoom((-strength, 0.0), seed=seed)(pixels)


def _rotate(pixels: Any, strength: float, seed: int, _scale: Any) -> Any:
    import keras

    return keras.layers.RandomRotation(strength, seed=seed)(pixels)


def _add_noise(tensor: Any, strength: float, seed: int, scale: Any) -> Any:
    """Gaussian noise of `strength * scale`, added to zeros first: Keras's layer takes deviations up to 1."""
    import keras

    noise = keras.layers.GaussianNoise(strength, seed=seed)(keras.layers.Rescaling(0.0)(tensor))
    return keras.layers.Add()([tensor, keras.layers.Rescaling(scale)(noise)])


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": Augmentation("pixels", "", None, 0, _flip),
    "crop": Augmentation("pixels", "the most of each side that is cut off", 0.1, 0.5, _crop),
    "rotation": Augmentation("pixels", "the most that it is turned by, in full turns", 0.03, 0.5, _rotate),
    "noise": Augmentation("pixels", "the deviation of the noise, white being 1", 0.02, 1, _add_noise),
    "feature_noise": Augmentation(
        "features", "the deviation of the noise, that of each feature being 1", 0.1, 1, _add_noise
    ),
}

#: What photos of most things can bear.
DEFAULT: Strengths = {name: AUGMENTATIONS[name].strength for name in ("flip", "crop", "rotation")}
