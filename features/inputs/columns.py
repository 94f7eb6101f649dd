"""The columns of a CSV, by the names that people use for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from features.errors import BottleneckError
from features.inputs.records import Record, Records
from features.inputs.walk import is_image_name
from features.splits import parse_split
from features.text import printable, some

#: Names of columns, each list in the order of preference where several are there.
PATHS = (
    *("uri", "filepath", "file_path", "path", "image_path", "img_path", "filename", "file_name", "file"),
    *("image_file", "image_name", "image", "img", "image_id", "id", "url"),
)
LABELS = ("label", "labels", "class", "classes", "class_name", "category", "categories", "dx", "tags")
SPLITS = ("split", "set", "subset")
GROUPS = ("group", "group_id")

#: Names of columns that are often meant as groups, the largest groups first. They are taken for them only
#: once they are renamed: tables were made from files that have them.
_LIKE_GROUPS = (
    *("patient", "patient_id", "subject", "subject_id", "case_id"),
    *("lesion", "lesion_id", "camera", "camera_id"),
)


def known_names() -> str:
    """The names that columns are known by, for messages."""
    return (
        f"paths are known as {', '.join(PATHS)}; labels as {', '.join(LABELS)}; "
        f"splits as {', '.join(SPLITS)}; groups as {', '.join(GROUPS)}"
    )


class Columns(NamedTuple):
    """Where in a record what stands.

    Attributes:
        path, labels, split, group: numbers of the columns; `labels` may be several or none.
        header: the columns' names as they stand in the file; None for a file without a header, in which all
            cells after the path are labels.
    """

    path: int
    labels: tuple[int, ...]
    split: int | None
    header: tuple[str, ...] | None
    group: int | None = None

    def labels_of(self, record: Record) -> tuple[str, ...]:
        """The labels of a row, each once."""
        if self.header is None:
            labels: Iterable[str] = record.cells[1:]
        else:
            cells = [(self.header[number], record.cells[number]) for number in self.labels]
            labels = (label for name, cell in cells for label in _split_labels(name, cell))
        return tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))

    def records(self, records: Records) -> Records:
        """Those below the header; in shorter ones than it, what is missing is empty."""
        return records if self.header is None else records.padded(len(self.header)).after_first()

    def split_of(self, record: Record) -> str:
        return "" if self.split is None else record.cells[self.split]

    def group_of(self, record: Record) -> str:
        return "" if self.group is None else record.cells[self.group]

    def described(self, changes: Collection[str], *, alone: str) -> list[str]:
        """What was taken from where, in a few words each; `alone` where there is no header."""
        changed = f" ({', '.join(changes)})" if changes else ""
        if self.header is None:
            return [f"{alone}{changed}"]
        parts = [f"path from '{printable(self.header[self.path])}'{changed}"]
        if self.labels:
            names = dict.fromkeys(printable(self.header[number]) for number in self.labels)
            times = f" ({len(self.labels)} columns)" if len(self.labels) > len(names) else ""
            parts.append(f"label from {', '.join(repr(name) for name in names)}{times}")
        else:
            parts.append("no labels")
        if self.split is not None:
            parts.append(f"split from '{printable(self.header[self.split])}'")
        if self.group is not None:
            parts.append(f"group from '{printable(self.header[self.group])}'")
        return parts

    def used(self) -> set[int | None]:
        """Numbers of the columns that count, and None."""
        return {self.path, *self.labels, self.split, self.group}

    def unused(self) -> str:
        """The columns that do not count, to end a notice with."""
        header = enumerate(self.header or ())
        names = [name or f"column {number + 1}" for number, name in header if number not in self.used()]
        return f"; not used: {some(names, shown=6)}" if names else ""

    def group_hint(self) -> str:
        """What to do where a column that is not used may be meant as the groups, to end a notice with."""
        names = {_plain(name): name for name in self.header or ()}
        alike = next((names[name] for name in _LIKE_GROUPS if name in names), None)
        if self.group is not None or alike is None:
            return ""
        why = "to keep the images of each on one side of the split"
        if self.split is not None:
            why = "to see whether the splits tear any apart"
        return f"; rename '{printable(alike)}' to 'group' {why}"


def find_columns(records: Records, path: str, *, labelled: bool = True) -> Columns:
    """The columns of a CSV.

    Args:
        records: of the whole file, the header included.
        path: of the file, for messages.
        labelled: whether a column of labels is wanted.

    Raises:
        BottleneckError: for a header whose columns are not known, or a row that does not fit it.
    """
    if not len(records):
        return Columns(0, (), None, None)
    first = records.first
    where = f"{printable(path)}, line {first.line}"
    names = [_plain(cell) for cell in first.cells]
    known = {*PATHS, *LABELS, *SPLITS, *GROUPS}
    if any(map(is_image_name, first.cells)) or not any(name in known or _numbered(name) for name in names):
        _refuse_unknown_header(records, where)
        columns = Columns(0, (), None, None)
        _check_cells(records, columns, path)
        if labelled:
            _refuse_hidden_columns(records, path)
        return columns
    columns = Columns(
        path=_one_of(PATHS, names, first.cells, where),
        labels=_label_columns(names),
        split=next((names.index(name) for name in SPLITS if name in names), None),
        header=first.cells,
        group=next((names.index(name) for name in GROUPS if name in names), None),
    )
    others = len(first.cells) - 1 - (columns.split is not None) - (columns.group is not None)
    if labelled and others and not columns.labels:
        raise BottleneckError(
            f"{where}: no column is known for the labels (found {some(first.cells, shown=8)}): "
            f"{known_names()}; rename one, or leave only the column of the paths where there are no labels"
        )
    _check_cells(records, columns, path)
    if labelled:
        _refuse_flags(records, columns, where)
    return columns


def _one_of(known: Sequence[str], names: list[str], cells: Sequence[str], where: str) -> int:
    for name in known:
        if name in names:
            return names.index(name)
    raise BottleneckError(
        f"{where}: no column is known for the paths (found {some(cells, shown=8)}): {known_names()}; "
        f"rename one"
    )


def _label_columns(names: list[str]) -> tuple[int, ...]:
    """All columns of the first of the labels' names that is there; `label_1`, `label_2` are of one name."""
    for known in LABELS:
        numbers = tuple(place for place, name in enumerate(names) if known in (name, _numbered(name)))
        if numbers:
            return numbers
    return ()


