"""Reading a feature table: its facts, its rows, and its features as a matrix or as a stream.

Use `matrix` where the features fit in memory, and `batches` or `features.store.dataset` where they do not.
The table is also plain Delta Lake: pandas, pyarrow, DuckDB, Polars and Spark read it without this project.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from features import files
from features.augmentation import Augmentation
from features.backbones import Backbone, get_backbone
from features.errors import BottleneckError, check_known
from features.locations import features_path, kept_weights, rejected_path
from features.recipe import Column
from features.splits import SPLITS
from features.store.log import LoggedParts, logged_parts, open_delta, part_names, read_parts
from features.store.parts import read_decodings
from features.store.schema import GROUP_FIELD, TableFacts, image_columns
from features.store.streams import RowGroup, find_row_groups, pick_row_groups, read_batches, read_matrix

#: Key of the facts in the Delta table's configuration.
FACTS_KEY = "bottlenecks.facts"
#: Key of how its augmented views are made, set when there are first to be any.
AUGMENTATION_KEY = "bottlenecks.augmentation"
#: Delta application ids: of the commits that move the table on, and of the rejections they go with.
TABLE_APPLICATION = "bottlenecks/table"
REJECTED_APPLICATION = "bottlenecks/rejected-version"


class FeatureTable:
    """One version of a stored feature table.

    Attributes:
        store: folder of the store.
        name: name of the table.
        version: the Delta version that is read; the same version always gives the same rows.
        facts: what the table was created with: source, weights, layers, recipe.
        source, layers, recipe: as `facts` has them.
        weights: where its weights are to be found now: `imagenet`, `random` or an absolute path.
        folder, rejected_folder: where the files of the features, and those of the rejections, are.
    """

    def __init__(self, store: Path, name: str, delta: DeltaTable) -> None:
        self.store = store
        self.name = name
        self.delta = delta
        self.version = delta.version()
        self._row_groups: dict[tuple, list[RowGroup]] = {}
        self.facts = TableFacts.from_json(delta.metadata().configuration[FACTS_KEY])
        self.source, self.layers, self.recipe = self.facts.source, self.facts.layers, self.facts.recipe
        self.weights = kept_weights(store, self.facts.weights)
        self.folder, self.rejected_folder = features_path(store, name), rejected_path(store, name)

    @property
    def backbone(self) -> Backbone:
        return get_backbone(self.recipe.backbone)

    @property
    def rejected_version(self) -> int:
        """Version of the rejected table that goes with this version of the features."""
        return self.delta.transaction_version(REJECTED_APPLICATION) or 0

    @property
    def has_rows(self) -> bool:
        """Whether it holds features of any image."""
        return bool(self.names)

    @property
    def augmentation(self) -> Augmentation | None:
        """How its augmented views are made; None where no run has asked for any."""
        text = self.delta.metadata().configuration.get(AUGMENTATION_KEY)
        return None if text is None else Augmentation.from_dict(json.loads(text))

    def has_schema_of(self, facts: TableFacts) -> bool:
        """Whether Delta knows the columns that `facts` say: its own, but while another run makes it anew."""
        return _columns(pa.schema(self.delta.schema().to_arrow())) == _columns(facts.schema)

    def columns(self, layers: str | Iterable[str] | None = None) -> tuple[Column, ...]:
        """The feature columns of some layers, in the order of the network.

        Args:
            layers: their names, as a list or with commas between them; by default the deepest that is stored.

        Raises:
            BottleneckError: for layers that are not stored, or unknown.
        """
        wanted = self.layers[-1:] if layers is None else self.backbone.parse_layers(layers)
        if missing := [layer for layer in wanted if layer not in self.layers]:
            raise BottleneckError(
                f"table {self.name!r} has no layer {', '.join(map(repr, missing))}: it has "
                f"{', '.join(self.layers)}; extract others into a table of their own with `features=NAME`"
            )
        return tuple(Column(self.recipe, layer) for layer in wanted)

    @cached_property
    def _parts(self) -> LoggedParts:
        return logged_parts(self.delta)

    @property
    def names(self) -> list[str]:
        """The Parquet files that make up this version, by their names in its folder, sorted."""
        return self._parts.names

    @property
    def views(self) -> int:
        """The greatest number of augmented views that an image has; 0 for none."""
        return self._parts.views

    @property
    def paths(self) -> list[str]:
        """The same, as absolute paths."""
        return [str(self.folder / name) for name in self.names]

    @cached_property
    def rejected_names(self) -> list[str]:
        """The Parquet files of the rejections that go with this version, as `names`."""
        return part_names(open_delta(self.rejected_folder, self.rejected_version))

    @property
    def rejected_paths(self) -> list[str]:
        """The same, as absolute paths."""
        return [str(self.rejected_folder / name) for name in self.rejected_names]

    def metadata(self, columns: Sequence[str] | None = None, *, views: int | None = None) -> pa.Table:
        """Everything stored of the images but their features, one row an image and view.

        Args:
            columns: some of `features.store.schema.image_columns`; all of them by default.
            views: as of `matrix`.

        Raises:
            BottleneckError: for the groups of a table that has none.
        """
        if GROUP_FIELD.name in (columns or []) and not self.facts.groups:
            raise BottleneckError(
                f"table {self.name!r} has no groups: its images came without a column 'group', "
                f"or with an empty one"
            )
        names = columns or image_columns(groups=self.facts.groups)
        most = self._most_views(views)
        needed = names if most is None else dict.fromkeys([*names, "view"])
        rows = read_parts(self.paths, pa.schema([self.facts.schema.field(name) for name in needed]))
        return rows if most is None else rows.filter(pc.less_equal(rows.column("view"), most)).select(names)

    def decodings(self) -> dict[int, int]:
        """How many rows were read by each decoding (`features.decodings.DECODING`), the newest first."""
        rows: collections.Counter[int] = collections.Counter()
        for path in self.paths:
            numbers = read_decodings(path)
            runs = files.parquet_file(path).read(["run_id"]).column("run_id").value_counts()
            for run in runs.to_pylist():
                rows[numbers.get(run["values"], 0)] += run["counts"]
        return dict(sorted(rows.items(), reverse=True))

    def matrix(
        self,
        split: str | Sequence[str] | None = None,
        *,
        layers: str | Iterable[str] | None = None,
        labelled: bool = False,
        classes: Sequence[str] | None = None,
        multi_label: bool = False,
        views: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels, in memory.

        Args:
            split: `train`, `validation`, `test`, several of them (their rows follow in that order),
                or None for every row.
            layers: feature columns, which lie side by side in X; by default the one deepest in the network.
            labelled: leave out the images without a label.
            classes: leave out the images that have none of these labels, too.
            multi_label: give all labels of an image.
            views: at most so many augmented views of each image, 0 for the images alone; all by default.

        Returns:
            X : float32 ndarray of shape (n, width); labels : object ndarray of shape (n,), a str each, or
            None for an image without a label; or, with `multi_label`, a tuple of str each.

        Raises:
            BottleneckError: for rows that have several labels, unless `multi_label`, or an unknown layer.
        """
        widths = _widths(self.columns(layers))
        splits = [split] if split is None or isinstance(split, str) else list(split)
        groups = [
            group
            for one in splits
            for group in self.row_groups(
                one, labelled=labelled, classes=classes, multi_label=multi_label, views=views
            )
        ]
        return read_matrix(groups, widths)

    def batches(
        self,
        split: str | None = None,
        *,
        layers: str | Iterable[str] | None = None,
        labelled: bool = False,
        classes: Sequence[str] | None = None,
        multi_label: bool = False,
        views: int | None = None,
        batch_size: int = 1024,
        shuffle: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features and labels as a stream of batches, for tables larger than memory.

        Shuffling takes row groups from all over the table and mixes the rows of eight at a time.

        Args:
            split: `train`, `validation`, `test`, or None for every row.
            layers, labelled, classes, multi_label, views: as of `matrix`.
            batch_size: rows in each batch; the last may have fewer.

        Yields:
            X : float32 ndarray of shape (batch_size, width); labels : object ndarray of shape (batch_size,).
        """
        groups = self.row_groups(
            split, labelled=labelled, classes=classes, multi_label=multi_label, views=views
        )
        return read_batches(groups, _widths(self.columns(layers)), batch_size, shuffle=shuffle, seed=seed)

    def take(self, rows: np.ndarray, *, layers: str | Iterable[str] | None = None) -> np.ndarray:
        """Features of some rows, in memory; the other rows are not.

        Args:
            rows: their numbers in `metadata`, each once; in any order.
            layers: as of `matrix`.

        Returns:
            float32 ndarray of shape (n_rows, width), in the order of `rows`.
        """
        order = np.argsort(rows)
        if (np.diff(rows[order]) == 0).any():
            raise ValueError("rows are asked for several times")
        X, _ = read_matrix(pick_row_groups(self.paths, rows[order]), _widths(self.columns(layers)))
        if (order[1:] > order[:-1]).all():
            return X
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return X[back]

    def take_batches(
        self, rows: np.ndarray, *, layers: str | Iterable[str] | None = None, batch_size: int = 4096
    ) -> Iterator[np.ndarray]:
        """The same as a stream: float32 ndarrays of shape (batch_size, width), in the order of the table."""
        groups = pick_row_groups(self.paths, np.sort(rows))
        batches = read_batches(groups, _widths(self.columns(layers)), batch_size, shuffle=False, seed=0)
        return (X for X, _ in batches)

    def row_groups(
        self,
        split: str | None = None,
        *,
        labelled: bool = False,
        classes: Iterable[str] | None = None,
        multi_label: bool = False,
        views: int | None = None,
    ) -> list[RowGroup]:
        """The row groups that hold rows of `split`, with the numbers and labels of these rows."""
        if split is not None:
            check_known("split", split, SPLITS)
        among = None if classes is None else frozenset(classes)
        most = self._most_views(views)
        key = (split, labelled and among is None, among, multi_label, most)
        if key not in self._row_groups:
            self._row_groups[key] = find_row_groups(
                self.paths, split, labelled=labelled, classes=among, multi_label=multi_label, views=most
            )
        return self._row_groups[key]

    def _most_views(self, views: int | None) -> int | None:
        """The same, or None where no view is left out: their numbers need not be read then."""
        return None if views is None or views >= self.views else views


def _widths(columns: Iterable[Column]) -> dict[str, int]:
    return {column.layer: column.width for column in columns}


def _columns(schema: pa.Schema) -> list[tuple[str, bytes | None]]:
    """Names, and the fingerprints of those that are features."""
    return [(field.name, (field.metadata or {}).get(b"fingerprint")) for field in schema]
