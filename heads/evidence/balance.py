"""Whether the splits have the same classes in the same shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.text import counted, printable
from heads.evidence.statistics import CONFIDENCE, holm

#: Images of a class that are to be expected in a split for the test to hold.
_LEAST = 5


def compare_splits(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Compare the classes of validation and test with those of train: Pearson's chi-squared test.

    The rarest classes are taken together until the test holds for them.

    Args:
        counts: images by label and split.

    Returns:
        `differs`, and of each split `p_value` (Holm-adjusted; None for too few images), `differs` and a
        `sentence`.
    """
    tables = {
        split: np.array([[of["train"], of[split]] for of in counts.values()])
        for split in ("validation", "test")
    }
    tables = {split: table for split, table in tables.items() if table.sum(axis=0).all()}
    found = {split: p for split, table in tables.items() if (p := shares_p_value(table)) is not None}
    adjusted = dict(zip(found, holm(list(found.values())), strict=True))
    results = []
    for split, table in tables.items():
        p_value = adjusted.get(split)
        differs = p_value is not None and p_value < 1 - CONFIDENCE
        sentence = _sentence(split, list(counts), table, p_value, differs=differs)
        results.append({"split": split, "p_value": p_value, "differs": differs, "sentence": sentence})
    return {"differs": any(of["differs"] for of in results), "splits": results}


def shares_p_value(table: np.ndarray) -> float | None:
    """Whether classes have the same shares everywhere: Pearson's chi-squared test; None for too few images.

    The rarest classes are taken together until at least 5 images of each are to be expected everywhere.

    Args:
        table: images of each class (rows) in each of some sets of images (columns), none of them empty.
    """
    from scipy.stats import chi2_contingency
    from scipy.stats.contingency import expected_freq

    table = table[np.argsort(table.sum(axis=1), kind="stable")]
    while len(table) > 1 and expected_freq(table)[0].min() < _LEAST:
        merged, rest = table[0] + table[1], table[2:]
        place = int(np.searchsorted(rest.sum(axis=1), merged.sum()))
        table = np.insert(rest, place, merged, axis=0)
    return float(chi2_contingency(table, correction=False).pvalue) if len(table) > 1 else None


def _sentence(
    split: str, labels: list[str], table: np.ndarray, p_value: float | None, *, differs: bool
) -> str:
    """What there is to say of a split, with the class whose share differs most."""
    images = counted(int(table[:, 1].sum()), "image")
    if p_value is None:
        return f"{split}: {images}, too few to compare with train."
    if not differs:
        return f"{split}: {images}, with classes in the same shares as in train, as far as they tell."
    shares = table / table.sum(axis=0)
    most = int(np.abs(shares[:, 1] - shares[:, 0]).argmax())
    return (
        f"{split}: {images}, with classes in other shares than in train (p = {p_value:.2g}); most of all "
        f"{printable(labels[most])}, {shares[most, 1]:.1%} here and {shares[most, 0]:.1%} of train."
    )
