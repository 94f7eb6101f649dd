from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BottleneckError
from features.inputs.records import Record, read_lines, read_records, read_text

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that each test writes anew."""
    return tmp_path_factory.mktemp("records") / "images.csv"


def records_of(path: Path, text: str | bytes) -> tuple[list[Record], str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    records, separator = read_records(str(path))
    assert len(records) == len(list(records))
    return list(records), separator


def cells_of(path: Path, text: str | bytes) -> list[tuple[str, ...]]:
    return [record.cells for record in records_of(path, text)[0]]


def refusal(path: Path, text: str | bytes) -> str:
    """What a file is refused with, after its name."""
    with pytest.raises(BottleneckError) as caught:
        records_of(path, text)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def test_records_know_their_lines_and_have_no_spaces_around_their_cells(path: Path) -> None:
    text = '\na.jpg, daisy , "red, pink"\n , \n\t\n"b.jpg","in\nfull","x\ny"\nc.jpg\n'
    assert records_of(path, text) == (
        [
            Record(2, 2, ("a.jpg", "daisy", "red, pink")),
            Record(5, 7, ("b.jpg", "in\nfull", "x\ny")),
            Record(8, 8, ("c.jpg",)),
        ],
        "commas",
    )


def test_shorter_records_are_padded_and_longer_ones_are_kept(path: Path) -> None:
    path.write_text("uri,label\na.jpg\nb.jpg,rose,red\n")
    records, _ = read_records(str(path))
    assert (records.first, len(records)) == (Record(1, 1, ("uri", "label")), 3)
    below = records.padded(2).after_first()
    assert (below.first, len(below)) == (Record(2, 2, ("a.jpg", "")), 2)
    assert [record.cells for record in below] == [("a.jpg", ""), ("b.jpg", "rose", "red")]
    assert [record.cells for record in records.after_first().padded(3)] == [
        ("a.jpg", "", ""),
        ("b.jpg", "rose", "red"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("separator", SEPARATORS)
def test_usual_separators_line_ends_and_marks(path: Path, separator: str, mark: str, end: str) -> None:
    rows = [("uri", "label"), ("a.jpg", "gänse"), ("b.jpg", "")]
    text = mark + "".join(separator.join(row) + end for row in rows)
    expected = [Record(line, line, row) for line, row in enumerate(rows, 1)]
    assert records_of(path, text) == (expected, SEPARATORS[separator])
    assert records_of(path, text.removesuffix(end)) == (expected, SEPARATORS[separator])


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("", "commas"),
        ("a.jpg\nb.jpg\n", "commas"),
        ("a;b,c\nd;e,f\n", "commas"),  # both fit
        ("a;b,c\nd;e\n", "semicolons"),  # the same number of cells on each line, before any other
        ("a;b,c;d\ne,f;g\n", "commas"),
        ("a;b;c,d\ne;f\n", "semicolons"),  # on each line, before one that is not
        ("a,b\nc\nd\te\n", "commas"),
        ("a\tb\nc\nd,e\n", "tabs"),  # only what the first line has
        ("\n\n  \na;b\n\nc;d\n", "semicolons"),  # empty lines tell nothing
        ('"a.jpg";"daisy, red"\n"b.jpg";"rose"\n', "semicolons"),
        ('"a,b";"c\nd,e";f\ng;h;i\n', "semicolons"),  # a quote that is closed on another line
        ("a,b\n" * 50 + "c,d;e\n" * 9, "commas"),
        ("a;b,c\n" + "d;e,f\n" * 49 + "g;h\n", "commas"),  # fifty lines are looked at
        ("a;b,c\n" + "d;e,f\n" * 48 + "g;h\n", "semicolons"),
    ],
)
def test_the_separator_is_the_one_that_fits_the_first_lines(path: Path, text: str, separator: str) -> None:
    assert records_of(path, text)[1] == separator


def test_quotes_within_cells_stay(path: Path) -> None:
    assert cells_of(path, 'a.jpg,5" rose\nb.jpg, "the ""red"" one"\n') == [
        ("a.jpg", '5" rose'),
        ("b.jpg", 'the "red" one'),
    ]


@pytest.mark.parametrize("opened", ['b.jpg,"rose', '"b.jpg,rose'])
def test_a_stray_quote_names_its_line_and_swallows_nothing(path: Path, opened: str) -> None:
    rows = [f"{name}.jpg,rose" for name in "acdef"]
    text = "\n".join(["uri,labels", rows[0], opened, *rows[1:]])
    assert refusal(path, text) == ", line 3: a quote is opened and not closed"
    assert refusal(path, f'{text}\ng.jpg,rose"\n') == (
        ", line 3: a quote is opened that is closed on line 8 only, "
        "with other rows in between ('c.jpg,rose'): close it, or remove it"
    )
    assert refusal(path, f'{text}\ng.jpg,"rose"\n') == ", line 3: ',' expected after '\"'"


def test_cells_of_several_lines_may_hold_what_is_no_row(path: Path) -> None:
    for cell in ("a daisy,\nin full bloom", "one\n\ntwo, three\n"):
        assert cells_of(path, f'uri,text,label\na.jpg,"{cell}",daisy\n')[1] == (
            "a.jpg",
            cell.strip(),
            "daisy",
        )
    assert cells_of(path, '"uri","a\nb"\n"x","c\nd"\n') == [("uri", "a\nb"), ("x", "c\nd")]
    swallowed = ", line 2: a quote is opened that is closed on line 3 only, with other rows in between "
    assert refusal(path, 'uri,text,label\na.jpg,"b\nc.jpg,d,e",daisy\n') == (
        f"{swallowed}('c.jpg,d,e'): close it, or remove it"
    )
    assert refusal(path, f'uri\na.jpg,"b\n{"c," * 60}"\n') == (
        f"{swallowed}('{'c,' * 30}'): close it, or remove it"
    )
    # A first record of several lines does not tell how many cells a row has.
    assert refusal(path, '"a.jpg","b\nc.jpg,d","e"\n').startswith(
        ", line 1: a quote is opened that is closed on line 2 only, with other rows in between ('c.jpg,d')"
    )


def test_a_cell_too_large_to_be_one(path: Path) -> None:
    assert refusal(path, f"a.jpg,x\n\nb.jpg,{'x' * 200_000}\n") == (
        ", line 3: field larger than field limit (131072)"
    )


def test_text_is_utf8_or_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes("\ufeffgänse\r\n".encode())
    assert read_text(str(path)) == "gänse\r\n"
    assert refusal(path, "a.jpg,gänse".encode("latin-1")) == (
        " is not in UTF-8 (invalid continuation byte at byte 7): save it as UTF-8"
    )
    missing = tmp_path / "none\n.csv"
    with pytest.raises(BottleneckError) as caught:
        read_text(str(missing))
    assert str(caught.value) == rf"{tmp_path}/none\n.csv can't be read: No such file or directory"


def test_lines_are_records_of_one_cell(path: Path) -> None:
    path.write_bytes(b'a, "b".jpg\r\n\n  c.jpg \n\t\nd.jpg')
    assert list(read_lines(str(path))) == [
        Record(1, 1, ('a, "b".jpg',)),
        Record(3, 3, ("c.jpg",)),
        Record(5, 5, ("d.jpg",)),
    ]


CELLS = st.text(st.sampled_from(" ,;\t|\"'#%\\aé漢🌸\u00a0"), max_size=6)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6),
    separator=st.sampled_from(sorted(SEPARATORS)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_what_pythons_csv_writes_is_read_back(
    path: Path,
    rows: list[tuple[str, ...]],
    separator: str,
    quoting: Literal[0, 1, 2],
    end: str,
    encoding: str,
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([("uri", "label", "split"), *rows])
    records, words = records_of(path, file.getvalue().encode(encoding))
    stripped = [tuple(cell.strip() for cell in row) for row in rows]
    assert [record.cells for record in records] == [("uri", "label", "split"), *filter(any, stripped)]
    assert words == SEPARATORS[separator]
