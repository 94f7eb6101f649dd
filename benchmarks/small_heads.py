"""How far the dense head is behind the logistic one on small data: mean over random splits of a table.

    python -m benchmarks.small_heads STORE [TABLE] [SPLITS]

Each split shares the labelled images out anew, by class: 8 of 10 to train, 1 to validation, 1 to test.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from sklearn.model_selection import train_test_split

from features import store as feature_store
from heads.registry import HEADS, new_head


def compare(store: str, name: str, splits: int) -> dict[str, np.ndarray]:
    """Accuracy on the test part and seconds of training: for each kind, ndarray of shape (splits, 2)."""
    X, y = feature_store.open(store, name).matrix(labelled=True)
    y = y.astype(str)
    figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in HEADS}
    for seed in range(splits):
        rest, test = train_test_split(np.arange(len(y)), test_size=1 / 10, stratify=y, random_state=seed)
        train, validation = train_test_split(rest, test_size=1 / 9, stratify=y[rest], random_state=seed)
        for kind, of_kind in figures.items():
            started = time.perf_counter()
            head = new_head(kind, {"seed": seed}).fit(X[train], y[train], (X[validation], y[validation]))
            seconds = time.perf_counter() - started
            of_kind.append((head.score(X[test], y[test]), seconds))
    return {kind: np.array(of_kind) for kind, of_kind in figures.items()}


def main() -> None:
    store, name, splits = [*sys.argv[1:], *("", "inception_v3", "20")[len(sys.argv[1:]) :]]
    figures = compare(store, name, int(splits))
    for kind, of_kind in figures.items():
        accuracy, seconds = of_kind.T
        print(
            f"{kind:10} accuracy {accuracy.mean():.4f} (sd {accuracy.std(ddof=1):.4f}), "
            f"{np.median(seconds):.2f} s to train"
        )


if __name__ == "__main__":
    main()