def _refuse_unknown_header(records: Records, where: str) -> None:
    """A first line that names no image, before lines that do, is a header of which nothing is known."""
    first, others = records.first, records.after_first()
    unlike = len(others) and not is_image_name(first.cells[0])
    if unlike and all(is_image_name(other.cells[0]) for other in others):
        raise BottleneckError(
            f"{where}: the columns {some(first.cells, shown=8)} are not known: {known_names()}; rename them"
        )


def _refuse_hidden_columns(records: Records, path: str) -> None:
    """Refuse what would be read as labels in a file without a header, and is something else."""
    paths, others = set(PATHS), {*LABELS, *SPLITS, *GROUPS}
    for record in records:
        if any(map(is_image_name, record.cells)):
            continue
        names = {_plain(cell) for cell in record.cells}
        if names & paths and names & others:
            raise BottleneckError(
                f"{printable(path)}, line {record.line}: a header ({some(record.cells, shown=8)}) "
                f"that is not the first line: remove the lines before it, or this one"
            )
    lasts = [record.cells[-1] for record in records if len(record.cells) > 2]
    if len(lasts) == len(records) > 1 and all(map(parse_split, lasts)):
        raise BottleneckError(
            f"{printable(path)}: the last cell of each line names a split ({some(sorted(set(lasts)))}), "
            f"which a file without a header can't give: put a line such as uri,label,split at its top"
        )


def _refuse_flags(records: Records, columns: Columns, where: str) -> None:
    """Refuse several columns of labels that hold nothing but 0 and 1: each stands for a class."""
    cells = {record.cells[number] for record in columns.records(records) for number in columns.labels}
    if len(columns.labels) > 1 and cells and cells <= {"0", "1", "0.0", "1.0", ""}:
        raise BottleneckError(
            f"{where}: the columns of labels hold only 0 and 1: give the labels by name, "
            f"in one column, separated by |"
        )


def _check_cells(records: Records, columns: Columns, path: str) -> None:
    """Refuse rows of too many cells, and used cells with line breaks."""
    header = columns.header
    used = columns.used()
    name = printable(path)
    for record in records:
        cells = record.cells
        if header is not None and len(cells) > len(header):
            raise BottleneckError(
                f"{name}, line {record.line}: found {len(cells)} cells, expected {len(header)} "
                f"({','.join(map(printable, header))}); "
                "separate labels by | and quote cells with a separator in them"
            )
        if record.line == record.last_line:
            continue
        taken = (cell for place, cell in enumerate(cells) if not header or place in used)
        if any("\n" in cell or "\r" in cell for cell in taken):
            raise BottleneckError(
                f"{name}, line {record.line}: a quote is opened that is closed on line {record.last_line} "
                f"only: close it, or remove it"
            )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower()).strip("_")


def _numbered(name: str) -> str:
    """`label` for `label_1` and `label2`, else nothing."""
    return "label" if re.fullmatch(r"labels?_?\d+", name) else ""


def _split_labels(column: str, cell: str) -> list[str]:
    """Labels are separated by `|`; tags by spaces too, as Kaggle's multi-label sets have them."""
    return cell.split() if _plain(column) == "tags" and "|" not in cell else cell.split("|")
