"""Whether the splits have the same classes in the same shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.text import counted, printable
from heads.evidence.statistics import CONFIDENCE, holm


def compare_splits(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Compare the classes of validation and test with those of train: Pearson's chi-squared test.

    Its distribution is by permutation where a class has few images, since the usual one does not hold then.

    Args:
        counts: images by label and split.

    Returns:
        `differs`, and of each split `p_value` (Holm-adjusted), `differs` and a `sentence`.
    """
    splits = [
        split
        for split in ("validation", "test")
        if sum(of[split] for of in counts.values()) and sum(of["train"] for of in counts.values())
    ]
    tables = [np.array([[of["train"], of[split]] for of in counts.values()]) for split in splits]
    adjusted = holm([_p_value(table) for table in tables])
    results = []
    for split, table, p_value in zip(splits, tables, adjusted, strict=True):
        differs = p_value < 1 - CONFIDENCE
        results.append(
            {
                "split": split,
                "p_value": p_value,
                "differs": differs,
                "sentence": _sentence(split, list(counts), table, p_value, differs=differs),
            }
        )
    return {"differs": any(of["differs"] for of in results), "splits": results}


def _p_value(table: np.ndarray) -> float:
    from scipy.stats import PermutationMethod, chi2_contingency

    table = table[table.sum(axis=1) > 0]
    if len(table) < 2:
        return 1.0
    expected = chi2_contingency(table, correction=False)
    if expected.expected_freq.min() >= 5:
        return float(expected.pvalue)
    method = PermutationMethod(n_resamples=999, rng=np.random.default_rng(0))
    return float(chi2_contingency(table, correction=False, method=method).pvalue)


def _sentence(split: str, labels: list[str], table: np.ndarray, p_value: float, *, differs: bool) -> str:
    """What there is to say of a split, with the class whose share differs most."""
    images = counted(int(table[:, 1].sum()), "image")
    if not differs:
        return f"{split}: {images}, whose classes do not differ from those of train (p = {p_value:.2g})."
    shares = table / table.sum(axis=0)
    most = int(np.abs(shares[:, 1] - shares[:, 0]).argmax())
    return (
        f"{split}: {images}, whose classes differ from those of train (p = {p_value:.2g}); most of all "
        f"{printable(labels[most])}, {shares[most, 1]:.1%} here and {shares[most, 0]:.1%} of train."
    )
