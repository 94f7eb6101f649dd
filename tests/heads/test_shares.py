from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heads.shares import (
    class_counts,
    deal,
    hold_out,
    images_among,
    originals_among,
    separable,
    share_images,
    strata,
    untestable,
)

#: Classes of rows, and units that they belong to.
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=60)


def arrays(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([y for y, _ in rows]), np.unique([unit for _, unit in rows], return_inverse=True)[1]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 99))
def test_parts_share_out_rows_and_each_class_evenly(labels: list[int], parts: int, seed: int) -> None:
    y = np.array(labels)
    part = deal(y, parts, seed)
    for rows in (part, *(part[y == number] for number in set(labels))):
        assert np.ptp(np.bincount(rows, minlength=parts)) <= 1
        assert (rows < parts).all()
    assert deal(y, parts, seed).tolist() == part.tolist()


def test_of_several_labels_the_rarest_is_the_stratum() -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]])
    assert strata(y).tolist() == [0, 1, 1, 3, 2]
    assert strata(np.array([3, 1])).tolist() == [3, 1]


def test_parts_are_at_random() -> None:
    """The seed decides, and neither the order of the rows nor which class they are of."""
    of_seed = [deal(np.repeat([0, 1], 40), 2, seed).tolist() for seed in range(3)]
    assert of_seed[0] != of_seed[1] != of_seed[2]
    assert of_seed[0] != [0, 1] * 40


@given(ROWS, st.integers(1, 6), st.integers(0, 9))
def test_no_unit_is_torn(rows: list[tuple[int, int]], parts: int, seed: int) -> None:
    y, units = arrays(rows)
    part, held_out = deal(y, parts, seed, units), hold_out(y, 3, seed, units)
    for unit in np.unique(units):
        assert len(set(part[units == unit].tolist())) == len(set(held_out[units == unit].tolist())) == 1


def test_a_unit_counts_for_the_rarest_of_its_classes() -> None:
    """Of four patients two have one image of class 1 each: they never share a part."""
    units = np.repeat(np.arange(4), 3)
    y = np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1])
    for seed in range(20):
        part = deal(y, 2, seed, units)
        assert part[4] != part[11] and np.bincount(part).tolist() == [6, 6]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(2, 10), st.integers(0, 9))
def test_of_each_class_a_share_is_held_out_and_one_row_at_least(
    labels: list[int], one_of: int, seed: int
) -> None:
    y = np.array(labels)
    held_out = hold_out(y, one_of, seed)
    for label in np.unique(y):
        rows = int((y == label).sum())
        assert held_out[y == label].sum() == (-(-rows // one_of) if rows > 1 else 0)


def test_the_seed_decides_what_is_held_out() -> None:
    y = np.arange(100) % 2
    first, again, other = (hold_out(y, 10, seed).tolist() for seed in (1, 1, 2))
    assert first == again != other and first != [n < 10 for n in range(100)]


def test_what_one_unit_alone_has_can_not_be_tested() -> None:
    units = np.array([0, 0, 1, 1, 2])
    assert untestable(np.array([0, 0, 1, 2, 2]), units).tolist() == [0, 1]
    several = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [1, 0, 1, 0]])
    assert untestable(several, units).tolist() == [1], "the last label has no row"


def test_units_are_kept_apart_where_each_class_has_several() -> None:
    y = np.array([0, 0, 1, 1])
    units = np.array([0, 1, 0, 1])
    assert separable(y, units) is units
    assert separable(y, np.array([0, 1, 2, 2])) is None and separable(y, None) is None


def test_rows_of_each_class_are_counted_and_so_are_those_of_none() -> None:
    assert class_counts(np.array([2, 0, 2]), 4).tolist() == [1, 0, 2, 0]
    assert class_counts(np.array([[1, 0], [1, 0]], np.int8), 2).tolist() == [2, 0]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=25),
    st.sampled_from([deal, hold_out]),
    st.integers(0, 9),
    st.booleans(),
)
def test_views_go_with_their_image_and_images_are_shared_out_as_without_them(
    images: list[tuple[int, int]], share: Callable[..., np.ndarray], seed: int, grouped: bool
) -> None:
    y, views = np.array(images).T
    units = np.arange(len(y)) // 3 if grouped else None
    expected = share_images(share, y, 4, seed, units, None)
    # The images in their order, and views of any of them in between.
    place = np.cumsum(1 + views) - 1
    originals = np.repeat(place, 1 + views)
    others = np.flatnonzero(originals != np.arange(len(originals)))
    originals[others] = np.random.default_rng(seed).permutation(originals[others])
    image = np.searchsorted(place, originals)
    shared = share_images(share, y[image], 4, seed, None if units is None else units[image], originals)
    assert (shared == expected[image]).all()


def test_the_images_of_views_are_found_among_some_rows() -> None:
    originals = np.array([0, 0, 2, 3, 2, 3, 0])
    assert images_among(originals).tolist() == [0, 2, 3]
    assert originals_among(originals, np.array([3, 6, 5, 0])).tolist() == [0, 3, 0, 3]
