from __future__ import annotations

import numpy as np
import pytest

from heads.evidence.curves import Curve
from heads.evidence.transfer import judge

SIZES = [1.0, 10.0, 100.0]


def curve(*means: float, spread: float = 0.01, seed: int = 0) -> Curve:
    """A curve of ten draws around some means."""
    noise = np.random.default_rng(seed).normal(scale=spread, size=(len(means), 10))
    return Curve([1, 10, None], SIZES, np.array(means)[:, None] + noise)


def claims(curves: dict[str, Curve], chance: float = 0.2) -> dict[str, dict]:
    judged = judge(curves, chance, "accuracy")
    assert judged["helps"] == any(claim["helps"] for claim in judged["claims"])
    return {claim["id"]: claim for claim in judged["claims"]}


def test_better_features_are_said_to_help_in_all_three_ways() -> None:
    of = claims({"features": curve(0.5, 0.8, 0.9), "pixels": curve(0.3, 0.4, 0.6, seed=1)})
    assert [claim["helps"] for claim in of.values()] == [True, True, True]
    start = of["start"]["against"][0]
    assert start["difference"] == pytest.approx(0.2, abs=0.02)
    assert start["interval"][0] < 0.2 < start["interval"][1]
    assert of["start"]["sentence"].startswith("Higher start: yes. With 1 image a class, accuracy is 50.")
    assert [claim["title"] for claim in of.values()] == ["higher start", "higher slope", "higher asymptote"]
    low, high = start["interval"]
    points = f"(difference {100 * start['difference']:.1f} points, {100 * low:.1f} to {100 * high:.1f})"
    assert points in of["start"]["sentence"]
    assert "on all training images (100 images a class)" in of["asymptote"]["sentence"].lower()
    slope = of["slope"]["against"][0]
    assert slope["at_least"] and slope["ratio"] > 2
    assert "more than 100 images a class from raw pixels (at least" in of["slope"]["sentence"]


def test_a_start_alone_can_be_higher() -> None:
    of = claims({"features": curve(0.5, 0.8, 0.9), "pixels": curve(0.3, 0.8, 0.9, seed=1)})
    assert [claim["helps"] for claim in of.values()] == [True, False, False]
    assert of["asymptote"]["sentence"].startswith("Higher asymptote: no.")


def test_each_other_source_has_to_be_beaten() -> None:
    curves = {
        "features": curve(0.5, 0.8, 0.9),
        "random": curve(0.5, 0.8, 0.9, seed=1),
        "pixels": curve(0.2, 0.3, 0.4, seed=2),
    }
    assert not judge(curves, 0.2, "accuracy")["helps"]


def test_the_slope_is_read_where_nine_tenths_of_the_gap_are_closed() -> None:
    """From 0.2 by chance to 0.9: 0.83 is half-way, by the logarithm, between 10 and 100 images."""
    straight = Curve([1, 10, None], SIZES, np.tile([[0.5], [0.76], [0.9]], 10))
    late = Curve([1, 10, None], SIZES, np.tile([[0.2], [0.2], [0.9]], 10))
    of = claims({"features": straight, "pixels": late})["slope"]
    assert of["target"] == pytest.approx(0.83) and "For 83.0%, 90% of the gap" in of["sentence"]
    expected = 10 ** (1 + 0.9) / 10 ** (1 + 0.5)
    assert of["against"][0]["ratio"] == pytest.approx(expected) and not of["against"][0]["at_least"]
    assert (
        "32 images a class are needed from stored features; 79 images a class from raw pixels"
        in of["sentence"]
    )


def test_without_a_curve_above_chance_there_is_no_slope() -> None:
    of = claims({"features": curve(0.2, 0.2, 0.2), "pixels": curve(0.2, 0.2, 0.2, seed=1)})
    assert not any(claim["helps"] for claim in of.values())
    assert "No curve is above chance (20.0%)" in of["slope"]["sentence"]


def test_what_is_noise_is_not_claimed() -> None:
    """Labels at random: of many trials, hardly one is said to help."""
    helped = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        curves = {
            name: Curve([1, 10, None], SIZES, 0.2 + random.normal(scale=0.04, size=(3, 10)))
            for name in ("features", "random", "pixels")
        }
        helped += judge(curves, 0.2, "accuracy")["helps"]
    assert helped <= 5


def test_a_gain_that_is_not_ruled_out_is_told() -> None:
    few = {"features": curve(0.5, 0.6, 0.6, spread=0.3), "pixels": curve(0.4, 0.5, 0.5, spread=0.3, seed=1)}
    many = {"features": curve(0.5, 0.6, 0.6), "pixels": curve(0.5, 0.6, 0.6, seed=1)}
    unseen = [judge(curves, 0.2, "accuracy")["unseen"] for curves in (few, many)]
    assert unseen[0] > 0.2 > 0.05 > unseen[1]
    of = claims(few)
    assert of["start"]["open"] and of["start"]["sentence"].startswith("Higher start: not shown.")
    assert not any(claim["open"] for claim in claims(many).values())


def test_an_interval_of_a_ratio_does_not_contradict_its_bound() -> None:
    slope = claims({"features": curve(0.5, 0.8, 0.9), "pixels": curve(0.3, 0.4, 0.6, seed=1)})["slope"]
    (against,) = slope["against"]
    assert f"(at least {against['interval'][0]:.1f} times as many)" in slope["sentence"]
    assert against["interval"][0] < against["ratio"] and against["at_least"]
