"""The labels of rows: as a table has them, as users see them, and as numbers to learn from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BottleneckError
from features.text import some

#: Numbers that no class has.
_IGNORED, _UNKNOWN = -1, -2


def read_labels(column: pa.ChunkedArray, *, multi_label: bool) -> np.ndarray:
    """The labels of each row, an object ndarray of shape (n,).

    Args:
        column: lists of labels.
        multi_label: give a tuple of str for each row, instead of a str or None.

    Raises:
        BottleneckError: for rows of several labels where one each was asked for.
    """
    counts = pc.list_value_length(column).to_numpy()
    labels = np.full(len(counts), None, object)
    if multi_label:
        labels[:] = [tuple(of_row) for of_row in column.to_pylist()]
        return labels
    if (counts > 1).any():
        raise BottleneckError(
            "the table has images with several labels: `multi_label=True` gives a tuple of them each"
        )
    labels[counts == 1] = pc.list_flatten(column).to_numpy()
    return labels


def have_labels(labels: np.ndarray, classes: Collection[str] | None = None) -> np.ndarray:
    """Which rows have a label, or one of `classes`: bool ndarray of shape (n,).

    Args:
        labels: as `read_labels` gives them.
    """
    if classes is None:
        return _any(labels, lambda label: True)
    return _any(labels, frozenset(classes).__contains__)


def have_others(labels: np.ndarray, than: Collection[str]) -> np.ndarray:
    """Which rows have a label that is not in `than`: bool ndarray of shape (n,)."""
    return _any(labels, lambda label: label not in than)


def _any(labels: np.ndarray, wanted: Callable[[str], bool]) -> np.ndarray:
    several = len(labels) and isinstance(labels[0], tuple)
    has = (
        (lambda of_row: any(map(wanted, of_row)))
        if several
        else (lambda one: one is not None and wanted(one))
    )
    return np.fromiter(map(has, labels), bool, len(labels))


def encode(
    labels: np.ndarray, classes: Sequence[str], *, multi_label: bool, ignored: Collection[str] = ()
) -> np.ndarray:
    """Labels as numbers to learn from.

    Args:
        labels: as `read_labels` gives them.
        classes: the labels that are learned; where `multi_label`, those in `ignored` count for nothing.

    Returns:
        Numbers of the labels in `classes`, int64 of shape (n,); or, where `multi_label`, which labels each
        row has: int8 of shape (n, n_classes), 0 or 1.

    Raises:
        BottleneckError: for other labels.
    """
    numbers = {label: number for number, label in enumerate(classes)}
    if multi_label:
        numbers |= dict.fromkeys(ignored, _IGNORED)
    flat = list(itertools.chain.from_iterable(labels)) if multi_label else labels
    columns = np.fromiter((numbers.get(label, _UNKNOWN) for label in flat), np.int64, len(flat))
    if (columns == _UNKNOWN).any():
        unknown = sorted({str(flat[place]) for place in np.flatnonzero(columns == _UNKNOWN)})
        raise BottleneckError(
            f"this head was not taught the labels {some(unknown, shown=5, quote=True)}: train it again"
        )
    if not multi_label:
        return columns
    y = np.zeros((len(labels), len(classes)), np.int8)
    rows = np.repeat(np.arange(len(labels)), [len(of_row) for of_row in labels])
    y[rows[columns >= 0], columns[columns >= 0]] = 1
    return y
