from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from heads.evidence.statistics import bootstrap_interval, holm, interval_of_draws, mcnemar


def test_the_interval_of_draws_is_students_with_the_variance_of_shared_images() -> None:
    values = [0.7, 0.8, 0.75, 0.9, 0.85]
    mean, low, high = interval_of_draws(values, 0.2)
    half = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) * np.sqrt(1 / 5 + 0.25)
    assert (mean, low, high) == pytest.approx((0.8, 0.8 - half, 0.8 + half))


def test_the_interval_of_draws_seldom_misses() -> None:
    """Of differences that are nothing but chance, about one in twenty may look real, and not more."""
    random = np.random.default_rng(0)
    intervals = [interval_of_draws(random.normal(size=10), 0.2) for _ in range(2000)]
    assert np.mean([low > 0 or high < 0 for _, low, high in intervals]) < 0.05


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


def test_mcnemar_looks_at_what_one_of_two_gets_wrong() -> None:
    right = np.array([True] * 10 + [False] * 2 + [True] * 50)
    other = np.array([False] * 10 + [True] * 2 + [True] * 50)
    assert mcnemar(right, other) == pytest.approx(stats.binomtest(10, 12).pvalue)
    assert mcnemar(right, right) == 1.0


def test_holm_adjusts_as_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
