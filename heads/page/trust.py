"""The part of the page on whether the head's numbers can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heads.page.choices import AGAINST, against, log_loss, skill_cells, skill_heads
from heads.page.figures import (
    SHARE,
    UNKNOWN,
    Skill,
    at,
    count,
    is_number,
    is_pair,
    items,
    number,
    percent,
    skill_of,
)
from heads.page.missing import missing
from heads.page.mistakes import confusion
from heads.page.parts import (
    Block,
    Cell,
    Heading,
    Pictures,
    Section,
    Sentence,
    Table,
    columns,
    cut,
    name,
    short,
)  # fmt: skip
from heads.page.pictures import Album
from heads.page.plots import reliability

_TITLE = "Can I trust its numbers?"


def trust_section(evaluation: Mapping[str, Any], album: Album) -> Section:
    """How good the head is, how sure that is, and where it fails."""
    trust = at(evaluation, "trust")
    if not trust:
        what = "How good the head is was not measured."
        return Section("trust", _TITLE, [missing(evaluation, what, "trust")])
    skill = skill_of(evaluation)
    blocks: list[Block] = []
    if tested := at(trust, "tested"):
        blocks.append(Sentence(f"Tested on: {tested}."))
    blocks += _metrics(evaluation, trust)
    blocks += [Heading("Is it as often right as it is sure?"), *_reliability(evaluation, trust)]
    if at(trust, "metrics", "per_class"):
        blocks += [
            Heading("Each class" if not evaluation.get("multi_label") else "Each label"),
            _per_class(trust),
        ]
    blocks += confusion(at(trust, "metrics"))
    blocks += [
        Heading("Against other heads"),
        *_leaderboard(evaluation, trust, Skill(str(at(trust, "figure") or skill.name))),
    ]
    blocks += [Heading("The images that it gets most wrong"), *_worst(trust, album)]
    return Section("trust", _TITLE, blocks)


def _metrics(evaluation: Mapping[str, Any], trust: Mapping[str, Any]) -> list[Block]:
    metrics = at(trust, "metrics")
    if not metrics:
        return [missing(evaluation, "The head's figures were not measured.", "trust")]
    rows = [
        [Cell(title), Cell(value), name(note)]
        for title, value, note in _figures(metrics, at(trust, "intervals"))
        if value != "–"
    ]
    table = Table("The head's figures", columns("Figure", "Value", "What it is", numbers=["Value"]), rows)
    return [table, *_without_duplicates(trust)]


def _figures(metrics: Mapping[str, Any], intervals: Any) -> list[tuple[str, str, str]]:
    """Each figure with its name, interval, and what it is, as of one label an image or of several."""

    def within(name: str) -> str:
        pair = at(intervals, name)
        return f"95% interval {number(pair[0])} to {number(pair[1])}; " if is_pair(pair) else ""

    interval = SHARE.interval(metrics.get("accuracy_interval"))
    tested = f"95% interval {interval}; of {count(metrics.get('count'))} images"
    if "hamming_loss" in metrics:
        precision, f1 = metrics.get("average_precision"), metrics.get("f1")
        micro = "mean over labels; over all answers {}"
        precision_note, f1_note = (micro.format(number(at(each, "micro"))) for each in (precision, f1))
        return [
            (
                "Average precision",
                number(at(precision, "macro")),
                within("average_precision") + precision_note,
            ),
            ("F1", number(at(f1, "macro")), within("f1") + f1_note),
            ("All labels right", percent(metrics.get("accuracy")), tested),
            ("Hamming loss", number(metrics.get("hamming_loss")), "share of the labels that are wrong"),
            (
                "Log loss",
                number(metrics.get("log_loss")),
                within("log_loss") + "0 is best; mean over images and labels",
            ),
        ]
    majority = f"always answering {short(metrics.get('majority_class'))}"
    return [
        ("Accuracy", percent(metrics.get("accuracy")), tested),
        ("Majority class", percent(metrics.get("majority_accuracy")), majority),
        (
            "Macro F1",
            number(metrics.get("macro_f1")),
            within("macro_f1") + "mean over classes of precision and recall together; 1 is best",
        ),
        (
            "Log loss",
            number(metrics.get("log_loss")),
            within("log_loss") + "0 is best; punishes being sure and wrong",
        ),
    ]


def _without_duplicates(trust: Mapping[str, Any]) -> list[Block]:
    without = at(trust, "without_duplicates")
    if not without:
        return []
    return [
        Sentence(
            f"Without the {count(without.get('images'))} test images that have a near-duplicate in another "
            f"split, the accuracy is {percent(without.get('accuracy'))} (95% interval "
            f"{SHARE.interval(without.get('accuracy_interval'))}, {count(without.get('count'))} images).",
            "caution",
        )
    ]


def _reliability(evaluation: Mapping[str, Any], trust: Mapping[str, Any]) -> list[Block]:
    bins = items(trust, "reliability", "bins")
    error = at(trust, "reliability", "calibration_error")
    caption = (
        "A dot on the dotted line is as often right as it is sure; below the line it is too sure, "
        "above it is not sure enough."
    )
    if is_number(error):
        caption += f" On average it is off by {percent(error)}."
    plot = reliability(bins, caption)
    if not plot:
        return [
            missing(
                evaluation,
                "How sure the head is was not compared with how often it is right.",
                "trust",
            )
        ]
    rows = [
        [
            Cell(f"{percent(each.get('low'))} to {percent(each.get('high'))}"),
            Cell(count(each.get("count"))),
            *(Cell(percent(each.get(which))) for which in ("confidence", "accuracy")),
            Cell(SHARE.interval(each.get("interval"))),
        ]
        for each in bins
    ]
    figures = ("Images", "Sure on average", "Right", "95% interval")
    heads = columns("Sure to", *figures, numbers=figures)
    return [plot, Table("How sure and how often right", heads, rows, folded=True)]


def _per_class(trust: Mapping[str, Any]) -> Table:
    """Each class, the worst first."""
    by_class = at(trust, "metrics", "per_class")
    labels = "hamming_loss" in at(trust, "metrics")
    order = sorted(
        by_class,
        key=lambda label: (not at(by_class, label, "support"), at(by_class, label, "f1") or 0, label),
    )
    digits = ("precision", "recall", "f1", *(("average_precision", "threshold") if labels else ()))
    rows = [
        [
            name(label),
            Cell(count(at(by_class, label, "support"))),
            *(
                Cell(UNKNOWN)
                if not at(by_class, label, "support")
                else Cell(number(at(by_class, label, figure), 2) + _within(trust, label, figure))
                for figure in digits
            ),
        ]
        for label in order
    ]
    noun = "label" if labels else "class"
    shown, left_out = cut(rows, "labels" if labels else "classes", chosen="worst")
    titles = {"f1": "F1", "average_precision": "Average precision"}
    figures = ["Images", *(titles.get(figure, figure.title()) for figure in digits)]
    heads = columns(noun.title(), *figures, numbers=figures)
    return Table(f"Each {noun}, the lowest F1 first", heads, shown, left_out)


def _within(trust: Mapping[str, Any], label: str, figure: str) -> str:
    """The interval of a figure of a class, where it has one."""
    pair = at(trust, "class_intervals", label, figure)
    return f" ({number(pair[0], 2)} to {number(pair[1], 2)})" if is_pair(pair) else ""


def _leaderboard(evaluation: Mapping[str, Any], trust: Mapping[str, Any], skill: Skill) -> list[Block]:
    heads = items(trust, "leaderboard")
    blocks: list[Block] = []
    if heads:
        rows = [_row(head, skill) for head in heads]
        shown, left_out = cut(rows, "heads", chosen="best")
        marked = next((place for place, head in enumerate(heads) if head.get("is_head")), None)
        titles = columns(
            "Head", *skill_heads(skill), *AGAINST, "p", "Log loss", "Kind", "Layers", "Workflow",
            numbers=[*skill_heads(skill), AGAINST[1], "p", "Log loss"],
        )  # fmt: skip
        note = (
            "All heads are tested on the same images. “May be chance” says that the difference to this head "
            "is no larger than chance would give; the order of such heads means nothing."
        )
        blocks += [Sentence(note), Table("Heads, the best first", titles, shown, left_out, marked)]
    else:
        blocks.append(missing(evaluation, "There was no other head to compare with.", "trust"))
    if left := items(trust, "left_out"):
        rows = [[name(each)] for each in left]
        shown, more = cut(rows, "heads")
        blocks.append(Table("Heads that are left out", columns("Head, and why"), shown, more, folded=True))
    return blocks


def _row(head: Mapping[str, Any], skill: Skill) -> list[Cell]:
    return [
        name(head.get("head")),
        *skill_cells(head, skill),
        *against(head, skill),
        Cell(number(head.get("p_value"))),
        log_loss(head),
        name(head.get("kind")),
        name(" + ".join(map(str, items(head, "layers")))),
        name(head.get("workflow") or "stored features"),
    ]


def _worst(trust: Mapping[str, Any], album: Album) -> list[Block]:
    worst = items(trust, "worst")
    if not worst:
        return [Sentence("None is named.")]
    pictures = [
        album.picture(
            image.get("uri"),
            image.get("label"),
            [
                ("Label", name(image.get("label"))),
                ("Predicted", name(image.get("predicted"))),
                ("Probability of the label", Cell(percent(image.get("probability")))),
            ],
        )
        for image in worst[:50]
    ]
    return [Pictures("Images that the head gets most wrong", pictures)]
