"""The part of the page on whether transfer helped: three claims, curves, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heads.page.figures import UNKNOWN, Skill, at, count, is_number, items, number, skill_of
from heads.page.missing import missing
from heads.page.parts import Block, Cell, Section, Sentence, Sentences, Table, Tone, columns, name, short
from heads.page.plots import curves

_TITLE = "Did transfer help?"


def transfer_section(evaluation: Mapping[str, Any]) -> Section:
    """Whether features of a trained network are better to learn from than those of others."""
    transfer = at(evaluation, "transfer")
    if not transfer:
        what = "Whether transfer helped was not measured."
        return Section("transfer", _TITLE, [missing(evaluation, what, "transfer")])
    skill = skill_of(evaluation)
    blocks: list[Block] = [_claims(transfer)]
    if any(items(source, "points") for source in items(transfer, "sources")):
        blocks += [curves(transfer, skill, _seen(transfer, skill)), _numbers(transfer, skill)]
    blocks += [table for table in [_against(transfer, skill)] if table]
    if tested := at(transfer, "tested"):
        blocks.append(Sentence(f"Tested on: {tested}."))
    return Section("transfer", _TITLE, blocks)


def _claims(transfer: Mapping[str, Any]) -> Sentences:
    claims = [_claim(claim) for claim in items(transfer, "claims")]
    return Sentences(claims or [Sentence("No claim could be tested.", "caution")])


def _claim(claim: Mapping[str, Any]) -> Sentence:
    """A claim's sentence below its title, which many a sentence begins with."""
    title, text = str(claim.get("title") or ""), str(claim.get("sentence") or "not measured")
    unsure = claim.get("helps") is None or claim.get("open")
    tone: Tone = "good" if claim.get("helps") else "caution" if unsure else "bad"
    repeated = title and text.lower().startswith(f"{title.lower()}: ")
    return Sentence(text[len(title) + 2 :] if repeated else text, tone, title)


def amount(per_class: Any) -> str:
    """Images of each class that were learned from, as text."""
    return "all" if per_class is None else count(per_class)


def _seen(transfer: Mapping[str, Any], skill: Skill) -> str:
    """What the curves show, in words: where each begins and ends."""
    texts = []
    for source in items(transfer, "sources"):
        points = items(source, "points")
        if points:
            first, last = points[0], points[-1]
            texts.append(
                f"{short(source.get('name'))}: {skill.text(first.get('mean'))} with "
                f"{amount(first.get('per_class'))} of each class, {skill.text(last.get('mean'))} with "
                f"{amount(last.get('per_class'))}"
            )
    chance = at(transfer, "chance")
    end = f" Chance is {skill.text(chance)}." if is_number(chance) else ""
    bands = "The bands are 95% intervals of the means over the draws."
    return f"From left to right: {'; '.join(texts)}.{end} {bands}"


def _numbers(transfer: Mapping[str, Any], skill: Skill) -> Table:
    """A row for each number of images, a column for each source."""
    sources = items(transfer, "sources")
    points = [{point.get("per_class"): point for point in items(source, "points")} for source in sources]
    amounts = sorted({each for of_source in points for each in of_source}, key=lambda n: (n is None, n or 0))
    rows = [
        [Cell(amount(per_class)), *(Cell(_point(of_source.get(per_class), skill)) for of_source in points)]
        for per_class in amounts
    ]
    titles = [short(source.get("name") or source.get("id")) for source in sources]
    caption = f"{skill.name.capitalize()} after learning from so many images of each class"
    return Table(caption, columns("Images of each class", *titles, numbers=titles), rows, folded=True)


def _point(point: Any, skill: Skill) -> str:
    if not point:
        return UNKNOWN
    return f"{skill.text(point.get('mean'))} ({skill.interval([point.get('low'), point.get('high')])})"


def _against(transfer: Mapping[str, Any], skill: Skill) -> Table | None:
    """What each claim was held against."""
    names = {source.get("id"): source.get("name") for source in items(transfer, "sources")}
    rows = []
    for claim in items(transfer, "claims"):
        for other in items(claim, "against"):
            values = _ratio(other) if "ratio" in other else _difference(other, skill)
            rows.append(
                [name(claim.get("title")), name(names.get(other.get("id"), other.get("id"))), *values]
            )
    figures = ("Difference or ratio", "95% interval")
    heads = columns("Claim", "Against", *figures, numbers=figures)
    return Table("What the claims rest on", heads, rows, folded=True) if rows else None


def _ratio(other: Mapping[str, Any]) -> list[Cell]:
    ratio, pair = other.get("ratio"), other.get("interval")
    text = (
        f"{'at least ' if other.get('at_least') else ''}{number(ratio, 1)} times"
        if is_number(ratio)
        else UNKNOWN
    )
    ends = (
        f"{number(pair[0], 1)} to {number(pair[1], 1)}"
        if isinstance(pair, list) and len(pair) == 2
        else UNKNOWN
    )
    return [Cell(text), Cell(ends)]


def _difference(other: Mapping[str, Any], skill: Skill) -> list[Cell]:
    pair = other.get("interval")
    ends = " to ".join(skill.difference(end) for end in pair) if isinstance(pair, list) else UNKNOWN
    return [Cell(skill.difference(other.get("difference"))), Cell(ends)]
