"""The part of the page on what to choose: layers, views and workflows, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from heads.page.figures import UNKNOWN, Skill, count, is_number, items, number, seconds, skill_of
from heads.page.missing import missing
from heads.page.parts import Block, Cell, Heading, Section, Sentence, Table, columns, cut, name

#: Titles of the columns that compare with this head.
AGAINST = ("Difference is", "Against this head")


def choices_section(evaluation: Mapping[str, Any]) -> Section:
    """Which layers, views and workflow do best, and what they cost."""
    blocks: list[Block] = []
    for part, build in (("layers", _layers), ("views", _views), ("workflows", _workflows)):
        found, title = items(evaluation, part), part.title()
        blocks.append(Heading(title))
        absent = missing(evaluation, f"{title} were not compared.", part)
        blocks += build(found, skill_of(evaluation)) if found else [absent]
    return Section("choices", "Which layer, which views, which workflow?", blocks)


def verdict_of(measured: Mapping[str, Any]) -> Cell:
    """Whether a difference is more than chance would give, and which way it goes."""
    difference = items(measured, "difference")
    if measured.get("noise") is None or not difference or not is_number(difference[0]):
        return Cell(UNKNOWN)
    if measured["noise"]:
        return Cell("may be chance", tone="caution")
    return Cell("better", tone="good") if difference[0] > 0 else Cell("worse", tone="bad")


def against(measured: Mapping[str, Any], skill: Skill) -> list[Cell]:
    """How what was measured differs from this head, below the titles `AGAINST`."""
    if measured.get("is_head"):
        return [Cell(UNKNOWN), Cell("this head")]
    return [verdict_of(measured), Cell(skill.differences(measured.get("difference")))]


def _layers(layers: list[Mapping[str, Any]], skill: Skill) -> list[Block]:
    rows = [
        [
            name(" + ".join(map(str, items(layer, "layers")))),
            *skill_cells(layer, skill),
            *against(layer, skill),
            log_loss(layer),
            Cell(seconds(layer.get("seconds"))),
            Cell(count(layer.get("width"))),
        ]
        for layer in layers
    ]
    costs = ("Log loss", "Training", "Numbers an image")
    figures = (*skill_heads(skill), AGAINST[1], *costs)
    heads = columns("Layers", *skill_heads(skill), *AGAINST, *costs, numbers=figures)
    table = _table("Heads on each layer", heads, rows, "choices of layers", layers)
    return [Sentence(_best(layers, skill, lambda layer: " + ".join(map(str, items(layer, "layers"))))), table]


def _views(views: list[Mapping[str, Any]], skill: Skill) -> list[Block]:
    rows = [
        [
            Cell("with views" if view.get("views") else "without views"),
            *skill_cells(view, skill),
            log_loss(view),
            Cell(seconds(view.get("seconds"))),
        ]
        for view in views
    ]
    figures = (*skill_heads(skill), "Log loss", "Training")
    heads = columns("Trained", *figures, numbers=figures)
    said = _best(
        views, skill, lambda view: "training with views" if view.get("views") else "training without views"
    )
    return [
        Sentence(said),
        _table("Training with and without views of the images", heads, rows, "rows", views),
    ]


def _workflows(workflows: list[Mapping[str, Any]], skill: Skill) -> list[Block]:
    rows = [
        [
            name(flow.get("name")),
            *skill_cells(flow, skill),
            log_loss(flow),
            *(Cell(seconds(flow.get(each))) for each in ("extraction_seconds", "seconds")),
            Cell(count(flow.get("epochs"))),
            *(Cell(seconds(flow.get(each))) for each in ("seconds_per_epoch", "total_seconds")),
            name(flow.get("tested") or UNKNOWN),
            name(flow.get("head")),
        ]
        for flow in workflows
    ]
    figures = (*skill_heads(skill), "Log loss", "Extraction", "Training", "Epochs", "An epoch", "In all")
    heads = columns("Workflow", *figures, "Tested on", "Head", numbers=figures)
    said = _best(workflows, skill, lambda flow: str(flow.get("name")))
    return [Sentence(said), _table("Ways to a head, and what they cost", heads, rows, "workflows", workflows)]


def skill_heads(skill: Skill) -> tuple[str, str]:
    """Titles of the columns of a figure and its interval."""
    return skill.name.capitalize(), "95% interval"


def skill_cells(measured: Mapping[str, Any], skill: Skill) -> list[Cell]:
    """What was measured, below the titles of `skill_heads`."""
    return [Cell(skill.text(measured.get("skill"))), Cell(skill.interval(measured.get("interval")))]


def log_loss(measured: Mapping[str, Any]) -> Cell:
    return Cell(number(measured.get("log_loss")))


def _table(
    caption: str, heads: list, rows: list[list[Cell]], what: str, measured: list[Mapping[str, Any]]
) -> Table:
    shown, left_out = cut(rows, what)
    marked = next((place for place, each in enumerate(measured) if each.get("is_head")), None)
    return Table(caption, heads, shown, left_out, marked)


def _best(measured: list[Mapping[str, Any]], skill: Skill, named: Callable[[Mapping[str, Any]], str]) -> str:
    """The row of the highest figure, in words."""
    known = [each for each in measured if isinstance(each.get("skill"), int | float)]
    if not known:
        return "None of these could be measured."
    if not known[1:]:
        return f"There is {named(known[0])} alone: nothing to compare it with."
    best = max(known, key=lambda each: each["skill"])
    interval = skill.interval(best.get("interval"))
    within = f" (95% interval {interval})" if best.get("interval") else ""
    return f"The highest {skill.name} here is that of {named(best)}: {skill.text(best['skill'])}{within}."
