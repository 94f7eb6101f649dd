"""Kinds of augmentation and their strengths, from text such as `["flip", "crop=0.2"]`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from features.errors import BottleneckError


class HasStrength(Protocol):
    """What is known of the strength of a kind of augmentation: see `Kind`."""

    @property
    def meaning(self) -> str: ...
    @property
    def strength(self) -> float | None: ...
    @property
    def most(self) -> float: ...


class Kind(NamedTuple):
    """One kind of augmentation.

    Attributes:
        meaning: what its strength is, for people.
        strength: the strength where none is given; None for a kind that has none.
        most: the greatest strength.
    """

    meaning: str
    strength: float | None
    most: float


def parse_strengths(
    texts: Iterable[str], kinds: Mapping[str, HasStrength], hint: str = ""
) -> dict[str, float | None]:
    """From name to strength, None for a kind that has none; in the order of `texts`.

    Args:
        texts: names, with `=STRENGTH` or without.
        hint: what else may be given, for the message.

    Raises:
        BottleneckError: for an unknown name, one that is given twice, or a strength out of range.
    """
    strengths: dict[str, float | None] = {}
    for text in texts:
        name, equals, strength = (part.strip() for part in text.partition("="))
        if name not in kinds:
            raise BottleneckError(f"there is no augmentation {name!r}: choose from {', '.join(kinds)}{hint}")
        if name in strengths:
            raise BottleneckError(f"the augmentation {name!r} is given twice")
        kind = kinds[name]
        if not equals:
            strengths[name] = kind.strength
        elif kind.strength is None:
            raise BottleneckError(f"the augmentation {name} takes no strength, and is given {strength!r}")
        else:
            strengths[name] = check_strength(name, kind, strength)
    return strengths


def check_strength(name: str, kind: HasStrength, given: Any, *, may_be_off: bool = False) -> float:
    """The strength that is given.

    Args:
        may_be_off: whether it may be 0.

    Raises:
        BottleneckError: for one that is out of range, or no number.
    """
    try:
        strength = float(given)
    except (TypeError, ValueError):
        strength = math.nan
    if not (0 < strength <= kind.most or (may_be_off and strength == 0)):
        range = f"{'at least' if may_be_off else 'above'} 0 and at most {kind.most:g}"
        raise BottleneckError(f"the augmentation {name} expects {kind.meaning}, {range}, not {given!r}")
    return abs(strength)  # -0.0 is 0.0
