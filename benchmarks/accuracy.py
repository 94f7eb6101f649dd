"""How near the features of the ways are to each other, from the very files they wrote."""

from __future__ import annotations

from typing import Any

from benchmarks.outputs import Features, cosines, relative_error
from benchmarks.rounds import Run, of_way
from benchmarks.tables import section_table


def compare(features: dict[str, Features], runs: list[Run]) -> tuple[str, Any]:
    """Each way against the Keras guide, which is the reference: the text, and the figures."""
    reference = next(name for name in features if "Keras guide" in name)
    figures: list[dict[str, Any]] = []
    for name, own in features.items():
        if name != reference:
            found = cosines(own, features[reference])
            figures.append(
                {
                    "way": name,
                    "precision": of_way(runs, name)[-1].precision,
                    "images": len(found),
                    "least_cosine": float(found.min()),
                    "relative_error": relative_error(own, features[reference]),
                }
            )
    head = ["features against the Keras guide's", "precision", "images", "least cosine", "relative error"]
    rows = [
        [
            one["way"],
            one["precision"],
            f"{one['images']:,}",
            f"{one['least_cosine']:.6f}",
            f"{one['relative_error']:.1e}",
        ]
        for one in figures
    ]
    note = "Relative error: the length of the difference over that of the features, of the worst image."
    return f"{section_table('Same features', head, rows)}\n\n{note}", figures
