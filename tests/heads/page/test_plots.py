from __future__ import annotations

import importlib.resources
import re
from typing import Any

import pytest

from heads.page.feature_map import FeatureMap
from heads.page.figures import Skill
from heads.page.map_section import _look, map_section
from heads.page.parts import Map, Plot
from heads.page.plots import curves, reliability
from tests.heads.page import samples


def colors(*, dark: bool) -> dict[str, str]:
    """The page's colours by name."""
    style = importlib.resources.files("heads.page").joinpath("style.css").read_text()
    light_part, dark_part = style.split("prefers-color-scheme: dark", 1)[0], style.split(":root")[2]
    found = dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", light_part))
    return found | (dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", dark_part)) if dark else {})


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""

    def luminance(color: str) -> float:
        values = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_colors_stand_out_in_the_light_and_in_the_dark(dark: bool) -> None:
    named = colors(dark=dark)
    assert contrast("#ffffff", "#000000") == 21
    for back in ("--page", "--raised"):
        for text in ("--ink", "--muted", "--accent"):
            assert contrast(named[text], named[back]) >= 4.5, (text, back)
    for tone in ("good", "bad", "caution"):
        assert contrast(named[f"--{tone}"], named[f"--{tone}-back"]) >= 4.5
        assert contrast(named["--ink"], named[f"--{tone}-back"]) >= 4.5
    for shade in ("--shade-right", "--shade-wrong"):
        assert contrast(named["--ink"], named[shade]) >= 4.5
    graphics = [f"--class-{n}" for n in range(1, 11)] + [f"--series-{n}" for n in range(1, 5)]
    assert all(contrast(named[each], named["--page"]) >= 3 for each in graphics)
    assert len({named[each] for each in graphics[:10]}) == 10


def test_plotly_knows_all_that_the_plots_say() -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    plots = [
        curves(samples.transfer(), Skill("accuracy"), ""),
        reliability(samples.trust(["a"], ["x", "y"])["reliability"]["bins"], ""),
    ]
    for plot in plots:
        assert plot is not None
        text = str(plot.figure)
        assert "var(--" in text
        graph_objects.Figure(eval(re.sub(r"var\(--[a-z0-9-]+\)", "#123456", text)))


def test_curves_are_told_apart_without_color_and_have_bands() -> None:
    plot = curves(samples.transfer(), Skill("accuracy"), "")
    bands, lines = plot.figure["data"][:-1:2], plot.figure["data"][1:-1:2]
    assert len({(line["line"]["dash"], line["marker"]["symbol"]) for line in lines}) == len(lines) == 3
    assert lines[0]["x"] == ["1", "2", "5", "10", "20", "50", "all"]
    assert bands[0]["x"] == [*lines[0]["x"], *reversed(lines[0]["x"])]
    assert bands[0]["y"][:2] == pytest.approx([0.59, 0.68]) and bands[0]["y"][-1] == pytest.approx(0.51)
    assert plot.figure["data"][-1]["y"] == [0.2] * 7


def test_reliability_shows_filled_bins_with_their_intervals() -> None:
    bins: list[dict[str, Any]] = [
        {"low": 0.0, "high": 0.5, "count": 0, "confidence": None, "accuracy": None, "interval": None},
        {"low": 0.5, "high": 1.0, "count": 9, "confidence": 0.8, "accuracy": 0.6, "interval": [0.5, 0.75]},
    ]
    plot = reliability(bins, "")
    assert plot is not None
    points = plot.figure["data"][1]
    assert (points["x"], points["y"]) == ([0.8], [0.6])
    assert points["error_y"]["array"] == [pytest.approx(0.15)]
    assert points["error_y"]["arrayminus"] == [pytest.approx(0.1)]
    assert reliability(bins[:1], "") is None


def classes_on_map(count: int) -> Map:
    import numpy as np

    labels = [(f"class {n:02}",) for n in range(count) for _ in range(1 + (n % 3))]
    uris = [f"/images/{n}.png" for n in range(len(labels))]
    found = FeatureMap("avg_pool", np.zeros((len(labels), 2)), uris, labels, len(labels))
    block = map_section({}, found, {}).blocks[0]
    assert isinstance(block, Map) and isinstance(block.plot, Plot)
    return block


def test_up_to_20_classes_have_a_color_and_marker_of_their_own() -> None:
    block = classes_on_map(20)
    assert len(block.legend) == 20
    assert len({(look["color"], look["marker"]) for look in block.legend}) == 20
    assert len({_look(n, other=False)["marker"] for n in range(10)}) == 10


def test_of_more_classes_the_19_largest_have_and_the_others_share_one() -> None:
    block = classes_on_map(40)
    assert len(block.legend) == 20
    assert block.legend[-1]["name"] == "other: 21 smaller classes"
    assert min(look["count"] for look in block.legend[:-1]) >= 2
    assert sum(look["count"] for look in block.legend) == len(block.points["x"])
    rows = [row for trace in block.plot.figure["data"][:-1] for row in trace["customdata"]]
    assert sorted(rows) == list(range(len(block.points["x"])))
