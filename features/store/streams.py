"""Features of a table's row groups: in one matrix, as a stream of batches, or as a `tf.data.Dataset`.

`FeatureTable.matrix` and `FeatureTable.batches` are the usual way here; `dataset` is for `keras.Model.fit`.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import files
from features.errors import BottleneckError
from features.store.labels import encode, have_labels, read_labels
from features.store.vectors import list_values

if TYPE_CHECKING:
    import tensorflow as tf

    from features.store.table import FeatureTable

#: Features and what is known of their rows: X of shape (n, width), and y or labels of as many rows.
Batch = tuple[np.ndarray, np.ndarray]

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")

#: Row groups that are shuffled together while streaming: 8 of 8 MiB, from all over the table.
_SHUFFLE_GROUPS = 8
_READERS = 2


class RowGroup(NamedTuple):
    """Wanted rows of one row group of a part: their numbers within the group, ascending, and their labels.

    Labels are a str or None each, or a tuple of str.
    """

    path: str
    number: int
    rows: np.ndarray
    labels: np.ndarray


def find_row_groups(
    paths: Iterable[str | Path],
    split: str | None,
    *,
    labelled: bool,
    classes: Collection[str] | None,
    multi_label: bool,
    views: int | None = None,
) -> list[RowGroup]:
    """The row groups that hold rows of `split`; see `FeatureTable.batches` for the arguments.

    Raises:
        BottleneckError: for rows that have several labels, unless `multi_label`.
    """
    groups = []
    for path in paths:
        file = files.parquet_file(path)
        columns = ["labels", "split", *([] if views is None else ["view"])]
        table = file.read(columns, use_threads=False)
        labels = read_labels(table.column("labels"), multi_label=multi_label)
        wanted = np.ones(len(labels), bool) if split is None else _equals(table.column("split"), split)
        if views is not None:
            wanted &= pc.less_equal(table.column("view"), views).to_numpy()
        if labelled or classes is not None:
            wanted &= have_labels(labels, classes)
        start = 0
        for number in range(file.num_row_groups):
            stop = start + file.metadata.row_group(number).num_rows
            rows = np.flatnonzero(wanted[start:stop])
            if len(rows):
                groups.append(RowGroup(str(path), number, rows, labels[start:stop][rows]))
            start = stop
    return groups


def pick_row_groups(paths: Iterable[str | Path], numbers: np.ndarray) -> list[RowGroup]:
    """The row groups that hold some rows of a table, which are numbered through all parts; without labels.

    Args:
        numbers: of the rows, ascending.
    """
    groups, start = [], 0
    for path in paths:
        footer = files.footer(path)
        for number in range(footer.num_row_groups):
            stop = start + footer.row_group(number).num_rows
            first, last = np.searchsorted(numbers, (start, stop))
            if rows := last - first:
                of_group = numbers[first:last] - start
                groups.append(RowGroup(str(path), number, of_group, np.full(rows, None, object)))
            start = stop
    return groups


def read_matrix(groups: list[RowGroup], widths: Mapping[str, int]) -> Batch:
    """The rows of all groups, in their order.

    Args:
        widths: of the feature columns, which lie side by side in the matrix.

    Returns:
        X, float32 of shape (n, sum of the widths), and labels, of shape (n,).
    """
    X = np.empty((_count(groups), sum(widths.values())), np.float32)
    with ThreadPoolExecutor(_READERS) as readers:
        return X, _read_groups(groups, widths, X, readers)


def read_batches(
    groups: list[RowGroup], widths: Mapping[str, int], batch_size: int, *, shuffle: bool, seed: int
) -> Iterator[Batch]:
    """The same, a batch after the other; `shuffle` mixes the rows of eight groups from all over the table."""
    random = np.random.default_rng(seed)
    groups = list(groups)
    if shuffle:
        random.shuffle(groups)
    together = _SHUFFLE_GROUPS if shuffle else _READERS
    pools = [groups[start : start + together] for start in range(0, len(groups), together)]
    width = sum(widths.values())
    with ThreadPoolExecutor(_READERS) as readers:

        def read(pool: list[RowGroup]) -> Batch:
            rows = _count(pool)
            # From Arrow, which hands out again what batches that are done with have left; what the system
            # gives is cleared first.
            memory = pa.allocate_buffer(rows * width * 4)
            X = np.frombuffer(memory, np.float32).reshape(rows, width)
            order = random.permutation(rows) if shuffle else None
            return X, _read_groups(pool, widths, X, readers, order)

        yield from _rebatch(_read_ahead(read, pools), batch_size)


def dataset(
    table: FeatureTable,
    split: str | None = None,
    *,
    labels: Sequence[str],
    layers: str | Iterable[str] | None = None,
    multi_label: bool = False,
    ignored: Collection[str] = (),
    views: int | None = None,
    batch_size: int = 256,
    shuffle: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Images of some classes as a stream for `keras.Model.fit`; with `shuffle`, another order each epoch.

    Args:
        split: `train`, `validation`, `test`, or None for every row.
        labels: the classes; y is the index into it. Images of others are left out.
        layers: feature columns, side by side; by default the one deepest in the network.
        multi_label: whether images may have several of the labels: y says of each whether it has it.
        ignored: labels besides, which count for nothing.
        views: at most so many augmented views of each image; all by default.

    Returns:
        Dataset of X : float32 (batch, width) and y : int64 (batch,), or int8 (batch, n_labels).
    """
    columns = table.columns(layers)
    rows = _count(table.row_groups(split, classes=labels, multi_label=multi_label, views=views))

    def epoch(seed: int) -> Iterator[Batch]:
        batches = table.batches(
            split,
            layers=[column.layer for column in columns],
            classes=labels,
            multi_label=multi_label,
            views=views,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
        )
        for X, names in batches:
            yield X, encode(names, labels, multi_label=multi_label, ignored=ignored)

    width = sum(column.width for column in columns)
    return as_dataset(epoch, width, rows, batch_size, seed, labels=len(labels) if multi_label else None)


