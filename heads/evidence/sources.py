"""What learning curves are drawn from: stored features, features of random weights, and raw pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from features.text import counted, printable
from heads.evidence.answers import rows_of
from heads.evidence.curves import Curve, Draw, learn
from heads.evidence.images import LabelledRows
from heads.evidence.skill import chance, skill_name
from heads.evidence.small_versions import SmallVersions, pixel_side, shrink
from heads.evidence.subject import Subject
from heads.evidence.transfer import FEATURES, judge

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Share of the sampled images without which curves are still compared, on the others.
_FEW = 0.2


def find_sources(
    subject: Subject, sampled: LabelledRows, small: SmallVersions, random_features: FeatureTable | None
) -> tuple[LabelledRows, dict[str, tuple[str, np.ndarray]]]:
    """What learning curves are drawn from, by id: a name and X; before it, the images that all have."""
    layers = ", ".join(subject.layers)
    places = small.places(np.searchsorted(subject.images.numbers, sampled.numbers))
    rows = np.full(len(sampled), -1) if random_features is None else rows_of(random_features, sampled)
    kept = np.ones(len(sampled), bool)
    for what, numbers in (("raw pixels", places), ("features of random weights", rows)):
        lost = float((numbers < 0).mean())
        if 0 < lost <= _FEW:
            kept &= numbers >= 0
        if lost and (what == "raw pixels" or random_features is not None):
            images = counted(int((numbers < 0).sum()), "image")
            example = printable(sampled.uris[int((numbers < 0).argmax())])
            how = f"bring back the files, which are gone or have changed, such as {example}"
            subject.lacks("transfer", f"{what} of {images}", how)
    if random_features is None and not subject.table.facts.untrained:
        why = subject.without_random or "evaluate with `random_features`"
        subject.lacks("transfer", "learning curves on features of random weights", why)
    sampled, places, rows = sampled.among(kept), places[kept], rows[kept]
    own = sampled.features(subject.layers)
    sources = {FEATURES: (f"stored features ({layers})", own)}
    if random_features is not None and (rows >= 0).all():
        X = random_features.take(rows, layers=subject.layers)
        sources["random"] = (f"features of random weights ({layers})", X)
    if (places >= 0).all():
        side = pixel_side(own.shape[1])
        X = np.stack([shrink(version, side).ravel() for version in small.pixels[places].astype(np.float32)])
        sources["pixels"] = (f"raw pixels ({side} × {side})", X)
    return sampled, sources


def compare_sources(
    subject: Subject,
    sampled: LabelledRows,
    draws: Sequence[Draw],
    sources: Mapping[str, tuple[str, np.ndarray]],
) -> dict[str, Any]:
    """Learning curves of the head from each source, and what they say of transfer."""
    measured: dict[str, Curve] = {}
    for id, (name, X) in sources.items():
        subject.part(f"Learning curves on {name}")
        measured[id] = learn(subject.new_head(), X, sampled.y, sampled.classes, draws, subject.progress)
    names = {id: name for id, (name, _) in sources.items()}
    of_chance = chance(sampled.y, len(sampled.classes))
    judged: dict[str, Any] = {"helps": None, "unseen": None, "claims": []}
    if len(measured) > 1 and not subject.table.facts.untrained:
        judged = judge(measured, of_chance, skill_name(multi_label=sampled.multi_label))
    return {
        **judged,
        "chance": of_chance,
        "images": len(sampled),
        "tested": _tested_text(subject, draws),
        "sources": [
            {"id": id, "name": names[id], "width": sources[id][1].shape[1], "points": _points(curve)}
            for id, curve in measured.items()
        ],
    }


def _tested_text(subject: Subject, draws: Sequence[Draw]) -> str:
    tested = "a fifth of the test split" if subject.given_splits else "a fifth of the images"
    return f"means of {counted(len(draws), 'draw')}, each of them tested on {tested} by turns"


def _points(curve: Curve) -> list[dict[str, Any]]:
    rows = zip(curve.sizes, curve.per_class, curve.values, curve.intervals, strict=True)
    return [
        {
            "per_class": size,
            "images_per_class": per_class,
            "mean": mean,
            "low": low,
            "high": high,
            "draws": values.tolist(),
        }
        for size, per_class, values, (mean, low, high) in rows
    ]
