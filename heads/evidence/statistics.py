"""Intervals and tests of differences, where the same images are answered by several heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: Two-sided, as everywhere in the evidence.
CONFIDENCE = 0.95
#: Resamplings of a bootstrap.
RESAMPLINGS = 2000


def interval_of_draws(
    values: Sequence[float] | np.ndarray, tested_share: float
) -> tuple[float, float, float]:
    """Mean and 95 % interval of a figure over draws of train and test images.

    Student's interval, its variance raised since draws share training images: the corrected resampled t-test
    of Nadeau and Bengio (2003), https://doi.org/10.1023/A:1024068626366

    Args:
        values: of each draw, at least two.
        tested_share: the share of the images that each draw tests.

    Returns:
        Mean, low and high.
    """
    from scipy.stats import t

    values = np.asarray(values, float)
    count, mean = len(values), float(values.mean())
    variance = values.var(ddof=1) * (1 / count + tested_share / (1 - tested_share))
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.sqrt(variance))
    return mean, mean - half, mean + half


def bootstrap_interval(values: np.ndarray, units: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a figure of each image and its 95 % interval, by resampling units.

    Args:
        values: of shape (n,).
        units: numbers of what belongs together, from 0, of shape (n,).

    Returns:
        Mean, low and high.
    """
    sums, counts = np.bincount(units, values), np.bincount(units)
    (interval,) = bootstrap(
        lambda times: [float(times @ sums / (times @ counts))], len(sums), RESAMPLINGS, seed
    )
    return float(values.mean()), *interval


def bootstrap(
    figures: Callable[[np.ndarray], Sequence[float]], units: int, resamplings: int, seed: int = 0
) -> list[tuple[float, float]]:
    """95 % intervals of figures, by drawing units with replacement: the percentiles of what they give.

    Args:
        figures: gives them for how often each unit was drawn, int ndarray of shape (units,).
        units: how many there are.
    """
    random = np.random.default_rng(seed)
    drawn = [
        figures(np.bincount(random.integers(0, units, units), minlength=units)) for _ in range(resamplings)
    ]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def mcnemar(right: np.ndarray, right_of_other: np.ndarray) -> float:
    """p-value of McNemar's exact test: whether two heads are right equally often on the same images.

    Args:
        right, right_of_other: bool ndarrays of shape (n,).
    """
    from scipy.stats import binomtest

    alone, other_alone = int((right & ~right_of_other).sum()), int((right_of_other & ~right).sum())
    if alone + other_alone == 0:
        return 1.0
    return float(binomtest(alone, alone + other_alone).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, by Holm's method (1979)."""
    order = np.argsort(p_values, kind="stable")
    count = len(order)
    steps = np.asarray(p_values, float)[order] * (count - np.arange(count))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()
