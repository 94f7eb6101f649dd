"""The picture of the main table: two bars a way, images/s once running and of the whole process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.figures import Row
from benchmarks.rounds import OURS
from benchmarks.tables import number

_RUNNING, _WHOLE = "#2a6f97", "#a9d6e5"


def save_plot(rows: Sequence[Row], images: int, machine: str, path: Path) -> None:
    """Draw the main table into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 0.62 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = np.arange(len(rows))
    for shift, color, label, rates in (
        (-0.2, _RUNNING, "once running", [row.running for row in rows]),
        (0.2, _WHOLE, f"whole process of {images:,} images", [row.whole for row in rows]),
    ):
        bars = axes.barh(places + shift, rates, 0.38, color=color, label=label)
        axes.bar_label(bars, [number(rate) for rate in rates], padding=3, fontsize=8)
    axes.set_yticks(places, [_label(row) for row in rows], fontsize=9)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.way.startswith(OURS) else "normal")
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("images/s (median of the rounds)")
    axes.set_title("Inception V3 features: files to Parquet", loc="left", fontweight="bold")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.01, -0.03, machine, fontsize=7, color="gray", wrap=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _label(row: Row) -> str:
    return row.way if row.precision in row.way else f"{row.way}\n({row.precision})"
