"""The exceptions that users meet, and the exit code of the command for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class BottleneckError(Exception):
    """A fault that the user can mend: what was given, what was expected and what to do, in one sentence.

    Attributes:
        exit_code: what the command ends with, so that a scheduler tells the kinds of failure apart.
        facts: figures for the line of JSON that tells a scheduler of it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, *args: object, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(*args)
        self.facts = dict(facts or {})


class TooManyRejected(BottleneckError):
    """More images gave no features than was allowed; the others are stored."""

    exit_code = 3


class InputShrunk(BottleneckError):
    """The input holds no image, or has lost so many that it looks like a mistake; nothing was changed."""

    exit_code = 4


class MadeAnotherWay(BottleneckError):
    """The table was made another way than is asked for; it never holds features made in two ways."""

    exit_code = 5


class DriftExceeded(BottleneckError):
    """The images of a table have changed more than was allowed since its current head was trained."""

    exit_code = 6


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is none of the known ones, which the message lists."""
    names = list(known)
    if name not in names:
        raise BottleneckError(f"there is no {what} {name!r}: choose from {', '.join(names)}")
