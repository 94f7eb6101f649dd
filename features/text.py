"""Names that users gave, made fit for a line of text: of a terminal, a log or an error."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping

#: Control characters, surrogates (bytes that are not UTF-8), separators of lines and paragraphs, and what
#: changes the direction of writing: https://www.unicode.org/reports/tr44/#General_Category_Values
_NOT_SHOWN = {"Cc", "Cs", "Zl", "Zp"}
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

#: Examples shown of a long list.
_SHOWN = 3
#: Characters shown of one of them; a path should fit.
_LONGEST = 300


def printable(text: object, *, keep: Collection[str] = ()) -> str:
    """`text` with a backslash escape for each character that would break a line or a terminal.

    Args:
        keep: characters to leave as they are, such as the line ends of a text of several lines.
    """
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(c if c in keep or _is_shown(c) else _escaped(c) for c in shown)


def some(names: Iterable[object], *, quote: bool = False, shown: int = _SHOWN) -> str:
    """The first few of `names`, printable, and how many more there are: `a, b, c and 4 more`."""
    texts = [f"'{_short(printable(name))}'" if quote else _short(printable(name)) for name in names]
    more = f" and {len(texts) - shown:,} more" if len(texts) > shown else ""
    return ", ".join(texts[:shown]) + more


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def differences_text(differences: Mapping[str, tuple[object, object]]) -> str:
    """What differs, from name to what it was and is: `layer was mixed3 and is now avg_pool; …`."""
    pairs = differences.items()
    return "; ".join(f"{name} was {_shown(was)} and is now {_shown(now)}" for name, (was, now) in pairs)


def _shown(value: object) -> str:
    """A value for people, who need no more of a hash than its begin."""
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{52}$", r"\1…", printable(value))


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 image`, `2 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _NOT_SHOWN and character not in _DIRECTIONS


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python stands in for a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
