"""What a feature is: the recipe by which it was computed, and the fingerprint of each column.

Two features can be compared, mixed in a table, or fed to one head only when they were made the
same way. `FeatureRecipe` says which way that was; `fingerprint` is its short form, kept with every
feature column and with every head, and `check_column` is the one place where two of them meet.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, NamedTuple

from features.backbones import DEFAULT_BACKBONE, get_backbone
from features.errors import BottleneckError
from features.text import differences_text

#: What the arithmetic of features may be of.
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class FeatureRecipe:
    """How features are computed from an image's bytes.

    Attributes:
        weights: name of the weights: `imagenet`, `random`, or the stem of a file's name.
        weights_sha256: hash over the backbone's arrays (not over the file that held them).
        precision: `float32` or `bfloat16`, of the arithmetic; features are always stored as float32.
        exif_orientation: whether a photo is turned as its EXIF data say before it is resized.
        backbone: name of the network (`features.backbones.BACKBONES`).
        input_size: side of the square that the network takes, in pixels: the backbone's.
        resize: how images are brought to that size.
    """

    weights: str
    weights_sha256: str
    precision: str = "float32"
    exif_orientation: bool = False
    backbone: str = DEFAULT_BACKBONE
    input_size: int = 0
    resize: str = "bilinear"

    def __post_init__(self) -> None:
        if not self.input_size:
            object.__setattr__(self, "input_size", get_backbone(self.backbone).input_size)

    def __str__(self) -> str:
        """For people: the network, the weights and the precision."""
        sha256 = f"sha256 {self.weights_sha256[:12]}…"
        return f"{self.backbone}, weights {self.weights} ({sha256}), {self.precision}"

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
        return get_backbone(self.recipe.backbone).layers[self.layer]


def check_column(expected: Column, given: Column, *, user: str) -> str | None:
    """Refuse features that were made another way than those something was built on.

    Args:
        expected: the column that `user` was built on.
        given: the column it gets now.
        user: who asks, for the message: `head 20261124-…`.

    Returns:
        None when both are the same, or a notice when they differ in precision alone.

    Raises:
        BottleneckError: for any other difference; the message names each.
    """
    if expected.fingerprint == given.fingerprint:
        return None
    differences = expected.recipe.differences(given.recipe)
    if expected.layer != given.layer:
        differences["layer"] = (expected.layer, given.layer)
    if differences.keys() == {"precision"}:
        was, now = differences["precision"]
        return f"{user} was built on {was} features and is given {now} ones: close, but not the same numbers"
    raise BottleneckError(f"{user} was built on features made another way: {differences_text(differences)}")
