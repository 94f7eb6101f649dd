"""Where images lie on a map of their features: a sample of a table's rows, brought down to two dimensions.

Only the features of the sample are read, a row group at a time: the table may be larger than memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.store.streams import RowGroup

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Images on the map at most.
MOST_POINTS = 2000
#: Row groups that are read at most, of 8 MiB each; in a larger table they are spread over it.
_MOST_GROUPS = 256
#: Dimensions that t-SNE starts from, as its author advises: https://lvdmaaten.github.io/tsne/
_BEFORE_TSNE = 50
#: Neighbours that t-SNE keeps near; fewer for few images.
_PERPLEXITY = 30
#: Below this many images there is nothing to see.
_FEWEST = 5


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """Images on a plane.

    Attributes:
        layer: of whose features the map is.
        positions: float ndarray of shape (n, 2), from 0 to 1.
        uris: file of each image.
        labels: of each image, a tuple of str.
        images: in the table, of which these are a sample.
    """

    layer: str
    positions: np.ndarray
    uris: Sequence[str]
    labels: Sequence[tuple[str, ...]]
    images: int


def make_map(
    table: FeatureTable, layer: str, named: Sequence[str] = (), *, most: int = MOST_POINTS
) -> FeatureMap | None:
    """A map of a table's images; None where too few have features that can be placed.

    Args:
        layer: whose features to take.
        named: files that are on the map whenever they are in the table and there is room.
        most: images on the map.
    """
    groups = table.row_groups(None, multi_label=True)
    starts = np.cumsum([0, *(len(group.rows) for group in groups)])
    rows = table.metadata(["uri", "view"])
    are_images = pc.equal(rows.column("view"), 0).to_numpy()
    are_named = pc.is_in(rows.column("uri"), pa.array(named, pa.string())).to_numpy() & are_images
    candidates, labels = _candidates(groups, starts, are_images, are_named)
    uris = rows.column("uri").take(candidates).to_pylist()
    chosen = sample([label[:1] for label in labels], are_named[candidates], most)
    if len(chosen) < _FEWEST:
        return None
    X = table.take(candidates[chosen], layers=[layer])
    finite = np.isfinite(X).all(axis=1)
    if finite.sum() < _FEWEST:
        return None
    kept = chosen[finite]
    return FeatureMap(
        layer,
        _to_unit_square(project(X[finite])),
        [uris[row] for row in kept],
        [labels[row] for row in kept],
        int(are_images.sum()),
    )


def _candidates(
    groups: Sequence[RowGroup], starts: np.ndarray, are_images: np.ndarray, are_named: np.ndarray
) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Rows that may be sampled, and their labels: images themselves, in row groups spread over the table.

    The row groups of named images are among them, whatever their number: an evaluation names few.
    """
    spread = np.linspace(0, len(groups) - 1, min(len(groups), _MOST_GROUPS)).astype(int)
    of_named = np.searchsorted(starts, np.flatnonzero(are_named), side="right") - 1
    places = np.union1d(spread, of_named).tolist()
    rows = np.array([row for place in places for row in range(starts[place], starts[place + 1])], int)
    labels = [label for place in places for label in groups[place].labels]
    kept = are_images[rows]
    return rows[kept], [label for label, keep in zip(labels, kept, strict=True) if keep]


def sample(strata: Sequence[tuple[str, ...]], named: np.ndarray, most: int) -> np.ndarray:
    """Some of the rows, each stratum by its share but no less than one, the named rows first.

    Rows are taken in turns: by the place that each has within its stratum, shuffled, relative to the
    stratum's size. The same rows always give the same sample.

    Returns:
        Their numbers, ascending, int ndarray of shape (at most `most`,).
    """
    count = len(strata)
    if count <= most:
        return np.arange(count)
    codes = {stratum: code for code, stratum in enumerate(sorted(set(strata)))}
    of_row = np.array([codes[stratum] for stratum in strata])
    shuffled = np.random.default_rng(0).permutation(count)
    first = named
    # Within each stratum: the named rows, then the others as shuffled.
    order = shuffled[np.lexsort((~first[shuffled], of_row[shuffled]))]
    sizes = np.bincount(of_row)
    within = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    turn = within / sizes[of_row[order]]
    turn[first[order]] = -1.0
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def project(X: np.ndarray) -> np.ndarray:
    """Two dimensions in which images of like features lie together, by t-SNE.

    Of one thread: its sums depend on how they are shared out, and the same features must give the same map.

    Args:
        X: float32 of shape (n, width), n at least 5.

    Returns:
        float ndarray of shape (n, 2).
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if not np.ptp(X, axis=0).any():  # all images alike
        return np.zeros((len(X), 2))
    with threadpool_limits(1):
        dimensions = min(_BEFORE_TSNE, *X.shape)
        reduced = PCA(dimensions, svd_solver="randomized", random_state=0).fit_transform(X.astype(np.float64))
        perplexity = min(_PERPLEXITY, (len(X) - 1) / 3)
        return TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(reduced)


def _to_unit_square(positions: np.ndarray) -> np.ndarray:
    """The same map with both sides from 0 to 1, in steps of 0.0001."""
    low = positions.min(axis=0)
    size = np.maximum((positions - low).max(axis=0), 1e-12)
    return ((positions - low) / size).astype(np.float64).round(4)
