"""Intervals and tests of differences, where the same images are answered by several heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: Two-sided, as everywhere in the evidence.
CONFIDENCE = 0.95
#: Into so many parts images are dealt, of which each draw tests one.
PARTS = 5
#: Units, such as groups, below which nothing can be told by resampling them.
LEAST_UNITS = 6
#: Resamplings of a bootstrap.
RESAMPLINGS = 2000
_SIGN_FLIPS = 2000


def interval_of_draws(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval of a figure over draws, each tested on one of `PARTS` parts by turns.

    Student's interval, its variance raised since draws share images: the corrected resampled t-test of Nadeau
    and Bengio (2003), https://doi.org/10.1023/A:1024068626366

    Args:
        values: of each draw, at least two.

    Returns:
        Mean, low and high.
    """
    from scipy.stats import t

    values = np.asarray(values, float)
    count, mean = len(values), float(values.mean())
    variance = values.var(ddof=1) * (1 / count + 1 / (PARTS - 1))
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
        figures: gives them, or NaN, for how often each unit was drawn, int ndarray of shape (units,).
        units: how many there are.
    """
    random = np.random.default_rng(seed)
    drawn = [
        figures(np.bincount(random.integers(0, units, units), minlength=units)) for _ in range(resamplings)
    ]
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def paired_p_value(right: np.ndarray, of_other: np.ndarray, units: np.ndarray) -> float:
    """Whether two heads are right equally often on the same images: p-value.

    McNemar's exact test, where each image is right or wrong and on its own. Else units have their differences
    turned around at random: images of a group may be wrong together.

    Args:
        right, of_other: how right each image is answered, from 0 to 1, (n,).
        units: numbers of what belongs together, from 0, (n,).
    """
    differences = np.bincount(units, right - of_other)
    if np.isin(differences, (-1, 0, 1)).all() and len(differences) == len(right):
        return _mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
    random, differences = np.random.default_rng(0), differences[differences != 0]
    reached = abs(differences.sum()) - 1e-9
    flips = (random.choice((-1.0, 1.0), len(differences)) @ differences for _ in range(_SIGN_FLIPS))
    return float((sum(abs(flip) >= reached for flip in flips) + 1) / (_SIGN_FLIPS + 1))


def _mcnemar(alone: int, other_alone: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(alone, alone + other_alone).pvalue) if alone + other_alone else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, by Holm's method (1979)."""
    order = np.argsort(p_values, kind="stable")
    count = len(order)
    steps = np.asarray(p_values, float)[order] * (count - np.arange(count))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()