def as_dataset(
    epoch: Callable[[int], Iterator[Batch]],
    width: int,
    rows: int,
    batch_size: int,
    seed: int,
    *,
    labels: int | None = None,
) -> tf.data.Dataset:
    """Batches that a generator gives, anew for each epoch, as a dataset of known cardinality, read ahead.

    Args:
        epoch: called with a seed of its own for each epoch; gives X of shape (batch, width) and y, integers.
        rows: in all batches.
        seed: of the first epoch.
        labels: how many columns y has; None for one class a row, y of shape (batch,).
    """
    import tensorflow as tf

    seeds = iter(range(seed, 2**62))
    y = tf.TensorSpec((None,), tf.int64) if labels is None else tf.TensorSpec((None, labels), tf.int8)
    signature = (tf.TensorSpec((None, width), tf.float32), y)
    data = tf.data.Dataset.from_generator(lambda: epoch(next(seeds)), output_signature=signature).prefetch(2)
    data = data.apply(tf.data.experimental.assert_cardinality(-(-rows // batch_size)))
    # Autotuning sleeps in doubling steps and can hold up the end of the process for many seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def _equals(column: pa.ChunkedArray, value: str) -> np.ndarray:
    return pc.equal(column, value).to_numpy()


def _read_rows(group: RowGroup, widths: Mapping[str, int]) -> Iterator[np.ndarray]:
    """Features of the wanted rows of a row group, (rows, width) of each column; views where they are all."""
    # Mapped rather than read ahead: what the system has cached already is not copied once more.
    with files.parquet_file(group.path, mapped=True, pre_buffer=False) as file:
        rows = file.read_row_group(group.number, columns=list(widths), use_threads=False)
    for column, width in widths.items():
        (chunk,) = rows.column(column).chunks
        try:
            values = list_values(chunk, width)
        except ValueError as error:
            raise BottleneckError(f"{group.path}, column {column!r}: {error}") from error
        yield values if len(group.rows) == len(values) else values[group.rows]


def _count(groups: Iterable[RowGroup]) -> int:
    return sum(len(group.rows) for group in groups)


def _read_groups(
    groups: list[RowGroup],
    widths: Mapping[str, int],
    X: np.ndarray,
    readers: ThreadPoolExecutor,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Read row groups' features into X, and return their labels; row i goes to place order[i]."""
    starts = np.cumsum([0, *(len(group.rows) for group in groups)])
    labels = np.empty(len(X), object)

    def fill(group: RowGroup, start: int) -> None:
        rows = slice(start, start + len(group.rows))
        places = rows if order is None else order[rows]
        column = 0
        for values in _read_rows(group, widths):
            X[places, column : column + values.shape[1]] = values
            column += values.shape[1]
        labels[places] = group.labels

    collections.deque(readers.map(fill, groups, starts[:-1].tolist()), maxlen=0)
    return labels


def _rebatch(pools: Iterable[Batch], batch_size: int) -> Iterator[Batch]:
    """The same rows in batches of one size, the last excepted; views, where they lie within one pool."""
    left: list[Batch] = []
    for X, labels in pools:
        first = min(-sum(len(rows) for rows, _ in left) % batch_size, len(X))
        # Never a slice of nothing: it would keep its whole pool in memory.
        if first:
            left.append((X[:first], labels[:first]))
            if sum(len(rows) for rows, _ in left) == batch_size:
                yield _joined(left)
                left = []
        last = first + (len(X) - first) // batch_size * batch_size
        for start in range(first, last, batch_size):
            yield X[start : start + batch_size], labels[start : start + batch_size]
        if last < len(X):
            left.append((X[last:], labels[last:]))
    if left:
        yield _joined(left)


def _joined(pieces: list[Batch]) -> Batch:
    rows, labels = zip(*pieces, strict=True)
    return np.concatenate(rows), np.concatenate(labels)


def _read_ahead(read: Callable[[_Item], _Read], items: Iterable[_Item]) -> Iterator[_Read]:
    """`map(read, items)` with the next one always being read, and never more."""
    with ThreadPoolExecutor(1) as pool:
        ahead: Future[_Read] | None = None
        for item in items:
            waiting, ahead = ahead, pool.submit(read, item)
            if waiting is not None:
                yield waiting.result()
        if ahead is not None:
            yield ahead.result()
