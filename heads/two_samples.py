"""A classifier two-sample test: whether rows of two sets are told apart by their features.

Of two sets of the same distribution, nothing can tell which one a row is of. So a linear classifier is
trained to do it, and tested on rows that it has not seen: Lopez-Paz and Oquab (2017),
https://arxiv.org/abs/1610.06545

Scores of a cross-validation depend on each other, so that the usual tests take chance for a difference far
too often. Here the test is exact: the sets of the rows are permuted, and all is done again. The classifier is
a ridge regression, since its scores of held-out rows are a matrix times the sets: a permutation costs no
training.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from heads.evidence.statistics import CONFIDENCE
from heads.shares import deal

_FOLDS = 5
_PERMUTATIONS = 499
#: Of ridge regression, where the products of rows are about 1.
_PENALTY = 1.0


class TwoSampleResult(NamedTuple):
    """How well a classifier tells the rows of two sets apart.

    Attributes:
        auc: area under the ROC curve of rows that were held out: 0.5 is chance, 1 is certainty.
        interval: its 95 % interval.
        p_value: that chance gives as much, one-sided.
        rows: of the first set, and of the second.
    """

    auc: float
    interval: tuple[float, float]
    p_value: float
    rows: tuple[int, int]


def two_sample_test(
    X: np.ndarray, is_second: np.ndarray, strata: np.ndarray, seed: int = 0
) -> TwoSampleResult:
    """Train a classifier to tell two sets apart, cross-validated.

    Args:
        X: features, float32 ndarray of shape (n, width).
        is_second: of which set each row is, bool ndarray of shape (n,); at least five of either.
        strata: numbers of what rows are permuted within, such as their classes where the sets have as many of
            each, int ndarray of shape (n,).
        seed: of the folds and permutations.
    """
    from scipy.stats import norm
    from threadpoolctl import threadpool_limits

    random, fold = np.random.default_rng(seed), deal(is_second.astype(int), _FOLDS, seed)
    # Also within folds: each has its share of both sets.
    _, strata = np.unique(np.stack([strata, fold]), axis=1, return_inverse=True)
    sets = np.empty((len(X), 1 + _PERMUTATIONS))
    in_order = np.argsort(strata, kind="stable")
    sets[:, 0] = is_second
    for number in range(1, sets.shape[1]):
        shuffled = np.lexsort((random.random(len(X)), strata))
        sets[in_order, number] = is_second[shuffled]
    with threadpool_limits(1, user_api="blas"):  # on a busy machine, threads would wait for each other
        scores = _scores_by_sets(X, fold) @ sets
    auc, *by_chance = _areas(scores, sets.astype(bool))
    second = int(is_second.sum())
    first = len(X) - second
    # As if scores were independent, the area would vary by chance as Mann and Whitney say.
    dependence = np.std(by_chance) / np.sqrt((len(X) + 1) / (12 * first * second))
    error = _standard_error(scores[~is_second, 0], scores[is_second, 0]) * max(1.0, float(dependence))
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    reached = sum(one >= auc - 1e-12 for one in by_chance)
    return TwoSampleResult(
        auc,
        (max(0.0, auc - half), min(1.0, auc + half)),
        (reached + 1) / (_PERMUTATIONS + 1),
        (first, second),
    )


def _scores_by_sets(X: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What the sets of the rows, 0 or 1, are multiplied by for the scores of held-out rows: (n, n)."""
    deviation = X.std(axis=0)
    X = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    products = (X @ X.T).astype(float) / X.shape[1]
    weights = np.zeros_like(products)
    for number in np.unique(fold):
        held_out, train = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        of_train = products[np.ix_(train, train)]
        of_train[np.diag_indices(len(train))] += _PENALTY
        of_fold = np.linalg.solve(of_train, products[np.ix_(train, held_out)]).T
        of_fold -= of_fold.mean(axis=1, keepdims=True)  # an intercept
        weights[np.ix_(held_out, train)] = of_fold
    return weights


def _areas(scores: np.ndarray, sets: np.ndarray) -> list[float]:
    """The area under the ROC curve of each column, by ranks."""
    from scipy.stats import rankdata

    second = int(sets[:, 0].sum())
    ranks = rankdata(scores, axis=0)
    above = np.where(sets, ranks, 0).sum(axis=0) - second * (second + 1) / 2
    return (above / (second * (len(sets) - second))).tolist()


def _standard_error(first: np.ndarray, second: np.ndarray) -> float:
    """That of the area for given scores, by how much each row adds to it: DeLong et al. (1988)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([first, second]))
    of_first = 1 - (ranks[: len(first)] - rankdata(first)) / len(second)
    of_second = (ranks[len(first) :] - rankdata(second)) / len(first)
    return float(np.sqrt(of_first.var(ddof=1) / len(first) + of_second.var(ddof=1) / len(second)))
