"""What has changed between two versions of a table: images that are new or gone, and the shares of classes.

Use it for drift (`heads.drift`), which compares the features of the images that are drawn here. Images of a
group, and files of the same bytes, are not independent: one of each takes part in a test.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from heads.evidence.balance import shares_p_value
from heads.evidence.statistics import holm
from heads.folds import units_of
from heads.shares import deal

#: Images, or groups, that are new or were there before, below which nothing is tested.
FEWEST = 20
#: Images of either kind that are drawn, at most.
MOST = 1000


class Changes:
    """The images of two versions of a table, without their views.

    Args:
        then, now: rows of both: columns `image_id`, `labels`, `view`, and perhaps `group`.

    Attributes:
        numbers: of the images of the later version among its rows, ascending, (n,).
        is_new: which of them the earlier version does not have, bool (n,).
        classes: numbers of their classes; of several labels, each set of them is one, (n,).
        gone, relabelled: how many images the later version lacks, and how many have other labels there.
    """

    def __init__(self, then: pa.Table, now: pa.Table) -> None:
        self.numbers = np.flatnonzero(now.column("view").to_numpy() == 0)
        self._then = then.filter(pc.equal(then.column("view"), 0))
        self._now = now.take(pa.array(self.numbers))
        self.is_new = ~_are_in(self._now.column("image_id"), self._then.column("image_id"))
        self.gone = int((~_are_in(self._then.column("image_id"), self._now.column("image_id"))).sum())
        keys_then, keys_now = _keys(self._then), _keys(self._now)
        self._is_added = ~_are_in(keys_now, keys_then)
        self._is_removed = ~_are_in(keys_then, keys_now)
        self.relabelled = int((self._is_added & ~self.is_new).sum())
        self.classes = _labels(self._now).combine_chunks().dictionary_encode().indices.to_numpy()

    def classes_distance(self) -> float:
        """Half the sum of the differences between the shares of the classes, then and now."""
        counts = _label_counts([self._then, self._now])
        shares = counts / np.maximum(counts.sum(axis=0), 1)
        return float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2)

    def classes_replaced(self) -> float:
        """The share of images, then or now, with labels that the other version does not have at all."""
        counts = _label_counts([self._then, self._now])
        alone = (counts > 0).sum(axis=1) == 1
        return float((counts[alone].sum(axis=0) / np.maximum(counts.sum(axis=0), 1)).max(initial=0))

    def classes_p_value(self) -> float | None:
        """Whether images that came, went and stayed have the same classes; of several labels, each of them.

        None where at least two of the three are too few.
        """
        removed = self._then.filter(pa.array(self._is_removed))
        rows = pa.concat_tables([self._now, removed])
        kind = np.concatenate([self._is_added.astype(int), np.full(len(removed), 2)])
        alone = _one_of_each(rows)
        sets = [rows.filter(pa.array(alone & (kind == number))) for number in range(3)]
        sets = [one for one in sets if len(one) >= FEWEST]
        if len(sets) < 2:
            return None
        counts = _label_counts(sets)
        totals = np.array([len(one) for one in sets])
        if (counts.sum(axis=0) == totals).all():
            return shares_p_value(counts)
        of_labels = [shares_p_value(np.stack([has, totals - has])) for has in counts]
        known = [p_value for p_value in of_labels if p_value is not None]
        return min(holm(known), default=None)

    def draw(self, seed: int) -> np.ndarray | None:
        """Old and new images, some of each class: numbers among these, ascending; None for too few."""
        return self._join([self._share(rows, seed) for rows in self._old_and_new])

    def draw_within_classes(self, seed: int) -> np.ndarray | None:
        """The same, with as many old as new images of each class."""
        random, sides = np.random.default_rng(seed), self._old_and_new
        counts = [
            np.bincount(self.classes[rows], minlength=self.classes.max(initial=-1) + 1) for rows in sides
        ]
        of_class = np.minimum(*counts)
        of_class = np.floor(of_class * min(1.0, MOST / max(1, of_class.sum()))).astype(int)
        chosen = []
        for rows in sides:
            rows = random.permutation(rows)
            rows = rows[np.argsort(self.classes[rows], kind="stable")]
            sizes = np.bincount(self.classes[rows], minlength=len(of_class))
            rank = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            chosen.append(rows[rank < of_class[self.classes[rows]]])
        return self._join(chosen)

    @cached_property
    def _old_and_new(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the images that take part in tests: those that were there before, and the new ones."""
        alone = _one_of_each(self._now)
        return np.flatnonzero(alone & ~self.is_new), np.flatnonzero(alone & self.is_new)

    def _share(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """At most about `MOST` of some images, of each class its share."""
        return rows[deal(self.classes[rows], -(-len(rows) // MOST), seed) == 0] if len(rows) else rows

    @staticmethod
    def _join(sides: list[np.ndarray]) -> np.ndarray | None:
        return None if min(map(len, sides)) < FEWEST else np.sort(np.concatenate(sides))


def _are_in(values: pa.ChunkedArray, others: pa.ChunkedArray) -> np.ndarray:
    return pc.is_in(values, others.combine_chunks()).to_numpy()


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    """An image and its labels, as text."""
    return pc.binary_join_element_wise(rows.column("image_id"), _labels(rows), "\0")


def _labels(rows: pa.Table) -> pa.ChunkedArray:
    """The labels of each image, as text."""
    # Whose elements can't be null, as in a table, pyarrow does not join.
    return pc.binary_join(rows.column("labels").cast(pa.list_(pa.string())), "\0")


def _label_counts(sets: list[pa.Table]) -> np.ndarray:
    """Images with each label (rows) in each set (columns); to have none counts as one."""
    columns = []
    for rows in sets:
        counts = pc.value_counts(pc.list_flatten(rows.column("labels")))
        of_set = dict(
            zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
        )
        none = pc.sum(pc.equal(pc.list_value_length(rows.column("labels")), 0)).as_py() or 0
        columns.append({**of_set, **({None: none} if none else {})})
    names = sorted({name for of_set in columns for name in of_set}, key=lambda name: (name is None, name))
    return np.array([[of_set.get(name, 0) for of_set in columns] for name in names], int).reshape(
        -1, len(sets)
    )


def _one_of_each(rows: pa.Table) -> np.ndarray:
    """One row of those that belong together, of one group or of the same bytes: a mask, (n,)."""
    if "group" in rows.column_names:
        units = units_of(rows)
    else:  # the same much faster
        units = rows.column("image_id").combine_chunks().dictionary_encode().indices.to_numpy()
    alone = np.zeros(len(rows), bool)
    alone[np.unique(units, return_index=True)[1]] = True
    return alone
