"""Sharing rows out evenly: into folds, and into a part that is held out.

A *unit* is what must not part, such as the images of a group: what is learned from some of its rows would be
tested on the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def strata(y: np.ndarray) -> np.ndarray:
    """A class for each row, to share rows out evenly by: int ndarray of shape (n,).

    Args:
        y: as `heads.Head.fit_matrix` takes it; of several labels the rarest counts, and to have none is a
            class of its own.
    """
    if y.ndim == 1:
        return y
    rarest_first = np.argsort(y.sum(axis=0), kind="stable")
    return np.where(y.any(axis=1), rarest_first[y[:, rarest_first].argmax(axis=1)], y.shape[1])


def deal(y: np.ndarray, parts: int, seed: int, units: np.ndarray | None = None) -> np.ndarray:
    """The part of each row, from 0, at random, each class shared out evenly: int ndarray of shape (n,).

    Units are dealt in turn, class by class: unlike `StratifiedKFold` this takes classes of few rows.

    Args:
        y: as `heads.Head.fit_matrix` takes it.
        units: numbers of what must not part, from 0, of shape (n,); by default each row is one.
    """
    units = np.arange(len(y)) if units is None else units
    of_unit = _class_of_units(strata(y), units)
    part = np.empty(len(of_unit), int)
    part[_by_class(of_unit, seed)] = np.arange(len(of_unit)) % parts
    return part[units]


def hold_out(y: np.ndarray, one_of: int, seed: int, units: np.ndarray | None = None) -> np.ndarray:
    """One of so many units of each class, and at least one where a class has two: bool ndarray of shape (n,).

    Args:
        y, units: as of `deal`.
    """
    units = np.arange(len(y)) if units is None else units
    of_unit = _class_of_units(strata(y), units)
    order = _by_class(of_unit, seed)
    first = np.searchsorted(of_unit[order], of_unit[order])  # where the class begins
    held_out = np.zeros(len(of_unit), bool)
    held_out[order] = (np.arange(len(order)) - first) % one_of == 0
    return (held_out & (np.bincount(of_unit)[of_unit] > 1))[units]


def share_images(
    share: Callable[..., np.ndarray],
    y: np.ndarray,
    number: int,
    seed: int,
    units: np.ndarray | None,
    originals: np.ndarray | None,
) -> np.ndarray:
    """What `deal` or `hold_out` gives of images; augmented views go where their image goes.

    Units are kept apart where each class has several. Images are shared out as they are without views.

    Args:
        share: either of the two, called with `number` as its second argument.
        y, units: as of `deal`.
        originals: as `heads.Head.fit_matrix` takes it.
    """
    if originals is None:
        return share(y, number, seed, separable(y, units))
    images = images_among(originals)
    of_images = None if units is None else units[images]
    shared = share(y[images], number, seed, separable(y[images], of_images))
    return shared[np.searchsorted(images, originals)]


def images_among(originals: np.ndarray) -> np.ndarray:
    """Numbers of the rows that are images themselves, ascending.

    Args:
        originals: as `heads.Head.fit_matrix` takes it.
    """
    return np.flatnonzero(originals == np.arange(len(originals)))


def originals_among(originals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The numbers of the originals among some rows, which hold the image of each view that they hold.

    Args:
        originals: as `heads.Head.fit_matrix` takes it.
        rows: numbers, in any order.
    """
    place = np.empty(len(originals), int)
    place[rows] = np.arange(len(rows))
    return place[originals[rows]]


def joined(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Numbers of what belongs together by pairs, also by way of others: int ndarray of shape (count,).

    Args:
        first, second: the numbers of each pair, from 0 to below `count`.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    graph = csr_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def class_counts(y: np.ndarray, classes: int) -> np.ndarray:
    """Rows of each class, or with each label; y as `heads.Head.fit_matrix` takes it."""
    return y.sum(axis=0) if y.ndim == 2 else np.bincount(y, minlength=classes)


def untestable(y: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The classes, or labels, that one unit alone has: nobody could learn them without it. Their numbers."""
    rows, labels = (np.arange(len(y)), y) if y.ndim == 1 else np.nonzero(y)
    pairs = np.unique(np.stack([labels, units[rows]]), axis=1)
    return np.flatnonzero(np.bincount(pairs[0]) == 1)


def separable(y: np.ndarray, units: np.ndarray | None) -> np.ndarray | None:
    """The units, where each class has several of them; else None: they can't be kept apart then."""
    return None if units is None or len(untestable(y, units)) else units


def _class_of_units(classes: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Of the classes of a unit's rows the rarest: int ndarray of shape (n_units,)."""
    order = np.lexsort((np.bincount(classes)[classes], units))
    _, first = np.unique(units[order], return_index=True)
    return classes[order][first]


def _by_class(classes: np.ndarray, seed: int) -> np.ndarray:
    """Numbers that sort by class, and at random within each."""
    order = np.random.default_rng(seed).permutation(len(classes))
    return order[np.argsort(classes[order], kind="stable")]
