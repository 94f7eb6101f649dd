"""Images listed in a file: a CSV with or without a header, or plain text with a path on each line.

Without a header a line is `uri,label[,label…]`, as in Google's cloudml-samples. With one, columns are known
by the names that people use (`features.inputs.columns`); several labels in a cell are separated by `|`.
Relative paths count from the file's folder. Each line is an image, whatever its extension. What was
understood is said in a notice; what is not understood is an error that names the line.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from features.errors import BottleneckError
from features.inputs.columns import Columns, find_columns, known_names
from features.inputs.paths import PathFinder
from features.inputs.records import Record, read_records, read_text
from features.inputs.reference import ImageRef, Listing
from features.inputs.walk import is_image_name
from features.splits import given_splits, parse_split
from features.text import counted, printable


class _Row(NamedTuple):
    line: int
    image: ImageRef
    split: str | None


def list_csv(path: str, *, labelled: bool = True) -> Listing:
    """List the images of a CSV (`.csv`, `.tsv`) or of a list of paths (`.txt`).

    Args:
        path: absolute path of the file, in UTF-8.
        labelled: whether labels and splits are wanted; without them, columns that are not known do not
            matter.

    Raises:
        BottleneckError: for an empty file, columns that are not known, a quote that is not closed, a split
            of unknown name, a remote uri, a path that fits several files, or one image with two different
            sets of labels or splits; the message names the line.
    """
    name = printable(path)
    if path.lower().endswith(".txt"):
        records, separator, columns = _lines(path), "", Columns(0, (), None, None)
    else:
        records, separator = read_records(path)
        if all(len(record.cells) == 1 for record in records):
            separator = ""
        columns = find_columns(records, path, labelled=labelled)
    finder = PathFinder(os.path.dirname(path))
    rows: dict[str, _Row] = {}
    repeated = 0
    for row in _rows(records, columns, finder, name, labelled):
        first = rows.setdefault(row.image.uri, row)
        if first is row:
            continue
        if set(first.image.labels) != set(row.image.labels) or first.split != row.split:
            raise BottleneckError(
                f"{name}, lines {first.line} and {row.line}: {printable(row.image.uri)} is given twice, as "
                f"{_described(first)} and as {_described(row)}; "
                f"give each image once, with all of its labels on one line"
            )
        repeated += 1
    if not rows:
        raise BottleneckError(f"{name} lists no images: expected lines of uri,label")
    _refuse_header_without_file(records, columns, list(rows.values()), name)
    notices = [_understood(path, separator, columns, finder, list(rows.values()))]
    if repeated:
        notices.append(f"{counted(repeated, 'line repeats', 'lines repeat')} an image, which is taken once")
    images, about_splits = _with_splits(list(rows.values()))
    return Listing(path, sorted(images, key=attrgetter("uri")), 0, notices + about_splits)


def _lines(path: str) -> list[Record]:
    lines = enumerate(io.StringIO(read_text(path), newline=None), 1)
    return [Record(number, number, (line.strip(),)) for number, line in lines if line.strip()]


def _refuse_header_without_file(records: list[Record], columns: Columns, rows: list[_Row], name: str) -> None:
    """A first line that is no file and has no image's extension, before lines that are files, is a header."""
    first = rows[0]
    suspect = columns.header is None and first.image.size is None and not is_image_name(first.image.uri)
    if suspect and any(row.image.size is not None for row in rows[1:]):
        raise BottleneckError(
            f"{name}, line {first.line}: there is no file '{printable(records[0].cells[0])}', "
            f"as there is for other lines: if this is a header, "
            f"name its columns as they are known ({known_names()})"
        )


def _rows(
    records: list[Record], columns: Columns, finder: PathFinder, name: str, labelled: bool
) -> Iterator[_Row]:
    for record in records if columns.header is None else records[1:]:
        where = f"{name}, line {record.line}"
        uri = record.cells[columns.path]
        if not uri:
            raise BottleneckError(f"{where}: found no path")
        split = _split_of(record, columns, where) if labelled else None
        labels = columns.labels_of(record) if labelled else ()
        yield _Row(record.line, finder.find(uri, where)._replace(labels=labels), split)


def _split_of(record: Record, columns: Columns, where: str) -> str | None:
    given = columns.split_of(record)
    split = parse_split(given) if given else None
    if given and not split:
        raise BottleneckError(
            f"{where}: found the split '{printable(given)}', "
            f"expected train, validation, test or an empty cell"
        )
    return split


def _with_splits(rows: list[_Row]) -> tuple[list[ImageRef], list[str]]:
    """The images with what their splits count as, and notices."""
    splits = {row.split for row in rows if row.split}
    if all(row.split for row in rows) or ("train" in splits and len(splits) > 1):
        given, notices = given_splits(splits)
    else:  # the images without a split make up what is missing
        given, notices = {split: split for split in splits}, []
    return [row.image._replace(split=given[row.split] if row.split else None) for row in rows], notices


def _understood(path: str, separator: str, columns: Columns, finder: PathFinder, rows: list[_Row]) -> str:
    """What was made of the file, in a line."""
    parts = [counted(len(rows), "image"), *([f"separated by {separator}"] if separator else [])]
    parts += columns.described(
        finder.changes, alone="without a header" if separator else "a path on each line"
    )
    unlabelled = sum(not row.image.labels for row in rows)
    if 0 < unlabelled < len(rows):
        parts.append(f"{unlabelled:,} without a label")
    return f"{printable(os.path.basename(path))}: {', '.join(parts)}{columns.unused()}"


def _described(row: _Row) -> str:
    labels = printable("|".join(row.image.labels)) or "no label"
    return f"{labels} ({row.split})" if row.split else labels
