from __future__ import annotations

import pytest

from features.text import counted, differences_text, printable, some


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("gänse 鵝 🪿", "gänse 鵝 🪿"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[31mred\x07\x7f\x9b", r"\x1b[31mred\x07\x7f\x9b"),
        ("\udcff\udc80", r"\xff\x80"),
        ("\u2028\u2029\u202egpj.exe", r"\u2028\u2029\u202egpj.exe"),
        (7, "7"),
    ],
)
def test_what_would_break_a_line_or_a_terminal_is_escaped(text: object, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()


def test_line_ends_can_be_kept() -> None:
    assert printable("a\n\x1bb\n", keep="\n") == "a\n\\x1bb\n"


def test_some_of_a_list() -> None:
    assert some(["a"]) == "a"
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some("abcde") == "a, b, c and 2 more"
    assert some(["a\n", "b"], quote=True) == r"'a\n', 'b'"
    assert some("abcde", shown=4) == "a, b, c, d and 1 more"


def test_a_long_name_is_cut() -> None:
    assert some(["a" * 300, "b" * 301]) == "a" * 300 + ", " + "b" * 299 + "…"
    assert some(["\n" * 200], quote=True) == "'" + r"\n" * 149 + "\\…'"


def test_differences() -> None:
    assert differences_text({"layer": ("mixed3", "avg_pool")}) == "layer was mixed3 and is now avg_pool"
    differences = {"DATA": ("/a\n", None), "weights_sha256": ("a" * 64, "0123456789ab" + "c" * 52)}
    assert differences_text(differences) == (
        r"DATA was /a\n and is now None; weights_sha256 was aaaaaaaaaaaa… and is now 0123456789ab…"
    )


def test_counted() -> None:
    assert [counted(number, "image") for number in (0, 1, 2, 1234)] == [
        "0 images", "1 image", "2 images", "1,234 images",
    ]  # fmt: skip
    assert counted(2, "class", "classes") == "2 classes"
