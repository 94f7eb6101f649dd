"""From runs to the main table: medians over the rounds, and ratios taken within each round."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.rounds import Run, of_way
from benchmarks.tables import gigabytes, markdown, number
from benchmarks.ways import NAMES, OURS


def main_table(runs: list[Run], images: int) -> str:
    """One row a way, in the order they were run.

    Args:
        images: what the rate of a whole process is given for.
    """
    head = [
        *("way", "precision", "images", "images/s once running", f"images/s, whole process of {images:,}"),
        *("start-up", "peak memory", "ratio, once running", "ratio, whole process"),
    ]
    rows = [_row(runs, way, images) for way in dict.fromkeys(run.way for run in runs)]
    note = f"† Extrapolated to {images:,} images from the start-up and the rate of a run over fewer."
    fewer = any(run.images != images for run in runs)
    return markdown(head, rows) + (f"\n\n{note}" if fewer else "")


def _row(runs: list[Run], way: str, images: int) -> list[str]:
    own = of_way(runs, way)
    given = own[0].images
    return [
        NAMES[way],
        own[-1].precision,
        f"{given:,}",
        number(median(run.running for run in own)),
        number(median(run.whole(images) for run in own)) + ("" if given == images else " †"),
        f"{number(median(run.first for run in own))} s",
        gigabytes(median(run.peak_memory for run in own)),
        _times(runs, way, lambda run: run.running),
        _times(runs, way, lambda run: run.whole(images)),
    ]


def _times(runs: list[Run], way: str, figure: Callable[[Run], float]) -> str:
    """Our figure over that of a way: the median, and the range where rounds differ."""
    pairs = zip(of_way(runs, OURS.id), of_way(runs, way), strict=True)
    by_round = [figure(ours) / figure(other) for ours, other in pairs]
    low, high = number(min(by_round)), number(max(by_round))
    return f"{number(median(by_round))} ×" + (f" ({low} to {high})" if low != high else "")
