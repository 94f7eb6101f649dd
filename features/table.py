"""Reading a feature table: its facts, its rows, and its features as a matrix or as a stream.

Use `matrix` where the features fit in memory and `batches` or `dataset` where they do not. The table
is also plain Delta Lake: pandas, pyarrow, DuckDB, Polars and Spark read it without this project.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from features.errors import BottleneckError
from features.locations import features_path, rejected_path
from features.log import part_names, read_parts
from features.parts import read_decodings
from features.recipe import LAYER_WIDTHS, Column, FeatureRecipe, parse_layers
from features.schema import IMAGE_COLUMNS, TableFacts
from features.vectors import list_values

if TYPE_CHECKING:
    import tensorflow as tf

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")

#: Key of the facts in the Delta table's configuration.
FACTS_KEY = "bottlenecks.facts"
#: Delta application ids: of the commits that move the table on, and of the rejections they go with.
TABLE_APPLICATION = "bottlenecks/table"
REJECTED_APPLICATION = "bottlenecks/rejected-version"

#: Row groups that are shuffled together while streaming: 8 of 8 MiB, from all over the table.
_SHUFFLE_GROUPS = 8
_READERS = 2


class _RowGroup(NamedTuple):
    path: str
    number: int
    rows: np.ndarray  # wanted row numbers within the group, ascending
    labels: np.ndarray  # of these rows


class FeatureTable:
    """One version of a stored feature table.

    Attributes:
        store: folder of the store.
        name: name of the table.
        version: the Delta version that is read; the same version always gives the same rows.
        facts: what the table was created with: source, weights, layers, recipe.
    """

    def __init__(self, store: Path, name: str, delta: DeltaTable) -> None:
        self.store = store
        self.name = name
        self.delta = delta
        self.version = delta.version()
        self._found_groups: dict[tuple[str | None, bool, frozenset[str] | None], list[_RowGroup]] = {}
        self.facts = TableFacts.from_json(delta.metadata().configuration[FACTS_KEY])

    @property
    def layers(self) -> tuple[str, ...]:
        return self.facts.layers

    @property
    def recipe(self) -> FeatureRecipe:
        return self.facts.recipe

    @property
    def source(self) -> str:
        return self.facts.source

    @property
    def folder(self) -> Path:
        """Where the files of the features are."""
        return features_path(self.store, self.name)

    @property
    def rejected_folder(self) -> Path:
        """Where the files of the rejections are."""
        return rejected_path(self.store, self.name)

    @property
    def rejected_version(self) -> int:
        """Version of the rejected table that goes with this version of the features."""
        return self.delta.transaction_version(REJECTED_APPLICATION) or 0

    @property
    def has_rows(self) -> bool:
        """Whether it holds features of any image."""
        return bool(self.names)

    def has_schema_of(self, facts: TableFacts) -> bool:
        """Whether Delta knows the columns that `facts` say: its own, but while another run makes it anew."""
        return _columns(pa.schema(self.delta.schema().to_arrow())) == _columns(facts.schema)

    def column(self, layer: str | None = None) -> Column:
        """The feature column of `layer`; without a name, the one deepest in the network."""
        if layer is None:
            return Column(self.recipe, self.layers[-1])
        (name,) = parse_layers([layer])
        if name not in self.layers:
            raise BottleneckError(
                f"table {self.name!r} has no layer {layer!r}: it has {', '.join(self.layers)}; "
                f"extract others into a table of their own with FEATURES=NAME"
            )
        return Column(self.recipe, name)

    @cached_property
    def names(self) -> list[str]:
        """The Parquet files that make up this version, by their names in its folder, sorted."""
        return part_names(self.delta)

    @property
    def paths(self) -> list[str]:
        """The same, as absolute paths."""
        return [str(self.folder / name) for name in self.names]

    @cached_property
    def rejected_names(self) -> list[str]:
        """The Parquet files of the rejections that go with this version, as `names`."""
        return part_names(DeltaTable(self.rejected_folder, version=self.rejected_version))

    @property
    def rejected_paths(self) -> list[str]:
        """The same, as absolute paths."""
        return [str(self.rejected_folder / name) for name in self.rejected_names]

    def metadata(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Everything stored of the images but their features, one row an image and view.

        Args:
            columns: some of `features.schema.IMAGE_COLUMNS`; all of them by default.
        """
        schema = pa.schema([self.facts.schema.field(name) for name in columns or IMAGE_COLUMNS])
        return read_parts(self.paths, schema)

    def decodings(self) -> dict[int, int]:
        """How many rows were read by each decoding (`features.images.DECODING`), the newest first."""
        rows: collections.Counter[int] = collections.Counter()
        for path in self.paths:
            numbers = read_decodings(path)
            runs = pq.ParquetFile(path).read(["run_id"]).column("run_id").value_counts()
            for run in runs.to_pylist():
                rows[numbers.get(run["values"], 0)] += run["counts"]
        return dict(sorted(rows.items(), reverse=True))

    def matrix(
        self,
        split: str | Sequence[str] | None = None,
        *,
        layer: str | None = None,
        labelled: bool = False,
        classes: Sequence[str] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels, in memory.

        Args:
            split: `train`, `validation`, `test`, several of them (their rows follow in that order),
                or None for every row.
            layer: the feature column; by default the one deepest in the network.
            labelled: leave out the images without a label.
            classes: leave out the images whose label is none of these, too.

        Returns:
            X : float32 ndarray of shape (n, width); labels : object ndarray of shape (n,), a str each, or
            None for an image without a label.

        Raises:
            BottleneckError: for rows that have several labels, or an unknown layer.
        """
        column = self.column(layer).layer
        width = LAYER_WIDTHS[column]
        splits = [split] if split is None or isinstance(split, str) else list(split)
        groups = [group for one in splits for group in self._row_groups(one, labelled, classes)]
        X = np.empty((_count(groups), width), np.float32)
        with ThreadPoolExecutor(_READERS) as readers:
            return X, _read_groups(groups, column, X, readers)

    def batches(
        self,
        split: str | None = None,
        *,
        layer: str | None = None,
        labelled: bool = False,
        classes: Sequence[str] | None = None,
        batch_size: int = 1024,
        shuffle: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features and labels as a stream of batches, for tables larger than memory.

        Shuffling takes row groups from all over the table and mixes the rows of eight at a time.

        Args:
            split: `train`, `validation`, `test`, or None for every row.
            labelled: leave out the images without a label.
            classes: leave out the images whose label is none of these, too.
            batch_size: rows in each batch; the last may have fewer.

        Yields:
            X : float32 ndarray of shape (batch_size, width); labels : object ndarray of shape (batch_size,).
        """
        column = self.column(layer).layer
        width = LAYER_WIDTHS[column]
        random = np.random.default_rng(seed)
        groups = self._row_groups(split, labelled, classes)
        if shuffle:
            random.shuffle(groups)
        together = _SHUFFLE_GROUPS if shuffle else _READERS
        pools = [groups[start : start + together] for start in range(0, len(groups), together)]
        with ThreadPoolExecutor(_READERS) as readers:

            def read(pool: list[_RowGroup]) -> tuple[np.ndarray, np.ndarray]:
                rows = _count(pool)
                # From Arrow, which hands out again what batches that are done with have left; what the system
                # gives is cleared first.
                memory = pa.allocate_buffer(rows * width * 4)
                X = np.frombuffer(memory, np.float32).reshape(rows, width)
                order = random.permutation(rows) if shuffle else None
                return X, _read_groups(pool, column, X, readers, order)

            yield from _rebatch(_read_ahead(read, pools), batch_size)

    def dataset(
        self,
        split: str | None = None,
        *,
        labels: Sequence[str],
        layer: str | None = None,
        batch_size: int = 256,
        shuffle: bool = False,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Images of some classes as a stream for `keras.Model.fit`; with `shuffle`, another order each epoch.

        Args:
            labels: the classes; y is the index into it. Images of others are left out.

        Returns:
            Dataset of X : float32 (batch, width) and y : int32 (batch,).
        """
        import tensorflow as tf

        width = LAYER_WIDTHS[self.column(layer).layer]
        index = {label: number for number, label in enumerate(labels)}
        epochs = iter(range(seed, 2**62))

        def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            batches = self.batches(
                split, layer=layer, classes=labels, batch_size=batch_size, shuffle=shuffle, seed=next(epochs)
            )
            for X, names in batches:
                yield X, np.fromiter((index[name] for name in names), np.int32, len(names))

        signature = (tf.TensorSpec((None, width), tf.float32), tf.TensorSpec((None,), tf.int32))
        rows = _count(self._row_groups(split, True, labels))
        data = tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)
        data = data.apply(tf.data.experimental.assert_cardinality(-(-rows // batch_size)))
        # Autotuning sleeps in doubling steps and can hold up the end of the process for many seconds.
        options = tf.data.Options()
        options.autotune.enabled = False
        return data.with_options(options)

    def _row_groups(
        self, split: str | None, labelled: bool, classes: Sequence[str] | None = None
    ) -> list[_RowGroup]:
        """The row groups that hold rows of `split`, with the numbers and labels of these rows."""
        key = (split, labelled and classes is None, None if classes is None else frozenset(classes))
        if key not in self._found_groups:
            self._found_groups[key] = self._find_row_groups(*key)
        return list(self._found_groups[key])

    def _find_row_groups(
        self, split: str | None, labelled: bool, classes: frozenset[str] | None
    ) -> list[_RowGroup]:
        groups = []
        for path in self.paths:
            file = pq.ParquetFile(path)
            table = file.read(["labels", "split"], use_threads=False)
            labels = _single_labels(table.column("labels"), self.name)
            wanted = np.ones(len(labels), bool) if split is None else _equals(table.column("split"), split)
            if classes is not None:
                wanted &= np.fromiter((label in classes for label in labels), bool, len(labels))
            elif labelled:
                wanted &= labels != None  # noqa: E711  (element by element)
            start = 0
            for number in range(file.num_row_groups):
                stop = start + file.metadata.row_group(number).num_rows
                rows = np.flatnonzero(wanted[start:stop])
                if len(rows):
                    groups.append(_RowGroup(path, number, rows, labels[start:stop][rows]))
                start = stop
        return groups


def _columns(schema: pa.Schema) -> list[tuple[str, bytes | None]]:
    """Names, and the fingerprints of those that are features."""
    return [(field.name, (field.metadata or {}).get(b"fingerprint")) for field in schema]


def _equals(column: pa.ChunkedArray, value: str) -> np.ndarray:
    return pc.equal(column, value).to_numpy()


def _single_labels(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """The label of each row or None, as an object ndarray of shape (n,)."""
    counts = pc.list_value_length(column).to_numpy()
    if (counts > 1).any():
        raise BottleneckError(
            f"table {name!r} has images with several labels, and a matrix takes one label an image: "
            f"read their features with pyarrow or pandas"
        )
    labels = np.full(len(counts), None, object)
    labels[counts == 1] = pc.list_flatten(column).to_numpy()
    return labels


def _rows_of_group(group: _RowGroup, column: str, width: int) -> np.ndarray:
    """Features of the wanted rows of a row group, shape (rows, width); a view where these are all."""
    # Mapped rather than read ahead: what the system has cached already is not copied once more.
    with pq.ParquetFile(group.path, memory_map=True, pre_buffer=False) as file:
        (chunk,) = file.read_row_group(group.number, columns=[column], use_threads=False).column(0).chunks
    try:
        values = list_values(chunk, width)
    except ValueError as error:
        raise BottleneckError(f"{group.path}, column {column!r}: {error}") from error
    return values if len(group.rows) == len(values) else values[group.rows]


def _count(groups: Iterable[_RowGroup]) -> int:
    return sum(len(group.rows) for group in groups)


def _read_groups(
    groups: list[_RowGroup],
    column: str,
    X: np.ndarray,
    readers: ThreadPoolExecutor,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Read row groups' features into X, and return their labels; row i goes to place order[i]."""
    starts = np.cumsum([0, *(len(group.rows) for group in groups)])
    labels = np.empty(len(X), object)

    def fill(group: _RowGroup, start: int) -> None:
        rows = slice(start, start + len(group.rows))
        places = rows if order is None else order[rows]
        X[places] = _rows_of_group(group, column, X.shape[1])
        labels[places] = group.labels

    collections.deque(readers.map(fill, groups, starts[:-1].tolist()), maxlen=0)
    return labels


def _rebatch(
    pools: Iterable[tuple[np.ndarray, np.ndarray]], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same rows in batches of one size, the last excepted; views, where they lie within one pool."""
    left: list[tuple[np.ndarray, np.ndarray]] = []
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


def _joined(pieces: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
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
