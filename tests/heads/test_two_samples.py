from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from heads.two_samples import _areas, _standard_error, two_sample_test


def rows(old: int, new: int, shift: float, seed: int = 0, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(old + new, width)).astype(np.float32)
    X[old:, :3] += shift
    return X, np.arange(old + new) >= old


def test_sets_that_differ_are_told_apart() -> None:
    X, new = rows(80, 40, 2.0)
    told = two_sample_test(X, new, np.zeros(120, int))
    low, high = told.interval
    assert 0.9 < low < told.auc < high <= 1
    assert told.p_value == 1 / 500 and told.rows == (80, 40)
    turned = two_sample_test(X, ~new, np.zeros(120, int))
    assert turned.auc == pytest.approx(told.auc, abs=0.02) and turned.rows == (40, 80)


def test_chance_is_taken_for_a_difference_as_often_as_it_should_be() -> None:
    """In one of 20 cases, and the interval misses 0.5 as often: 100 sets without a difference."""
    told = [two_sample_test(*rows(30, 25, 0, seed, 16), np.zeros(55, int), seed) for seed in range(100)]
    assert sum(one.p_value < 0.05 for one in told) <= 10
    assert 0.4 < np.mean([one.p_value for one in told]) < 0.6
    assert sum(one.interval[0] <= 0.5 <= one.interval[1] for one in told) >= 88
    assert np.mean([one.auc for one in told]) == pytest.approx(0.5, abs=0.03)


def test_the_same_seed_gives_the_same() -> None:
    X, new = rows(40, 30, 0.3)
    first, again, other = (two_sample_test(X, new, np.zeros(70, int), seed) for seed in (1, 1, 2))
    assert first == again != other


def test_rows_are_permuted_within_strata_alone() -> None:
    """Two classes, of which the sets have other shares: within them, nothing differs."""
    X, _ = rows(200, 0, 0)
    classes = np.arange(200) % 2
    X[:, 0] += 4 * classes
    random = np.random.default_rng(0)
    new = random.random(200) < np.where(classes, 0.8, 0.2)
    assert two_sample_test(X, new, np.zeros(200, int)).p_value < 0.01
    assert two_sample_test(X, new, classes).p_value > 0.05


def test_features_that_never_change_are_no_obstacle() -> None:
    X, new = rows(40, 40, 1.0)
    X[:, 5] = 3
    assert two_sample_test(X, new, np.zeros(80, int)).auc > 0.8


def test_areas_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 9, (50, 3)).astype(float)  # with ties
    sets = np.stack([random.permutation(np.arange(50) < 20) for _ in range(3)], axis=1)
    expected = [roc_auc_score(sets[:, n], scores[:, n]) for n in range(3)]
    assert _areas(scores, sets) == pytest.approx(expected)


def test_the_standard_error_is_that_of_resampling() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=60), 0.8 + random.normal(size=40)
    drawn = []
    for _ in range(2000):
        scores = np.concatenate([random.choice(first, 60), random.choice(second, 40)])
        drawn.append(roc_auc_score(np.arange(100) >= 60, scores))
    assert _standard_error(first, second) == pytest.approx(np.std(drawn), rel=0.1)
