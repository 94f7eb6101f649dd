"""Several trainings that differ in their seed alone: how much of a figure is chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Figures of a test that are compared; those of several labels by their means, too.
_FIGURES = ("accuracy", "macro_f1", "log_loss", "hamming_loss", "average_precision", "f1")


def main_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures that metrics are known by, each one number: `accuracy`, …, `f1.macro`."""
    figures = {}
    for name in _FIGURES:
        value = metrics.get(name)
        if isinstance(value, dict):
            figures[f"{name}.macro"] = value["macro"]
        elif value is not None:
            figures[name] = value
    return figures


def spread(seeds: Sequence[int], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and spread of each figure over trainings.

    Args:
        seeds: of the trainings, at least two.
        metrics: of each.

    Returns:
        `seeds`, and for each figure `mean`, `std` (of a sample) and `values`.
    """
    figures = [main_figures(one) for one in metrics]
    return {"seeds": list(seeds)} | {
        name: {
            "mean": float(np.mean([of[name] for of in figures])),
            "std": float(np.std([of[name] for of in figures], ddof=1)),
            "values": [of[name] for of in figures],
        }
        for name in figures[0]
    }


def format_spread(repeats: Mapping[str, Any]) -> str:
    """One line: the mean of each figure, and its standard deviation."""
    figures = {name: of for name, of in repeats.items() if name != "seeds"}
    texts = [
        f"{name.replace('_', ' ').replace('.', ', ')} {of['mean']:.3f} ± {of['std']:.3f}"
        for name, of in figures.items()
    ]
    differ = any(len(set(of["values"])) > 1 for of in figures.values())
    same = "" if differ else ": the seed changes nothing"
    return f"over {len(repeats['seeds'])} seeds (mean ± standard deviation): {'; '.join(texts)}{same}"
