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
#: A gain of skill, and a ratio of images, that is larger than this is not denied while it is not ruled out.
LARGE_GAIN, LARGE_RATIO = 0.2, 2.0
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
        `helps`, `claims` as in `evaluation.json`, and `unseen`: the largest gain at the start or the
        asymptote that intervals do not rule out.
    """
    others = [name for name in curves if name != FEATURES]
    claims = [
        _higher("start", 0, curves, others, skill_name),
        _slope(curves, others, chance),
        _higher("asymptote", -1, curves, others, skill_name),
    ]
    unseen = max(
        min(of["interval"][1] for of in claim["against"]) for claim in claims if claim["id"] != "slope"
    )
    return {"helps": any(claim["helps"] for claim in claims), "unseen": unseen, "claims": claims}


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
        mean, low, high = np.clip(interval_of_draws(differences), -1, 1).tolist()
        against.append({"id": name, "difference": mean, "interval": [low, high]})
    helps = all(of["interval"][0] > 0 for of in against)
    per_class = own.per_class[place]
    size = (
        f"with {_images(own.sizes[0] or per_class)} a class"
        if place == 0
        else f"on all training images ({_images(per_class)} a class)"
    )
    compared = "; ".join(
        f"{_percent(curves[of['id']].values[place].mean())} from {NAMES[of['id']]} ({_difference(of)})"
        for of in against
    )
    reached = f"{skill_name} is {_percent(own.values[place].mean())} from {NAMES[FEATURES]}"
    is_open = not helps and min(of["interval"][1] for of in against) > LARGE_GAIN
    sentence = f"Higher {id}: {_answer(helps, is_open)}. {size[0].upper()}{size[1:]}, {reached}; {compared}."
    return {
        "id": id,
        "title": f"higher {id}",
        "helps": helps,
        "open": is_open,
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
    claim: dict[str, Any] = {
        "id": "slope",
        "title": "higher slope",
        "helps": False,
        "open": False,
        "against": [],
    }
    best = max(curves, key=lambda name: curves[name].values[-1].mean())
    top, least, _ = curves[best].intervals[-1]
    if least <= chance:
        sentence = (
            f"Higher slope: no. No curve is above chance ({_percent(chance)}) on all training images: the "
            f"best, from {NAMES[best]}, has {_percent(top)}."
        )
        return claim | {"sentence": sentence, "target": None}
    target = chance + SHARE * (top - chance)
    most = curves[FEATURES].per_class[-1]
    needed = {name: _reached(curve, curve.values.mean(axis=1), target) for name, curve in curves.items()}
    texts = []
    for name in others:
        against = _ratio(curves[FEATURES], curves[name], target)
        claim["against"].append({"id": name, **against})
        low, high = against["interval"]
        times = (
            f"at least {low:.1f} times as many"
            if against["at_least"]
            else f"{against['ratio']:.1f} times as many, {low:.1f} to {high:.1f}"
        )
        texts.append(f"{_needed(needed[name], most)} from {NAMES[name]} ({times})")
    claim["helps"] = all(of["interval"][0] > 1 for of in claim["against"])
    claim["open"] = not claim["helps"] and min(of["interval"][1] for of in claim["against"]) > LARGE_RATIO
    gap = f"{SHARE:.0%} of the gap between chance ({_percent(chance)}) and the best ({_percent(top)})"
    sentence = (
        f"Higher slope: {_answer(claim['helps'], claim['open'])}. For {_percent(target)}, {gap}, "
        f"{_needed(needed[FEATURES], most)} are needed from {NAMES[FEATURES]}; {'; '.join(texts)}."
    )
    return claim | {"sentence": sentence, "target": target}


def _answer(helps: bool, is_open: bool) -> str:
    return "yes" if helps else "not shown" if is_open else "no"


def _ratio(own: Curve, other: Curve, target: float) -> dict[str, Any]:
    """How many times as many images a class another source needs, with a 95 % interval by the jackknife.

    A curve that does not get there counts as if it did with all images: the ratio is a lower bound then.
    """
    draws = own.values.shape[1]

    def log_ratio(chosen: np.ndarray) -> float:
        most = own.per_class[-1]
        reached = (_reached(curve, curve.values[:, chosen].mean(axis=1), target) for curve in (other, own))
        of_other, of_own = (min(images, most) for images in reached)
        return float(np.log(of_other / of_own))

    whole = log_ratio(np.arange(draws))
    without = np.array([log_ratio(np.delete(np.arange(draws), draw)) for draw in range(draws)])
    _, low, high = interval_of_draws(draws * whole - (draws - 1) * without)
    half = (high - low) / 2
    return {
        "ratio": float(np.exp(whole)),
        "interval": [float(np.exp(whole - half)), float(np.exp(whole + half))],
        "at_least": bool(np.isinf(_reached(other, other.values.mean(axis=1), target))),
    }


def _reached(curve: Curve, values: np.ndarray, target: float) -> float:
    """Images a class at which values first reach a skill, between two sizes by their logarithms.

    Args:
        values: of each size.
    """
    values = np.maximum.accumulate(values)
    above = np.flatnonzero(values >= target)
    if not len(above):
        return np.inf
    place = int(above[0])
    if place == 0:
        return curve.per_class[0]
    part = (target - values[place - 1]) / (values[place] - values[place - 1])
    before, after = np.log(curve.per_class[place - 1]), np.log(curve.per_class[place])
    return float(np.exp(before + part * (after - before)))


def _needed(images: float, most: float) -> str:
    return f"more than {most:,.0f} images a class" if np.isinf(images) else f"{_images(images)} a class"


def _images(count: float) -> str:
    text = f"{count:,.0f}" if count >= 10 else f"{count:.1f}".removesuffix(".0")
    return f"{text} image" if text == "1" else f"{text} images"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
