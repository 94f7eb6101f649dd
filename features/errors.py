"""The one exception that users meet."""

from __future__ import annotations

from collections.abc import Iterable


class BottleneckError(Exception):
    """A fault that the user can mend: what was given, what was expected and what to do, in one sentence."""


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is none of the known ones, which the message lists."""
    names = list(known)
    if name not in names:
        raise BottleneckError(f"there is no {what} {name!r}: choose from {', '.join(names)}")
