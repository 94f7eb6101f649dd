"""What a feature is: the recipe by which it was computed, and the fingerprint of each column.

Two features can be compared, mixed in a table, or fed to one head only when they were made the
same way. `FeatureRecipe` says which way that was; `fingerprint` is its short form, kept with every
feature column and with every head, and `check_column` is the one place where two of them meet.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from features.errors import BottleneckError
from features.text import differences_text

#: Width of each layer's features after global average pooling, in the order of the network.
#: https://github.com/keras-team/keras/blob/master/keras/src/applications/inception_v3.py
LAYER_WIDTHS: dict[str, int] = {
    "mixed0": 256,
    "mixed1": 288,
    "mixed2": 288,
    "mixed3": 768,
    "mixed4": 768,
    "mixed5": 768,
    "mixed6": 768,
    "mixed7": 768,
    "mixed8": 1280,
    "mixed9": 2048,
    "avg_pool": 2048,
}

#: `mixed10`, average-pooled, is what Keras calls `avg_pool`: one column, not two.
_ALIASES = {"mixed10": "avg_pool"}


def parse_layers(layers: str | Iterable[str]) -> tuple[str, ...]:
    """Layer names, checked, without repetition and in the order of the network.

    Args:
        layers: names such as `["mixed8", "avg_pool"]`, or one string with commas between them.

    Raises:
        BottleneckError: for an unknown name; the message lists the right ones.
    """
    names = layers.split(",") if isinstance(layers, str) else list(layers)
    wanted = {_ALIASES.get(name.strip(), name.strip()) for name in names if name.strip()}
    unknown = sorted(wanted - LAYER_WIDTHS.keys())
    if unknown or not wanted:
        found = f"unknown layer {', '.join(map(repr, unknown))}" if unknown else "no layer was named"
        raise BottleneckError(f"{found}: choose from {', '.join([*LAYER_WIDTHS, *_ALIASES])}")
    return tuple(name for name in LAYER_WIDTHS if name in wanted)


@dataclasses.dataclass(frozen=True)
class FeatureRecipe:
    """How features are computed from an image's bytes.

    Attributes:
        weights: name of the weights: `imagenet`, `random`, or the stem of a file's name.
        weights_sha256: hash over the backbone's arrays (not over the file that held them).
        precision: `float32` or `bfloat16`, of the arithmetic; features are always stored as float32.
        exif_orientation: whether a photo is turned as its EXIF data say before it is resized.
        backbone, input_size, resize: fixed today; kept so that a later change shows.
    """

    weights: str
    weights_sha256: str
    precision: str = "float32"
    exif_orientation: bool = False
    backbone: str = "inception_v3"
    input_size: int = 299
    resize: str = "bilinear"

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> FeatureRecipe:
        return cls(**facts)

    def fingerprint(self, layer: str) -> str:
        """Hash of everything that decides the numbers in `layer`'s column: 16 hex digits.

        The name of the weights is left out: the same arrays in another file are the same weights.
        """
        facts = self.to_dict() | {"layer": layer}
        del facts["weights"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: FeatureRecipe) -> dict[str, tuple[Any, Any]]:
        """The facts that decide the numbers and are not the same: name to (own, other's)."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {k: (mine[k], theirs[k]) for k in mine if k != "weights" and mine[k] != theirs[k]}


class Column(NamedTuple):
    """A feature column: one layer under one recipe."""

    recipe: FeatureRecipe
    layer: str

    @property
    def fingerprint(self) -> str:
        return self.recipe.fingerprint(self.layer)

    @property
    def width(self) -> int:
        """How many features there are."""
        return LAYER_WIDTHS[self.layer]


def check_column(expected: Column, found: Column, *, user: str) -> str | None:
    """Refuse features that were made another way than those something was built on.

    Args:
        expected: the column that `user` was built on.
        found: the column it is now given.
        user: who asks, for the message: `head 20261124-…`.

    Returns:
        None when both are the same, or a notice when they differ in precision alone.

    Raises:
        BottleneckError: for any other difference; the message names each.
    """
    if expected.fingerprint == found.fingerprint:
        return None
    differences = expected.recipe.differences(found.recipe)
    if expected.layer != found.layer:
        differences["layer"] = (expected.layer, found.layer)
    if differences.keys() == {"precision"}:
        was, now = differences["precision"]
        return f"{user} was built on {was} features and is given {now} ones: close, but not the same numbers"
    raise BottleneckError(f"{user} was built on features made another way: {differences_text(differences)}")
