from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from heads.evidence.statistics import PARTS, bootstrap_interval, holm, interval_of_draws, paired_p_value
from heads.shares import deal


def test_the_interval_of_draws_is_students_with_the_variance_of_shared_images() -> None:
    values = [0.7, 0.8, 0.75, 0.9, 0.85]
    mean, low, high = interval_of_draws(values)
    half = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) * np.sqrt(1 / 5 + 0.25)
    assert (mean, low, high) == pytest.approx((0.8, 0.8 - half, 0.8 + half))


@pytest.mark.parametrize("draws", [5, 10, 50])
def test_the_interval_of_draws_seldom_misses_however_many_they_are(draws: int) -> None:
    """Two answers that are right equally often: in more draws the same images are tested again."""
    missed = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        difference = random.integers(-1, 2, 200).astype(float)
        means = [
            difference[deal(np.zeros(200, int), PARTS, 1000 * seed + dealing) == part].mean()
            for dealing in range(draws // PARTS)
            for part in range(PARTS)
        ]
        _, low, high = interval_of_draws(means)
        missed += low > 0 or high < 0
    assert missed < 0.08 * 200


def test_a_bootstrap_keeps_together_what_belongs_together() -> None:
    """Ten images of one patient say as much as one."""
    random = np.random.default_rng(0)
    of_units = random.integers(0, 2, 30).astype(float)
    values = np.repeat(of_units, 10)
    mean, low, high = bootstrap_interval(values, np.repeat(np.arange(30), 10))
    _, low_of_images, high_of_images = bootstrap_interval(values, np.arange(300))
    assert mean == of_units.mean()
    assert high - low == pytest.approx(3.16 * (high_of_images - low_of_images), rel=0.15)
    assert low < mean < high
    expected = 1.96 * np.sqrt(mean * (1 - mean) / 30)
    assert high - mean == pytest.approx(expected, rel=0.15)


def test_units_of_different_sizes_count_by_their_images() -> None:
    values = np.array([1.0, 0.0, 0.0, 0.0])
    mean, low, high = bootstrap_interval(values, np.array([0, 1, 1, 1]))
    assert mean == 0.25 and (low, high) == (0.0, 1.0)


def test_single_images_are_compared_by_mcnemars_test() -> None:
    right = np.array([1.0] * 10 + [0.0] * 2 + [1.0] * 50)
    other = np.array([0.0] * 10 + [1.0] * 2 + [1.0] * 50)
    assert paired_p_value(right, other, np.arange(62)) == pytest.approx(stats.binomtest(10, 12).pvalue)
    assert paired_p_value(right, right, np.arange(62)) == 1.0


def test_images_of_a_group_count_once() -> None:
    """Ten images of one patient that a head alone gets right say no more than one does."""
    right, other = np.ones(40), np.ones(40)
    other[:10] = 0
    assert paired_p_value(right, other, np.arange(40)) < 0.01
    assert paired_p_value(right, other, np.repeat(np.arange(4), 10)) > 0.4
    several = paired_p_value(np.full(40, 0.9), np.full(40, 0.5), np.arange(40))
    assert several < 0.01, "of several labels images are partly right"


def test_holm_adjusts_as_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
