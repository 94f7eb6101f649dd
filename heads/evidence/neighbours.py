"""The nearest neighbours of images by their features: exact for some ten thousand, by an index beyond.

Neighbours are by the cosine. The index (faiss, inverted lists) holds features reduced to 256 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.errors import BottleneckError
from heads.evidence.images import LabelledRows
from heads.evidence.out_of_fold import some_rows
from heads.progress import Progress, silent

if TYPE_CHECKING:
    import faiss

#: Neighbours of each image.
NEIGHBOURS = 10
#: Images up to which each is compared with every other, in memory: 160 MB of 2,048 features.
MOST_EXACT = 20_000

_ROWS_AT_ONCE = 1024
#: Images that the lists of the index are made from, at most.
_MOST_TRAINING = 20_000
_QUERIES_AT_ONCE = 4096
#: Numbers that features are reduced to.
_REDUCED = 256
#: Lists that are looked through for each image.
_PROBES = 16


class Neighbours(NamedTuple):
    """Of each image the nearest others, nearest first.

    Attributes:
        numbers: of images, int64 (n, k); -1 where there are fewer.
        cosines: float32 of the same shape.
        exact: whether each image was compared with every other.
    """

    numbers: np.ndarray
    cosines: np.ndarray
    exact: bool


def find_neighbours(
    images: LabelledRows, layers: Sequence[str], seed: int = 0, progress: Progress = silent
) -> Neighbours:
    """The nearest neighbours of each image among the others.

    Args:
        progress: called now and then with how many images are done.

    Raises:
        BottleneckError: where an index is needed, and its package is missing.
    """
    count = min(NEIGHBOURS, len(images) - 1)
    if len(images) <= MOST_EXACT:
        return _exact(_normalized(images.features(layers)), count, progress)
    return _by_index(images, layers, count, seed, progress)


def _exact(X: np.ndarray, count: int, progress: Progress) -> Neighbours:
    numbers = np.empty((len(X), count), np.int64)
    cosines = np.empty((len(X), count), np.float32)
    for start in range(0, len(X), _ROWS_AT_ONCE):
        rows = slice(start, min(start + _ROWS_AT_ONCE, len(X)))
        products = X[rows] @ X.T
        products[np.arange(len(products)), np.arange(rows.start, rows.stop)] = -np.inf
        nearest = (
            np.argpartition(-products, count - 1, axis=1)[:, :count] if count else products[:, :0].astype(int)
        )
        values = np.take_along_axis(products, nearest, axis=1)
        order = np.lexsort((nearest, -values), axis=1)
        numbers[rows] = np.take_along_axis(nearest, order, axis=1)
        cosines[rows] = np.take_along_axis(values, order, axis=1)
        progress(rows.stop, len(X), {})
    return Neighbours(numbers, cosines, exact=True)


def _by_index(
    images: LabelledRows, layers: Sequence[str], count: int, seed: int, progress: Progress
) -> Neighbours:
    reduce, index = _new_index(images, layers, seed)
    X = np.empty((len(images), index.d), np.float32)
    for place, batch in images.batches(layers):
        X[place] = _normalized(reduce(batch))
        index.add(X[place])
    numbers = np.full((len(images), count), -1, np.int64)
    cosines = np.full((len(images), count), -np.inf, np.float32)
    for start in range(0, len(images), _QUERIES_AT_ONCE):
        place = slice(start, min(start + _QUERIES_AT_ONCE, len(images)))
        values, nearest = index.search(X[place], count + 1)
        # The image itself is mostly the first, but not among files of the same bytes.
        own = nearest == np.arange(place.start, place.stop)[:, None]
        own[~own.any(axis=1), -1] = True
        numbers[place] = nearest[~own].reshape(-1, count)
        cosines[place] = values[~own].reshape(-1, count)
        progress(place.stop, len(images), {})
    return Neighbours(numbers, cosines, exact=False)


def _new_index(
    images: LabelledRows, layers: Sequence[str], seed: int
) -> tuple[Callable[[np.ndarray], np.ndarray], faiss.Index]:
    """What reduces features, keeping their cosines as far as it can, and an empty index of what it gives."""
    try:
        import faiss
    except ImportError as error:
        raise BottleneckError(
            f"the neighbours of {len(images):,} images are found by an index, which needs the "
            f"extra `report`: pip install 'bottleneck-features[report]'"
        ) from error
    from sklearn.decomposition import TruncatedSVD

    some = _normalized(images.features(layers, some_rows(images, _MOST_TRAINING, seed)))
    width = min(_REDUCED, some.shape[1] - 1)
    # Not centered, which would change the cosines.
    reduction = TruncatedSVD(width, random_state=seed).fit(some)
    lists = int(min(2 * np.sqrt(len(images)), len(some) / 40))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(_normalized(reduction.transform(some)))
    index.nprobe = _PROBES
    return lambda X: reduction.transform(_normalized(X)).astype(np.float32), index


def _normalized(X: np.ndarray) -> np.ndarray:
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float32).tiny)
