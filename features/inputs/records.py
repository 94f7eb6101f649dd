"""The records of a CSV: which separator it uses, its cells, and the lines that they stand on."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from features import files
from features.errors import BottleneckError
from features.inputs.listing import ColumnBuilder
from features.text import printable

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
#: Lines that tell the separator.
_LOOKED_AT = 50


class Record(NamedTuple):
    """A row of a CSV: lines `line` to `last_line` of the file, and its cells without spaces around them."""

    line: int
    last_line: int
    cells: tuple[str, ...]


_SCHEMA = pa.schema([("line", pa.int64()), ("last_line", pa.int64()), ("cells", pa.list_(pa.string()))])


class Records:
    """The records of a file, kept as columns and given one by one, as often as they are asked for.

    Args:
        rows: lines and cells.
        width: cells that a record has at least: those that it lacks are empty.
    """

    def __init__(self, rows: pa.Table, width: int = 0) -> None:
        self._rows = rows
        self._width = width

    def __len__(self) -> int:
        return self._rows.num_rows

    def __iter__(self) -> Iterator[Record]:
        for batch in self._rows.to_batches():
            for line, last_line, cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield Record(line, last_line, (*cells, *[""] * (self._width - len(cells))))

    @property
    def first(self) -> Record:
        return next(iter(Records(self._rows.slice(0, 1), self._width)))

    def after_first(self) -> Records:
        """All but the first."""
        return Records(self._rows.slice(1), self._width)

    def padded(self, width: int) -> Records:
        """The same, with empty cells where a record has fewer than `width`."""
        return Records(self._rows, width)


def read_text(path: str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        BottleneckError: where it can't be read, or is in another encoding.
    """
    try:
        return files.read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BottleneckError(
            f"{printable(path)} is not in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    except OSError as error:
        raise BottleneckError(f"{printable(path)} can't be read: {files.why(error)}") from error


def read_records(path: str) -> tuple[Records, str]:
    """The records of a CSV that are not empty, and what separates its cells, in words.

    Raises:
        BottleneckError: where a quote is opened and not closed, or swallows other records; with its line.
    """
    text = read_text(path)
    separator = _separator(text)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    rows = ColumnBuilder(_SCHEMA)
    first: Record | None = None
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                record = Record(line, reader.line_num, tuple(cell.strip() for cell in cells))
                first = first or record
                _check_lines(record, first, separator, path)
                rows.add(*record)
            line = reader.line_num + 1
    except csv.Error as error:
        why = "a quote is opened and not closed" if "end of data" in str(error) else str(error)
        raise BottleneckError(f"{printable(path)}, line {line}: {why}") from error
    return Records(rows.table()), _SEPARATORS[separator]


def read_lines(path: str) -> Records:
    """The lines of a text file that are not empty, each a record of one cell."""
    rows = ColumnBuilder(_SCHEMA)
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), 1):
        if line.strip():
            rows.add(number, number, (line.strip(),))
    return Records(rows.table())


def _separator(text: str) -> str:
    """The separator that the first lines have in common: a comma, unless another fits better."""
    lines = [line for line in itertools.islice(io.StringIO(text, newline=None), _LOOKED_AT) if line.strip()]
    cells = {separator: [_cells(line, separator) for line in lines] for separator in _SEPARATORS}
    there = [separator for separator in _SEPARATORS if lines and cells[separator][0] > 1]
    alike = [separator for separator in there if len(set(cells[separator])) == 1]
    everywhere = [separator for separator in there if min(cells[separator]) > 1]
    return [*alike, *everywhere, *there, ","][0]


def _cells(line: str, separator: str) -> int:
    """How many cells a line has; 0 where its quotes do not fit the separator."""
    try:
        return len(next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)))
    except csv.Error as error:
        return line.count(separator) + 1 if "end of data" in str(error) else 0


def _check_lines(record: Record, first: Record, separator: str, path: str) -> None:
    """Refuse a record of several lines that look like records of their own: a stray quote made them one."""
    if record.line == record.last_line:
        return
    cells = len(first.cells) if first.line == first.last_line else 2
    for cell in record.cells:
        swallowed = [line for line in cell.splitlines()[1:] if line.count(separator) >= max(1, cells - 1)]
        if swallowed:
            raise BottleneckError(
                f"{printable(path)}, line {record.line}: a quote is opened that "
                f"is closed on line {record.last_line} only, "
                f"with other rows in between ('{printable(swallowed[0][:60])}'): close it, or remove it"
            )
