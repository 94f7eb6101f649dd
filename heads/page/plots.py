"""Plots as plotly's `data` and `layout`: curves with bands, and reliability.

Colours are the names of the page's own (`var(--series-1)`): its script puts in what they are in the light
or the dark, so that plots change with the page. Text is escaped: plotly would act on tags in it.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from features.text import printable
from heads.page.figures import Skill, at, count, is_number, is_pair, items, percent
from heads.page.parts import Plot, short

#: One for each source of the curves: told apart without colour, too.
_DASHES = ("solid", "dash", "dot", "dashdot")
_MARKERS = ("circle", "square", "diamond", "triangle-up")
#: Above the plot, for its whole width.
_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}}
#: Characters of a line of it, which fit a narrow screen.
_LEGEND_LINE = 32
#: Room for the numbers of an axis of shares.
_SHARES = {"range": [-0.04, 1.06], "tickformat": ".0%"}


def safe(text: object) -> str:
    """Text for plotly: none of its characters is a tag, an entity or a change of direction."""
    return html.escape(printable(short(text)), quote=False)  # it knows few entities, and not those of quotes


def _lines(text: object) -> str:
    """The same on lines that fit a legend."""
    return "<br>".join(map(safe, textwrap.wrap(printable(short(text)), _LEGEND_LINE)))


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 12, "font": {"size": 14}},
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        **more,
    }


def layout(**more: Any) -> dict[str, Any]:
    return {
        "paper_bgcolor": "var(--clear)",
        "plot_bgcolor": "var(--clear)",
        "font": {"family": "system-ui, sans-serif", "size": 14, "color": "var(--ink)"},
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": "var(--line)",
            "font": {"color": "var(--ink)"},
            "align": "left",
        },
        "margin": {"l": 60, "r": 12, "t": 12, "b": 50},
        "dragmode": False,
        **more,
    }


def curves(transfer: Mapping[str, Any], skill: Skill, caption: str) -> Plot:
    """Skill after learning from ever more images, a line with a band for each source."""
    sources = [source for source in items(transfer, "sources") if items(source, "points")]
    amounts = {point.get("per_class") for source in sources for point in items(source, "points")}
    order = [_amount(each) for each in sorted(amounts, key=lambda n: (n is None, n or 0))]
    data = [trace for place, source in enumerate(sources) for trace in _curve(source, place, skill)]
    if is_number(chance := at(transfer, "chance")):
        data.append(_line(order, [chance] * len(order), f"chance, {skill.text(chance)}"))
    shares = {"tickformat": ".0%"} if skill.in_percent else {}
    figure = {
        "data": data,
        "layout": layout(
            xaxis=axis("images of each class", type="category", categoryarray=order, categoryorder="array"),
            yaxis=axis(skill.name, rangemode="tozero", **shares),
            legend=_LEGEND,
            margin={"l": 60, "r": 12, "t": 40, "b": 50},
        ),
    }
    label = f"Line plot: {skill.name} against the images of each class that were learned from"
    return Plot("plot-curves", label, caption, figure)


def _amount(per_class: Any) -> str:
    return "all" if per_class is None else count(per_class)


def _curve(source: Mapping[str, Any], place: int, skill: Skill) -> list[dict[str, Any]]:
    """The band of a source, and its line on top."""
    points = [point for point in items(source, "points") if is_number(point.get("mean"))]
    color, title = f"var(--series-{place % 4 + 1})", _lines(source.get("name") or source.get("id"))
    banded = [point for point in points if is_pair([point.get("low"), point.get("high")])]
    x = [_amount(point.get("per_class")) for point in banded]
    band = {
        "type": "scatter",
        "x": [*x, *reversed(x)],
        "y": [*(point["high"] for point in banded), *(point["low"] for point in reversed(banded))],
        "fill": "toself",
        "fillcolor": f"var(--band-{place % 4 + 1})",
        "mode": "none",
        "hoverinfo": "skip",
        "legendgroup": str(place),
        "showlegend": False,
    }
    line = {
        "type": "scatter",
        "x": [_amount(point.get("per_class")) for point in points],
        "y": [point["mean"] for point in points],
        "mode": "lines+markers",
        "name": title,
        "legendgroup": str(place),
        "line": {"color": color, "dash": _DASHES[place % 4], "width": 2.5},
        "marker": {"color": color, "symbol": _MARKERS[place % 4], "size": 9},
        "hoverinfo": "text",
        "text": [f"{title}<br>{_said(point, skill)}" for point in points],
    }
    return [band, line]


def _said(point: Mapping[str, Any], skill: Skill) -> str:
    ends = skill.interval([point.get("low"), point.get("high")])
    return f"{_amount(point.get('per_class'))} of each class: {skill.text(point['mean'])} ({ends})"


def _line(x: Sequence[Any], y: Sequence[float], title: str) -> dict[str, Any]:
    """A thin line to compare with."""
    return {
        "type": "scatter",
        "x": list(x),
        "y": list(y),
        "mode": "lines",
        "name": title,
        "line": {"color": "var(--muted)", "dash": "dot", "width": 1.5},
        "hoverinfo": "skip",
    }


def reliability(bins: Sequence[Mapping[str, Any]], caption: str) -> Plot | None:
    """How often the head is right, against how sure it is; None where no bin has images."""
    filled = [
        each
        for each in bins
        if each.get("count") and is_number(each.get("confidence")) and is_number(each.get("accuracy"))
    ]
    if not filled:
        return None
    most = max(each["count"] for each in filled)
    points = {
        "type": "scatter",
        "x": [each["confidence"] for each in filled],
        "y": [each["accuracy"] for each in filled],
        "mode": "markers",
        "name": "this head, with 95% intervals",
        "marker": {
            "color": "var(--series-1)",
            "opacity": 1,
            "size": [8 + 12 * math.sqrt(each["count"] / most) for each in filled],
            "line": {"color": "var(--page)", "width": 1},
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_ends(each)[1] for each in filled],
            "arrayminus": [_ends(each)[0] for each in filled],
            "color": "var(--series-1)",
            "thickness": 1.5,
        },
        "hoverinfo": "text",
        "text": [
            f"{count(each['count'])} images<br>sure to {percent(each['confidence'])}<br>"
            f"right in {percent(each['accuracy'])}"
            for each in filled
        ],
    }
    figure = {
        "data": [_line([0, 1], [0, 1], "as sure as it is right"), points],
        "layout": layout(
            xaxis=axis("how sure the head is", **_SHARES),
            yaxis=axis("how often it is right", **_SHARES),
            legend=_LEGEND,
            margin={"l": 60, "r": 12, "t": 40, "b": 50},
        ),
    }
    label = "Dot plot: how often the head is right against how sure it is"
    return Plot("plot-reliability", label, caption, figure)


def _ends(each: Mapping[str, Any]) -> tuple[float, float]:
    """How far the interval reaches below and above; nothing where there is none."""
    pair: Any = each.get("interval")
    middle = each["accuracy"]
    return (max(0.0, middle - pair[0]), max(0.0, pair[1] - middle)) if is_pair(pair) else (0.0, 0.0)
