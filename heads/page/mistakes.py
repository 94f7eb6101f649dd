"""Which classes are taken for which: the whole matrix for few classes, the most confused pairs for many."""

from __future__ import annotations

from typing import Any

import numpy as np

from heads.page.figures import at, count, is_number, items, percent
from heads.page.parts import Block, Cell, Column, Heading, Sentence, Table, columns, name, short

#: Up to this many classes the whole matrix is shown.
_MOST_CLASSES = 20
_MOST_PAIRS = 20


def confusion(metrics: Any) -> list[Block]:
    """The classes that are taken for others; nothing where there is no matrix, as with several labels."""
    matrix, labels = items(metrics, "confusion_matrix"), list(at(metrics, "per_class") or ())
    whole = [
        row
        for row in matrix
        if isinstance(row, list) and len(row) == len(labels) and all(map(is_number, row))
    ]
    if not labels or len(whole) != len(labels):
        return []
    counts: np.ndarray = np.array(whole)
    table = _whole(counts, labels) if len(labels) <= _MOST_CLASSES else _pairs(counts, labels)
    return [Heading("Which class is taken for which"), table]


def _whole(counts: np.ndarray, labels: list[str]) -> Table:
    """A row for each true class; the columns are numbered, to stay narrow."""
    totals = counts.sum(axis=1)
    rows = [
        [
            name(f"{place + 1}\u2002{short(label)}"),
            *(
                Cell(
                    count(int(value)),
                    share=float(value / totals[place]) if totals[place] else 0.0,
                    right=place == other,
                )
                for other, value in enumerate(counts[place])
            ),
        ]
        for place, label in enumerate(labels)
    ]
    numbered = [
        Column(str(place), number=True, spoken=short(label)) for place, label in enumerate(labels, start=1)
    ]
    caption = (
        "Images of each true class (rows) by the class that the head gives (columns, numbered as the rows)"
    )
    return Table(caption, [Column("True class"), *numbered], rows, matrix=True)


def _pairs(counts: np.ndarray, labels: list[str]) -> Block:
    totals = counts.sum(axis=1)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    places = [
        (int(true), int(other)) for true, other in zip(*np.unravel_index(order, wrong.shape), strict=True)
    ]
    rows = [
        [
            name(labels[true]),
            name(labels[other]),
            Cell(f"{count(int(wrong[true, other]))} of {count(int(totals[true]))}"),
            Cell(percent(wrong[true, other] / totals[true])),
        ]
        for true, other in places
        if wrong[true, other]
    ]
    if not rows:
        return Sentence(f"None of the {len(labels)} classes is taken for another.", "good")
    caption = f"The pairs of the {len(labels)} classes that are taken for each other most often"
    return Table(
        caption, columns("True class", "Taken for", "Images", "Share", numbers=["Images", "Share"]), rows
    )
