"""Figures of an evaluation as text: shares, intervals, differences; and what it lacks as a dash."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

#: Stands for a figure that is not known.
UNKNOWN = "–"
#: The minus sign, which is as wide as the plus.
_MINUS = "\u2212"


def at(mapping: Any, *names: str) -> Any:
    """What an evaluation has under some names, one within the other; None where anything is missing."""
    for each in names:
        if not isinstance(mapping, Mapping):
            return None
        mapping = mapping.get(each)
    return mapping


def items(mapping: Any, *names: str) -> list[Any]:
    """A list of an evaluation; empty where it is missing."""
    found = at(mapping, *names)
    return [each for each in found if each is not None] if isinstance(found, list | tuple) else []


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    return f"{value:,.{digits}f}" if is_number(value) else UNKNOWN


def count(value: Any) -> str:
    return f"{value:,.0f}" if is_number(value) else UNKNOWN


def percent(value: Any) -> str:
    return f"{value:.1%}" if is_number(value) else UNKNOWN


def seconds(value: Any) -> str:
    if not is_number(value):
        return UNKNOWN
    return f"{value:,.1f} s" if value < 120 else f"{value / 60:,.1f} min"


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", _MINUS)


def is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value))


@dataclasses.dataclass(frozen=True)
class Skill:
    """How well heads do, in the measure of this evaluation.

    Attributes:
        name: of the measure; an accuracy is given in percent, others as they are.
    """

    name: str

    @property
    def in_percent(self) -> bool:
        return self.name in ("accuracy", "labels right")

    def text(self, value: Any) -> str:
        return percent(value) if self.in_percent else number(value)

    def interval(self, pair: Any) -> str:
        """Both ends of an interval."""
        return f"{self.text(pair[0])} to {self.text(pair[1])}" if is_pair(pair) else UNKNOWN

    def difference(self, value: Any) -> str:
        if not is_number(value):
            return UNKNOWN
        return f"{signed(value * 100, 1)} points" if self.in_percent else signed(value, 3)

    def differences(self, values: Any) -> str:
        """A difference and the ends of its interval."""
        if not isinstance(values, Sequence) or len(values) != 3 or not all(map(is_number, values)):
            return UNKNOWN
        middle, low, high = values
        scale, digits = (100, 1) if self.in_percent else (1, 3)
        return f"{self.difference(middle)} ({signed(low * scale, digits)} to {signed(high * scale, digits)})"


#: Shares of images are always in percent.
SHARE = Skill("accuracy")


def skill_of(evaluation: Mapping[str, Any]) -> Skill:
    return Skill(str(evaluation.get("skill") or "accuracy"))
