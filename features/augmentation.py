"""Augmented views of an image: its decoded pixels cropped, flipped, turned and recolored, without TensorFlow.

What a view looks like follows from the image's id, the number of the view and the `Augmentation` alone, so it
can be made again anywhere, within one level of 255. The geometry is one bilinear sampling of the decoded
pixels, with the semantics of TensorFlow's `ImageProjectiveTransformV3`, which Keras's layers use; the colors
are changed as `tf.image.adjust_*` does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from features.errors import BottleneckError
from features.strengths import Kind, check_strength, parse_strengths

#: Of what `Augmentation.to_dict` gives.
_FORMAT = 1
#: Of how pixels are made. It goes up with every change that changes the pixels of a view.
_ALGORITHM = 1
#: The brightest pixel.
_WHITE = 255.0
#: Pixels that are sampled at once. What they need stays in the processor's cache; smaller blocks would mean
#: more calls, between which threads wait for each other.
_BLOCK = 45_000
#: Below any difference of colors that matters, and above 0.
_TINY = np.float32(1e-6)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How augmented views are made. A strength of 0 leaves its kind out.

    Attributes:
        crop: the most of each side that is cut off. The window has a random place, a random size and the
            proportions of the image.
        flip: whether half of the views are turned from left to right.
        rotation: the most that the view is turned by about its middle, in full turns, to either side. What
            turns in from outside of the window is image; beyond the image's edges, it is mirrored.
        brightness: the most that is added or taken away, white being 1.
        contrast: the differences from the mean of each channel are multiplied by 1 ± this at most.
        saturation: the HSV saturation is multiplied by 1 ± this at most.
        algorithm: number of the algorithm that makes the pixels.
    """

    # What photos of most things can bear.
    crop: float = 0.2
    flip: bool = True
    rotation: float = 0.03
    brightness: float = 0.1
    contrast: float = 0.2
    saturation: float = 0.2
    algorithm: int = _ALGORITHM

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise BottleneckError(f"the augmentation flip is on or off, True or False, not {self.flip!r}")
        for name, kind in _KINDS.items():
            if kind.strength is not None:
                strength = check_strength(name, kind, getattr(self, name), may_be_off=True)
                object.__setattr__(self, name, strength)  # a float: 0 would have another fingerprint than 0.0

    def __str__(self) -> str:
        """For people: the kinds and their strengths."""
        values = {name: getattr(self, name) for name in _KINDS}
        kinds = [name if value is True else f"{name} {value:g}" for name, value in values.items() if value]
        return ", ".join(kinds) or "none"

    def to_dict(self) -> dict[str, Any]:
        """As it is stored, with the number of the format."""
        return {"format": _FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Augmentation:
        """From what `to_dict` gave.

        Raises:
            BottleneckError: for another format, or other fields than those of this version.
        """
        format, names = facts.get("format"), {field.name for field in dataclasses.fields(cls)}
        if format != _FORMAT:
            raise BottleneckError(
                f"the augmentation is stored in format {format!r} and this version reads format {_FORMAT}: "
                f"use the version that stored it"
            )
        if different := sorted(names ^ (facts.keys() - {"format"})):
            raise BottleneckError(
                f"the stored augmentation and this version do not have the same fields "
                f"({', '.join(different)}): use the version that stored it"
            )
        return cls(**{name: facts[name] for name in names})

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the pixels of an image's views: 16 hex digits."""
        facts = dataclasses.asdict(self)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: Augmentation) -> dict[str, tuple[Any, Any]]:
        """The facts that decide the pixels and are not the same: name to (own, other's)."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


_KINDS = {
    "crop": Kind("the most of each side that is cut off", Augmentation.crop, 0.5),
    "flip": Kind("", None, 0),
    "rotation": Kind("the most that a view is turned by, in full turns", Augmentation.rotation, 0.5),
    "brightness": Kind("the most that is added, white being 1", Augmentation.brightness, 1),
    "contrast": Kind("the most that the factor of contrast differs from 1", Augmentation.contrast, 1),
    "saturation": Kind("the most that the factor of saturation differs from 1", Augmentation.saturation, 1),
}


def parse_augmentation(given: Iterable[str] | None) -> Augmentation:
    """An augmentation from text such as `["flip", "crop=0.2"]`; kinds that are not named are off.

    Args:
        given: names, with `=STRENGTH` or without; None for the default.

    Raises:
        BottleneckError: for an unknown name, a strength out of range, or nothing but `none`.
    """
    if given is None:
        return Augmentation()
    texts = [text.strip() for text in given]
    if texts in ([], ["none"]):
        raise BottleneckError(
            f"augmented views without augmentation would be copies: choose from {', '.join(_KINDS)}, "
            f"or ask for no views, `views=0`"
        )
    strengths = parse_strengths(texts, _KINDS)
    off = {name: False if kind.strength is None else 0.0 for name, kind in _KINDS.items()}
    on = {name: True if strength is None else strength for name, strength in strengths.items()}
    return Augmentation(**{**off, **on})  # type: ignore[arg-type]


class Drawn(NamedTuple):
    """What is done to an image for one of its views.

    Attributes:
        left, top, side: the window, as shares of the image's width, height, and both.
        flipped: from left to right.
        angle: in full turns.
        brightness: what is added, white being 1.
        contrast, saturation: factors.
    """

    left: float
    top: float
    side: float
    flipped: bool
    angle: float
    brightness: float
    contrast: float
    saturation: float


def draw(augmentation: Augmentation, image_id: str, view: int) -> Drawn:
    """The same for the same arguments, always and everywhere."""

    def uniform(what: str) -> float:
        """From 0 up to 1, with the 53 bits that a float holds.

        Straight from a hash: what random number generators give may change with their versions.
        """
        digest = hashlib.sha256(f"{image_id}/{view}/{what}".encode()).digest()
        return (int.from_bytes(digest[:8], "big") >> 11) / 2**53

    def around(middle: float, strength: float, what: str) -> float:
        return middle + strength * (2 * uniform(what) - 1)

    side = 1 - augmentation.crop * uniform("side")
    return Drawn(
        left=(1 - side) * uniform("left"),
        top=(1 - side) * uniform("top"),
        side=side,
        flipped=augmentation.flip and uniform("flip") < 0.5,
        angle=around(0, augmentation.rotation, "rotation"),
        brightness=around(0, augmentation.brightness, "brightness"),
        contrast=around(1, augmentation.contrast, "contrast"),
        saturation=around(1, augmentation.saturation, "saturation"),
    )


def augment(
    pixels: np.ndarray, out: np.ndarray, augmentation: Augmentation, image_id: str, view: int
) -> None:
    """Write one augmented view of an image into `out`.

    Args:
        pixels: uint8 (h, w, 3), as decoded. Not contiguous, they are copied, at each call.
        out: float32 (height, width, 3), contiguous; gets values from 0 to 255.
        image_id: sha256 of the encoded bytes, hex.
        view: number of the view, from 1.

    Raises:
        BottleneckError: where the augmentation is of an algorithm that this version does not have.
    """
    if out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError("augment needs a contiguous float32 array to write to")
    if augmentation.algorithm != _ALGORITHM:
        raise BottleneckError(
            f"the augmented views were made by algorithm {augmentation.algorithm} and this version has "
            f"algorithm {_ALGORITHM}: use the version that made them, or a new table"
        )
    drawn = draw(augmentation, image_id, view)
    # One plane for each channel: NumPy is several times slower on rows of three.
    planes = np.empty((3, *out.shape[:2]), np.float32)
    _sample(np.ascontiguousarray(pixels), planes, drawn)
    _recolor(planes, drawn)
    for channel, plane in enumerate(planes):
        np.clip(plane, 0, np.float32(_WHITE), out=out[..., channel])  # from rounding


def _sample(pixels: np.ndarray, planes: np.ndarray, drawn: Drawn) -> None:
    """The view's pixels before its colors are changed, float32 (3, height, width)."""
    old, (height, width) = pixels.shape[:2], planes.shape[1:]
    (x_by_x, x_by_y, x_first), (y_by_x, y_by_y, y_first) = _affine(drawn, old, (height, width))
    columns, rows = np.arange(width), np.arange(height)
    across = [(by_x * columns).astype(np.float32)[None] for by_x in (x_by_x, y_by_x)]
    down = [
        (by_y * rows + first).astype(np.float32)[:, None]
        for by_y, first in ((x_by_y, x_first), (y_by_y, y_first))
    ]
    step = max(1, _BLOCK // width)
    for start in range(0, height, step):
        block = slice(start, start + step)
        x, y = (along + below[block] for along, below in zip(across, down, strict=True))
        _sample_block(pixels, x, y, planes[:, block])


def _affine(drawn: Drawn, old: tuple[int, int], new: tuple[int, int]) -> tuple[tuple[float, ...], ...]:
    """From a pixel of the view to the place that it comes from. Whole numbers are the centers of pixels.

    The window is resized to the view, the view is turned about its middle and then flipped. So an image that
    is squeezed into a square is turned as a square, as Keras's layers do it after the resize.

    Args:
        old, new: height and width of the image, and of the view.

    Returns:
        For x and for y: the factors of the view's x and y, and the place that its first pixel comes from.
    """
    (old_height, old_width), (height, width) = old, new
    cos, sin = math.cos(math.tau * drawn.angle), math.sin(math.tau * drawn.angle)
    mirror = -1 if drawn.flipped else 1
    x_scale, y_scale = drawn.side * old_width / width, drawn.side * old_height / height
    x_middle = (drawn.left + drawn.side / 2) * old_width - 0.5
    y_middle = (drawn.top + drawn.side / 2) * old_height - 0.5
    x_by_x, x_by_y = x_scale * cos * mirror, -x_scale * sin
    y_by_x, y_by_y = y_scale * sin * mirror, y_scale * cos
    x_half, y_half = (width - 1) / 2, (height - 1) / 2
    return (
        (x_by_x, x_by_y, x_middle - x_by_x * x_half - x_by_y * y_half),
        (y_by_x, y_by_y, y_middle - y_by_x * x_half - y_by_y * y_half),
    )


def _sample_block(pixels: np.ndarray, x: np.ndarray, y: np.ndarray, planes: np.ndarray) -> None:
    """Bilinear between the four pixels around each place; overwrites `x` and `y`."""
    height, width = pixels.shape[:2]
    _reflect(x, width)
    _reflect(y, height)
    left, index = x.astype(np.intp), y.astype(np.intp)
    x -= left
    y -= index
    index *= width
    index += left
    index *= 3
    both = x * y
    y -= both
    x -= both
    neither = 1 - x
    neither -= y
    neither -= both
    values = pixels.reshape(-1)
    # At the last column or row the neighbor has no share: whichever value stands there, and "clip", will do.
    right, below = 3 * (width > 1), 3 * width * (height > 1)
    for channel, plane in enumerate(planes):
        np.multiply(values[channel:].take(index, mode="clip"), neither, out=plane)
        for offset, share in ((right, x), (below, y), (right + below, both)):
            plane += values[channel + offset :].take(index, mode="clip") * share


def _reflect(position: np.ndarray, size: int) -> None:
    """Places beyond a side of `size` pixels, mirrored at its edges as often as it takes: dcba|abcd|dcba."""
    position += np.float32(0.5)
    periods = position * np.float32(0.5 / size)
    np.rint(periods, out=periods)
    periods *= np.float32(2 * size)
    position -= periods
    np.abs(position, out=position)
    position -= np.float32(0.5)
    np.clip(position, 0, np.float32(size - 1), out=position)


def _recolor(planes: np.ndarray, drawn: Drawn) -> None:
    """As `tf.image.adjust_brightness`, `adjust_contrast`, a clip, and `adjust_saturation`; in place.

    The saturation of HSV is 1 - min/max. To multiply it, to 1 at most, moves each channel toward the largest
    or away from it. Without the clip, a factor of 1 would change the colors that have left the range.
    """
    for plane in planes:
        mean = float(plane.mean())
        plane *= np.float32(drawn.contrast)
        plane += np.float32(mean * (1 - drawn.contrast) + _WHITE * drawn.brightness)
    np.clip(planes, 0, np.float32(_WHITE), out=planes)
    largest = planes.max(axis=0)
    factor = largest - planes.min(axis=0)
    np.maximum(factor, _TINY, out=factor)
    np.divide(largest, factor, out=factor)
    np.minimum(factor, np.float32(drawn.saturation), out=factor)
    for plane in planes:
        plane -= largest
        plane *= factor
        plane += largest
