"""Did transfer help? Learning curves on stored features beside those of what was trained on no other data.

Transfer can help in three ways: a higher start, a higher slope, a higher asymptote (Torrey and Shavlik,
Transfer Learning, 2010). Each is claimed only where the stored features do better than every other source,
and the interval of the difference says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heads.evidence.curves import Curve
from heads.evidence.statistics import interval_of_draws

#: The source that the others are compared with.
FEATURES = "features"
#: What sources are called in a sentence.
NAMES = {FEATURES: "stored features", "random": "features of random weights", "pixels": "raw pixels"}
#: Of the gap between chance and the best curve, the share at which the slope is read.
SHARE = 0.9


def judge(curves: Mapping[str, Curve], chance: float, skill_name: str) -> dict[str, Any]:
    """The three claims, each with a sentence, and whether any holds.

    Args:
        curves: of the stored features and of at least one other source, by id, all from the same draws.
        chance: the skill of whoever looks at no image.

    Returns:
        `helps`, and `claims` as in `evaluation.json`.
    """
    others = [name for name in curves if name != FEATURES]
    claims = [
        _higher("start", 0, curves, others, skill_name),
        _slope(curves, others, chance),
        _higher("asymptote", -1, curves, others, skill_name),
    ]
    return {"helps": any(claim["helps"] for claim in claims), "claims": claims}


def _higher(
    id: str,
    place: int,
    curves: Mapping[str, Curve],
    others: Sequence[str],
    skill_name: str,
) -> dict[str, Any]:
    """Whether the skill at one end of the curve is above that of the others."""
    own = curves[FEATURES]
    against: list[dict[str, Any]] = []
    for name in others:
        differences = own.values[place] - curves[name].values[place]
        mean, low, high = interval_of_draws(differences, own.tested_share)
        against.append({"id": name, "difference": mean, "interval": [low, high]})
    helps = all(of["interval"][0] > 0 for of in against)
    per_class = own.per_class[place]
    size = (
        f"with {_images(per_class)} a class"
        if place == 0
        else f"on all training images ({_images(per_class)} a class)"
    )
    compared = "; ".join(
        f"{_percent(curves[of['id']].values[place].mean())} from {NAMES[of['id']]} ({_difference(of)})"
        for of in against
    )
    reached = f"{skill_name} is {_percent(own.values[place].mean())} from {NAMES[FEATURES]}"
    answer = "yes" if helps else "no"
    sentence = f"Higher {id}: {answer}. {size[0].upper()}{size[1:]}, {reached}; {compared}."
    return {
        "id": id,
        "title": f"higher {id}",
        "helps": helps,
        "sentence": sentence,
        "against": against,
    }


def _difference(against: Mapping[str, Any]) -> str:
    low, high = against["interval"]
    return f"difference {_points(against['difference'])} points, {_points(low)} to {_points(high)}"


def _slope(
    curves: Mapping[str, Curve],
    others: Sequence[str],
    chance: float,
) -> dict[str, Any]:
    """Whether fewer images a class are needed for most of the way from chance to the best."""
    claim: dict[str, Any] = {"id": "slope", "title": "higher slope", "helps": False, "against": []}
    best = max(curves, key=lambda name: curves[name].values[-1].mean())
    top, low, _ = curves[best].intervals[-1]
    if low <= chance:
        sentence = (
            f"Higher slope: no. No curve is above chance ({_percent(chance)}) on all training images: the "
            f"best, from {NAMES[best]}, has {_percent(top)}."
        )
        return claim | {"sentence": sentence, "target": None}
    target = chance + SHARE * (top - chance)
    needed = {name: np.array([_reached(curve, number, target) for number in range(curve.values.shape[1])])
              for name, curve in curves.items()}  # fmt: skip
    most = max(curves[FEATURES].per_class)
    capped = {name: np.minimum(values, most) for name, values in needed.items()}
    texts = []
    for name in others:
        ratios = np.log(capped[name] / capped[FEATURES])
        mean, low, high = interval_of_draws(ratios, curves[name].tested_share)
        at_least = bool(np.isinf(needed[name]).any())
        claim["against"].append(
            {
                "id": name,
                "ratio": float(np.exp(mean)),
                "interval": [float(np.exp(low)), float(np.exp(high))],
                "at_least": at_least,
            }
        )
        times = f"{'at least ' if at_least else ''}{np.exp(mean):.1f} times as many"
        texts.append(f"{_needed(needed[name], most)} from {NAMES[name]}, {times} "
                     f"({np.exp(low):.1f} to {np.exp(high):.1f})")  # fmt: skip
    claim["helps"] = all(of["interval"][0] > 1 for of in claim["against"])
    sentence = (
        f"Higher slope: {'yes' if claim['helps'] else 'no'}. For {SHARE:.0%} of the gap between chance "
        f"({_percent(chance)}) and the best ({_percent(top)}), {_needed(needed[FEATURES], most)} are needed "
        f"from {NAMES[FEATURES]}; {'; '.join(texts)}."
    )
    return claim | {"sentence": sentence, "target": target}


def _reached(curve: Curve, draw: int, target: float) -> float:
    """Images a class at which a draw's curve first reaches a skill, between two sizes by their logarithms."""
    values = np.maximum.accumulate(curve.values[:, draw])
    above = np.flatnonzero(values >= target)
    if not len(above):
        return np.inf
    place = int(above[0])
    if place == 0:
        return curve.per_class[0]
    part = (target - values[place - 1]) / (values[place] - values[place - 1])
    before, after = np.log(curve.per_class[place - 1]), np.log(curve.per_class[place])
    return float(np.exp(before + part * (after - before)))


def _needed(values: np.ndarray, most: float) -> str:
    """How many images a class draws need, for people: their geometric mean, or that they never get there."""
    missed = int(np.isinf(values).sum())
    if missed == len(values):
        return f"more than {most:,.0f} images a class"
    mean = np.exp(np.log(np.minimum(values, most)).mean())
    return f"{'more than ' if missed else ''}{_images(mean)} a class"


def _images(count: float) -> str:
    text = f"{count:,.0f}" if count >= 10 else f"{count:.1f}".removesuffix(".0")
    return f"{text} image" if text == "1" else f"{text} images"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
