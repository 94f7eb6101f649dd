"""Images listed in a CSV file: `uri,label[,label…]`, or with the header `uri,labels[,split]`.

The first form is that of Google's cloudml-samples. With a header, several labels are separated by `|`,
and the split may be left blank. Relative uris count from the CSV's folder. Each line is an image,
whatever its extension.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from features.errors import BottleneckError
from features.inputs.reference import Listing, image_ref
from features.splits import given_splits, parse_split

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class _Row(NamedTuple):
    line: int
    uri: str
    labels: tuple[str, ...]
    split: str | None


def list_csv(path: str) -> Listing:
    """List the images of a CSV file.

    Args:
        path: absolute path of the CSV, in UTF-8.

    Raises:
        BottleneckError: for an empty file, a missing column, a split of unknown name, a remote uri, or one
            image with two different sets of labels or splits; the message names the line.
    """
    rows: dict[str, _Row] = {}
    repeated = 0
    for row in _read(path):
        first = rows.setdefault(row.uri, row)
        if first is row:
            continue
        if set(first.labels) != set(row.labels) or first.split != row.split:
            raise BottleneckError(
                f"{path}, lines {first.line} and {row.line}: {row.uri} is given twice, as {_told(first)} and "
                f"as {_told(row)}; give each image once, with all of its labels on one line"
            )
        repeated += 1
    if not rows:
        raise BottleneckError(f"{path} lists no images: expected lines of uri,label")
    splits = {row.split for row in rows.values() if row.split}
    if all(row.split for row in rows.values()):
        given, notices = given_splits(splits)
    else:  # the images without a split make up what is missing
        given, notices = {split: split for split in splits}, []
    images = [image_ref(r.uri, r.labels, given[r.split] if r.split else None) for r in rows.values()]
    if repeated:
        notices.append(f"{repeated} lines repeat an image, which is taken once")
    return Listing(path, sorted(images, key=attrgetter("uri")), 0, notices)


def _read(path: str) -> Iterator[_Row]:
    folder = os.path.dirname(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, skipinitialspace=True)
            header: list[str] | None = None
            for number, cells in enumerate(lines):
                cells = [cell.strip() for cell in cells]
                where = f"{path}, line {lines.line_num}"
                if number == 0 and "uri" in (cell.lower() for cell in cells):
                    header = _header(cells, where)
                elif any(cells):
                    yield _row(cells, header, folder, where, lines.line_num)
    except UnicodeDecodeError as error:
        raise BottleneckError(f"{path} is not in UTF-8 ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise BottleneckError(f"{path}, line {lines.line_num}: {error}") from error
    except OSError as error:
        raise BottleneckError(f"{path} can't be read: {error.strerror}") from error


def _header(cells: list[str], where: str) -> list[str]:
    header = ["labels" if cell.lower() == "label" else cell.lower() for cell in cells]
    if "labels" not in header:
        raise BottleneckError(
            f"{where}: found the columns {', '.join(cells)}, expected uri,labels or uri,labels,split"
        )
    return header


def _row(cells: list[str], header: list[str] | None, folder: str, where: str, line: int) -> _Row:
    if header is None:
        uri, labels, split = cells[0], cells[1:], ""
    else:
        if len(cells) > len(header):
            raise BottleneckError(
                f"{where}: found {len(cells)} cells, expected {len(header)} ({','.join(header)}); "
                "separate labels by | and quote cells with a comma in them"
            )
        row = dict(zip(header, cells, strict=False))
        uri, labels, split = row["uri"], row.get("labels", "").split("|"), row.get("split", "")
    if not uri:
        raise BottleneckError(f"{where}: found no uri, expected a path")
    if _REMOTE.match(uri):
        raise BottleneckError(f"{where}: {uri} is remote, which is not supported yet; copy the images first")
    if split and not parse_split(split):
        raise BottleneckError(f"{where}: found the split {split!r}, expected train, validation, test or none")
    path = os.path.abspath(os.path.join(folder, os.path.expanduser(uri)))
    names = tuple(dict.fromkeys(name for label in labels if (name := label.strip())))
    return _Row(line, path, names, parse_split(split))


def _told(row: _Row) -> str:
    labels = "|".join(row.labels) or "no label"
    return f"{labels} ({row.split})" if row.split else labels
