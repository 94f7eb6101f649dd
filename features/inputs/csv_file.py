"""Images listed in a file: a CSV with or without a header, or plain text with a path on each line.

Without a header a line is `uri,label[,label…]`, as in Google's cloudml-samples. With one, columns are known
by the names that people use (`features.inputs.columns`); several labels in a cell are separated by `|`.
Relative paths count from the file's folder. Each line is an image, whatever its extension. What was
understood is said in a notice; what is not understood is an error that names the line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features import files
from features.errors import BottleneckError, InputShrunk
from features.inputs.columns import Columns, find_columns, known_names
from features.inputs.listing import LISTING_SCHEMA, ColumnBuilder, Form, Listing
from features.inputs.paths import PathFinder
from features.inputs.records import Record, Records, read_lines, read_records
from features.inputs.walk import is_image_name
from features.locations import local_path
from features.schemas import to_schema
from features.splits import given_splits, parse_split
from features.text import counted, printable

#: Images with the line that each stands on.
_ROWS_SCHEMA = LISTING_SCHEMA.append(pa.field("line", pa.int64()))


def list_csv(path: str, *, labelled: bool = True) -> Listing:
    """List the images of a CSV (`.csv`, `.tsv`) or of a list of paths (`.txt`).

    Args:
        path: absolute path of the file, in UTF-8.
        labelled: whether labels, splits and groups are wanted; without them, columns that are not known do
            not matter.

    Raises:
        BottleneckError: for an empty file, columns that are not known, a quote that is not closed, a split
            of unknown name, a remote uri, a path that fits several files, or one image with two different
            sets of labels, splits or groups; the message names the line.
    """
    name = printable(path)
    if path.lower().endswith(".txt"):
        records, separator, columns = read_lines(path), "", Columns(0, (), None, None)
    else:
        records, separator = read_records(path)
        if all(len(record.cells) == 1 for record in records):
            separator = ""
        columns = find_columns(records, path, labelled=labelled)
    finder = PathFinder(os.path.dirname(path))
    builder = ColumnBuilder(_ROWS_SCHEMA)
    for row in _rows(columns.records(records), columns, finder, name, labelled):
        builder.add(*row)
    rows = builder.table()
    if not len(rows):
        raise InputShrunk(f"{name} lists no images: expected lines of uri,label")
    _refuse_header_without_file(records, columns, rows, name)
    once = _each_once(rows, name)
    hint = columns.group_hint() if labelled else ""
    notices = [_understood(path, separator, columns, finder, once) + hint]
    if repeated := len(rows) - len(once):
        notices.append(f"{counted(repeated, 'line repeats', 'lines repeat')} an image, which is taken once")
    images, about_splits = _with_splits(once)
    return Listing(path, images.select(LISTING_SCHEMA.names).sort_by("uri"), 0, notices + about_splits)


def _refuse_header_without_file(records: Records, columns: Columns, rows: pa.Table, name: str) -> None:
    """A first line that is no file and has no image's extension, before lines that are files, is a header."""
    sizes, first = rows.column("size"), rows.slice(0, 1).to_pylist()[0]
    suspect = columns.header is None and first["size"] is None and not is_image_name(first["uri"])
    if suspect and sizes.null_count < len(sizes):
        raise BottleneckError(
            f"{name}, line {first['line']}: there is no file '{printable(records.first.cells[0])}', "
            f"as there is for other lines: if this is a header, "
            f"name its columns as they are known ({known_names()})"
        )


def _rows(
    records: Records, columns: Columns, finder: PathFinder, name: str, labelled: bool
) -> Iterator[tuple[object, ...]]:
    """The values of `_ROWS_SCHEMA` of each record."""
    for record in records:
        where = f"{name}, line {record.line}"
        path = record.cells[columns.path]
        if not path:
            raise BottleneckError(f"{where}: there is no path")
        split = _split_of(record, columns, where) if labelled else None
        group = (columns.group_of(record) or None) if labelled else None
        labels = columns.labels_of(record) if labelled else ()
        uri, facts = finder.find(path, where)
        yield uri, labels, split, group, facts.size, facts.modified_at, record.line


def _split_of(record: Record, columns: Columns, where: str) -> str | None:
    given = columns.split_of(record)
    split = parse_split(given) if given else None
    if given and not split:
        raise BottleneckError(
            f"{where}: found the split '{printable(given)}', "
            f"expected train, validation, test or an empty cell"
        )
    return split


def _each_once(rows: pa.Table, name: str) -> pa.Table:
    """The first row of each image; refuses another one that says something else of it."""
    numbered = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
    groups = numbered.group_by("uri", use_threads=False).aggregate([("row", "min"), ("row", "count")])
    if len(groups) == len(rows):
        return rows
    repeated = groups.filter(pc.greater(groups.column("row_count"), 1)).column("uri")
    firsts: dict[str, dict[str, Any]] = {}
    for row in rows.filter(pc.is_in(rows.column("uri"), repeated.combine_chunks())).to_pylist():
        first = firsts.setdefault(row["uri"], row)
        same_use = first["split"] == row["split"] and first["group"] == row["group"]
        if not same_use or set(first["labels"]) != set(row["labels"]):
            raise BottleneckError(
                f"{name}, lines {first['line']} and {row['line']}: {printable(row['uri'])} is given twice, "
                f"as {_described(first)} and as {_described(row)}; "
                f"give each image once, with all of its labels on one line"
            )
    return rows.take(groups.column("row_min"))


def _with_splits(rows: pa.Table) -> tuple[pa.Table, list[str]]:
    """The images with what their splits count as, and notices."""
    column = rows.column("split")
    splits = set(column.unique().drop_null().to_pylist())
    if column.null_count and not ("train" in splits and len(splits) > 1):
        return rows, []  # the images without a split make up what is missing
    given, notices = given_splits(splits)
    names = pa.array(given, pa.string())
    counted_as = pa.array(given.values(), pa.string()).take(pc.index_in(column, names).combine_chunks())
    return to_schema(rows, _ROWS_SCHEMA, split=counted_as), notices


def _understood(path: str, separator: str, columns: Columns, finder: PathFinder, rows: pa.Table) -> str:
    """What was made of the file, in a line."""
    parts = [counted(len(rows), "image"), *([f"separated by {separator}"] if separator else [])]
    alone = "without a header" if separator else "a path on each line"
    parts += columns.described(finder.changes, alone=alone)
    unlabelled = pc.sum(pc.equal(pc.list_value_length(rows.column("labels")), 0)).as_py()
    if 0 < unlabelled < len(rows):
        parts.append(f"{unlabelled:,} without a label")
    ungrouped = rows.column("group").null_count
    if 0 < ungrouped < len(rows):
        parts.append(f"{ungrouped:,} without a group")
    return f"{printable(os.path.basename(path))}: {', '.join(parts)}{columns.unused()}"


def _described(row: dict[str, Any]) -> str:
    labels = printable("|".join(row["labels"])) or "no label"
    facts = [row["split"]] if row["split"] else []
    facts += [f"group {printable(row['group'])}"] if row["group"] else []
    return f"{labels} ({', '.join(facts)})" if facts else labels


LIST = Form(
    "a CSV file (uri,label or with a header), a text file with a path on each line",
    lambda data: local_path(data).lower().endswith((".csv", ".tsv", ".txt")) and files.is_file(data),
    lambda data, request: list_csv(local_path(data), labelled=request.labelled),
)
