"""What the ways left behind: their features, whole and the same, or the benchmark fails."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.network import LAYER, WIDTH
from features import store as feature_store
from features.errors import BottleneckError
from features.store.vectors import list_values

#: Less than this between a way's features of an image and ours, and the two did not do the same work.
LEAST_COSINE = 0.99


class Features(NamedTuple):
    """Features by image: names, sorted, and a float32 matrix of shape (n, width)."""

    names: list[str]
    X: np.ndarray


def read_features(path: Path, count: int, way: str) -> Features:
    """Read a Parquet file, several that begin with `path`, or a store.

    Raises:
        BottleneckError: where these are not the features of `count` images.
    """
    if path.is_dir():
        files = feature_store.open(path).paths
    else:
        files = sorted(str(one) for one in path.parent.glob(f"{path.name}*"))
    if not files:
        raise BottleneckError(f"{way} wrote no features")
    table = pa.concat_tables(
        [pq.read_table(file, columns=["uri", LAYER], partitioning=None) for file in files],
        promote_options="permissive",
    ).combine_chunks()
    names = [Path(uri).name for uri in table.column("uri").to_pylist()]
    if len(names) != count or len(set(names)) != count:
        raise BottleneckError(f"{way} wrote {len(names):,} rows of {len(set(names)):,} images, not {count:,}")
    lists = table.column(LAYER).cast(pa.list_(pa.float32())).combine_chunks()
    X = list_values(lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists, WIDTH)
    order = sorted(range(count), key=names.__getitem__)
    return Features([names[row] for row in order], X[order])


def table_precision(store: Path) -> str:
    """The precision that this project chose for the table in `store`."""
    return feature_store.open(store).recipe.precision


def shared(a: Features, b: Features) -> tuple[np.ndarray, np.ndarray]:
    """The features of the images that both have, row by row."""
    rows = {name: row for row, name in enumerate(a.names)}
    both = [(rows[name], row) for row, name in enumerate(b.names) if name in rows]
    in_a, in_b = np.array(both, int).reshape(-1, 2).T
    return a.X[in_a], b.X[in_b]


def cosines(a: Features, b: Features) -> np.ndarray:
    """The cosine between the two features of each image that both have."""
    X, Y = (part.astype(np.float64) for part in shared(a, b))
    return (X * Y).sum(axis=1) / (np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1))


def relative_error(a: Features, reference: Features) -> float:
    """The largest difference of an image's features from the reference, relative to their length."""
    X, Y = shared(a, reference)
    return float((np.linalg.norm(X - Y, axis=1) / np.linalg.norm(Y, axis=1)).max())


def check_same(way: str, features: Features, ours: Features) -> None:
    """Fail where a way did not do the same work.

    Raises:
        BottleneckError: for a cosine below `LEAST_COSINE`.
    """
    similarity = cosines(features, ours)
    if not len(similarity) or not similarity.min() >= LEAST_COSINE:
        worst = f"a cosine of {similarity.min():.4f}" if len(similarity) else "no image in common"
        raise BottleneckError(f"{way} has other features than this project: {worst}, at least {LEAST_COSINE}")
