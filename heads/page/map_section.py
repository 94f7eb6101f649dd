"""The part of the page with the map: points coloured by class, and a picture of each."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from features.text import printable
from heads.page.feature_map import FeatureMap
from heads.page.missing import missing
from heads.page.parts import Cell, Map, Plot, Section, Table, columns, name, short
from heads.page.plots import axis, layout

_TITLE = "Map of the features"
#: Classes with a colour of their own; the smaller ones share one.
_MOST_CLASSES = 19
#: Colours (`--class-1` and so on) and markers: 10 each, and no two of 20 classes have the same two.
_COLORS = 10
_MARKERS = (
    "circle", "square", "diamond", "triangle-up", "cross",
    "x", "triangle-down", "star", "pentagon", "hourglass",
)  # fmt: skip
#: Characters of a file's path that the map keeps: 2,000 of them must not fill the page.
_LONGEST_PATH = 300
_NO_LABEL = "no label"


def map_section(
    evaluation: Mapping[str, Any],
    found: FeatureMap | None,
    thumbnails: Mapping[str, str | None],
    why: str = "",
) -> Section:
    """The map, or why there is none."""
    if found is None:
        return Section("map", _TITLE, [missing(evaluation, why or "There is no map of the features.", "map")])
    classes = _largest(found.labels)
    places = {label: place for place, label in enumerate(classes)}
    of_point = [places.get(_label(labels), len(classes)) for labels in found.labels]
    counts = collections.Counter(of_point)
    others = len({_label(labels) for labels in found.labels}) - len(classes)
    titles = [*classes, *([f"other: {others} smaller classes"] if others else [])]
    legend = [
        {"name": short(title), "count": counts[place], **_look(place, other=place == len(classes))}
        for place, title in enumerate(titles)
    ]
    figure = _figure(found, of_point, legend)
    plot = Plot("plot-map", "Map: images of like features lie together", _caption(found, evaluation), figure)
    return Section("map", _TITLE, [Map(plot, legend, _points(found, of_point, thumbnails)), _table(legend)])


def _label(labels: Sequence[str]) -> str:
    return labels[0] if labels else _NO_LABEL


def _largest(labels: Sequence[Sequence[str]]) -> list[str]:
    """The classes with a colour of their own, by name."""
    counts = collections.Counter(map(_label, labels))
    order = sorted(counts, key=lambda label: (-counts[label], label))
    return sorted(order if len(order) <= _MOST_CLASSES + 1 else order[:_MOST_CLASSES])


def _look(place: int, *, other: bool) -> dict[str, str]:
    """Colour and marker of a class."""
    if other:
        return {"color": "var(--muted)", "marker": "circle-open"}
    color, turn = place % _COLORS, place // _COLORS
    return {"color": f"var(--class-{color + 1})", "marker": _MARKERS[(color + turn) % len(_MARKERS)]}


def _figure(
    found: FeatureMap, of_point: Sequence[int], legend: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A trace for each class, and one for the ring around the chosen point; hovers are the page's own."""
    traces = []
    for place, look in enumerate(legend):
        rows = [row for row, of_row in enumerate(of_point) if of_row == place]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [float(found.positions[row, 0]) for row in rows],
                "y": [float(found.positions[row, 1]) for row in rows],
                "customdata": rows,
                "hoverinfo": "none",
                "marker": {
                    "color": look["color"],
                    "symbol": look["marker"],
                    "size": 9 if len(of_point) < 1000 else 7,
                    "opacity": 0.85,
                },
            }
        )
    ring = {
        "type": "scatter",
        "mode": "markers",
        "x": [],
        "y": [],
        "hoverinfo": "skip",
        "marker": {
            "color": "var(--ink)",
            "symbol": "circle-open",
            "size": 20,
            "line": {"width": 3, "color": "var(--ink)"},
        },
    }
    bare = axis(
        "",
        showticklabels=False,
        showgrid=False,
        showline=False,
        automargin=False,
        range=[-0.04, 1.04],
        fixedrange=False,
    )
    return {
        "data": [*traces, ring],
        "layout": layout(
            xaxis=bare,
            yaxis=bare,
            margin={"l": 4, "r": 4, "t": 4, "b": 4},
            showlegend=False,
            hovermode="closest",
            hoverdistance=12,
        ),
    }


def _caption(found: FeatureMap, evaluation: Mapping[str, Any]) -> str:
    shown = len(found.uris)
    some = f"{shown:,} of {found.images:,} images" if shown < found.images else f"All {shown:,} images"
    colour = "first label" if evaluation.get("multi_label") else "class"
    return (
        f"{some} by their features of {found.layer} (PCA, then t-SNE), coloured by {colour}. Images that lie "
        "together are alike to the network; one among those of another class deserves a look. How far groups "
        "are apart, and how large they look, means little."
    )


def _points(
    found: FeatureMap, of_point: Sequence[int], thumbnails: Mapping[str, str | None]
) -> dict[str, Any]:
    """What the script shows of each point, as text; names of classes that many share stand once."""
    texts = [printable(short(" | ".join(labels) or _NO_LABEL)) for labels in found.labels]
    names = list(dict.fromkeys(texts))
    places = {text: place for place, text in enumerate(names)}
    return {
        "x": found.positions[:, 0].tolist(),
        "y": found.positions[:, 1].tolist(),
        "trace": list(of_point),
        "names": names,
        "name": [places[text] for text in texts],
        "path": [_path(uri) for uri in found.uris],
        "image": [thumbnails.get(uri) for uri in found.uris],
    }


def _path(uri: str) -> str:
    """The end of a path, where it is very long."""
    text = printable(uri)
    return text if len(text) <= _LONGEST_PATH else "…" + text[1 - _LONGEST_PATH :]


def _table(legend: Sequence[Mapping[str, Any]]) -> Table:
    rows = [[name(look["name"]), Cell(f"{look['count']:,}")] for look in legend]
    return Table("Images on the map", columns("Class", "Images", numbers=["Images"]), rows, folded=True)
