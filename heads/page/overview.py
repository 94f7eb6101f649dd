"""The first and the last part of the page: the verdict, and what the head was trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from heads.page.figures import at, count, items
from heads.page.parts import Cell, Section, Sentence, Sentences, Table, Tone, columns, cut, name

#: What a sentence without a tone is taken to say, by its words; the first that fits counts.
_TONES: tuple[tuple[Tone, str], ...] = (
    ("bad", r"\b(does not|do not|did not|doesn't|no better|worse|hurts?)\b"),
    ("caution", r"\b(could not|can't|may|might|perhaps|likely|check|look at|noise|near[- ]duplicates?|"
     r"label errors?|differs?|only|caution|untrained|not measured|unknown|indistinguishable)\b"),
    ("good", r"\b(helps?|better|higher|steeper|fewer|trustworthy|balanced|calibrated)\b"),
)  # fmt: skip


def verdict_section(evaluation: Mapping[str, Any]) -> Section:
    """The answer in a few sentences."""
    said = [_sentence(each) for each in items(evaluation, "verdict")[:20]]
    none = [Sentence("This evaluation gives no verdict: too little could be measured.", "caution")]
    return Section("verdict", "Verdict", [Sentences(said or none)])


def _sentence(said: Any) -> Sentence:
    """A sentence of the verdict: a text, or a mapping that has its `tone`, too."""
    if isinstance(said, Mapping):
        text, tone = str(said.get("sentence") or said.get("text") or ""), said.get("tone")
        return Sentence(text, tone if tone in ("good", "bad", "caution", "plain") else tone_of(text))
    return Sentence(str(said), tone_of(str(said)))


def tone_of(text: str) -> Tone:
    """The tone of a sentence that comes without one."""
    return next((tone for tone, words in _TONES if re.search(words, text, re.IGNORECASE)), "plain")


def facts_section(evaluation: Mapping[str, Any]) -> Section:
    """What the head was trained on, and how."""
    head, table = at(evaluation, "head"), at(evaluation, "table")
    rows = [
        ("Head", at(head, "id")),
        ("Kind", at(head, "kind")),
        ("Workflow", at(head, "workflow") or "trained on stored features"),
        ("Layers", ", ".join(map(str, items(head, "layers"))) or None),
        ("Trained at", at(head, "created_at")),
        ("Seed", at(head, "seed")),
        ("Table", at(table, "name")),
        ("Version of the table", at(table, "version")),
        ("Source of the images", at(table, "source")),
        ("Images", at(table, "images")),
        ("Recipe of the features", at(table, "recipe")),
        ("Weights", "random: the network is untrained" if at(table, "untrained") else None),
        ("Extracted at", at(table, "extracted_at")),
        ("Evaluated at", at(evaluation, "created_at")),
    ]
    blocks = [
        _fact_table("The head and its table", rows),
        _fact_table("Parameters of the head", _all(_parameters(head))),
        _fact_table("Settings of this evaluation", _all(at(evaluation, "settings"))),
        _classes(evaluation),
    ]
    return Section("trained-on", "What this head was trained on", [block for block in blocks if block])


def _fact_table(caption: str, facts: Iterable[tuple[str, Any]]) -> Table | None:
    rows = [[Cell(str(fact), name=True), name(_text(value))] for fact, value in facts if value is not None]
    shown, left_out = cut(rows, "facts")
    return Table(caption, columns("", ""), shown, left_out) if rows else None


def _parameters(head: Any) -> dict[str, Any]:
    """Those of a head, with what was chosen in training where one was left open."""
    given, chosen = at(head, "parameters"), at(head, "chosen")
    found = dict(given) if isinstance(given, Mapping) else {}
    for parameter, value in (chosen if isinstance(chosen, Mapping) else {}).items():
        found[parameter] = f"{_text(value)}, chosen in training"
    return found


def _all(settings: Any) -> list[tuple[str, Any]]:
    """Settings by name, also those that are not set."""
    found = settings if isinstance(settings, Mapping) else {}
    return [(str(setting), "not set" if value is None else value) for setting, value in found.items()]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _classes(evaluation: Mapping[str, Any]) -> Table | None:
    """Images of each class in each split, the classes of the most images first."""
    classes = at(evaluation, "classes")
    if not isinstance(classes, Mapping) or not classes:
        return None
    splits = ("train", "validation", "test")
    order = sorted(
        classes, key=lambda label: (-sum(at(classes, label, split) or 0 for split in splits), label)
    )
    rows = [
        [name(label), *(Cell(count(at(classes, label, split) or 0)) for split in splits)] for label in order
    ]
    what = "labels" if evaluation.get("multi_label") else "classes"
    shown, left_out = cut(rows, what, chosen="largest")
    noun, titles = ("label" if what == "labels" else "class"), [split.title() for split in splits]
    heads = columns(noun.title(), *titles, numbers=titles)
    return Table(f"Images of each {noun}", heads, shown, left_out, folded=True)
