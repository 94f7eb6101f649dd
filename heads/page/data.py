"""The part of the page on whether the data can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.text import counted
from heads.page.figures import SHARE, at, count, is_number, items, number, percent
from heads.page.missing import missing
from heads.page.parts import (
    Block,
    Cell,
    Heading,
    Pairs,
    Pictures,
    Section,
    Sentence,
    Sentences,
    Table,
    Tone,
    columns,
    cut,
    name,
)  # fmt: skip
from heads.page.pictures import Album, labels_text

_TITLE = "Can I trust my data?"


def data_section(evaluation: Mapping[str, Any], album: Album) -> Section:
    """Likely label errors, near-duplicates, outliers, confused classes and balance."""
    data = at(evaluation, "data")
    if not data:
        return Section("data", _TITLE, [missing(evaluation, "The data were not looked at.", "data")])
    blocks: list[Block] = []
    for title, part in (
        ("Likely label errors", _label_errors),
        ("Near-duplicates", _near_duplicates),
        ("Outliers", _outliers),
        ("Classes that are hard to tell apart", _confused),
        ("Balance of the splits", _balance),
    ):
        blocks += [Heading(title), *part(evaluation, data, album)]
    return Section("data", _TITLE, blocks)


def _label_errors(evaluation: Mapping[str, Any], data: Mapping[str, Any], album: Album) -> list[Block]:
    errors = at(data, "label_errors")
    if not errors:
        return [missing(evaluation, "Label errors were not looked for.", "data")]
    images = items(errors, "images")
    if not images:
        return [Sentence("No image looks wrongly labelled.", "good")]
    number_of = errors.get("count")
    total = f"About {count(number_of)} labels are likely wrong. " if is_number(number_of) else ""
    said = f"{total}The {len(images)} most doubtful are below: look at each before you change it."
    pictures = [
        album.picture(
            image.get("uri"),
            labels_text(image.get("label")),
            [
                ("Label", _with_share(image, "label", "probability")),
                ("Suggested", _with_share(image, "suggested", "suggested_probability")),
                ("Split", Cell(str(image.get("split") or "–"))),
            ],
        )
        for image in images[:100]
    ]
    return [Sentence(said, "caution"), Pictures("Images that are likely labelled wrongly", pictures)]


def _with_share(image: Mapping[str, Any], label: str, probability: str) -> Cell:
    text = labels_text(image.get(label))
    share = f" ({percent(image.get(probability))})" if is_number(image.get(probability)) else ""
    return name(f"{text or 'none'}{share}")


def _near_duplicates(evaluation: Mapping[str, Any], data: Mapping[str, Any], album: Album) -> list[Block]:
    found = at(data, "near_duplicates")
    if not found:
        return [missing(evaluation, "Near-duplicates were not looked for.", "data")]
    pairs, total = items(found, "pairs"), found.get("count") or 0
    blocks: list[Block] = [_of_copies(found, total)]
    if found.get("method"):
        blocks.append(Sentence(f"How they were found: {found['method']}."))
    if len(pairs) < total:
        blocks.append(Sentence(f"The {len(pairs)} most alike are shown."))
    shown = [_pair(pair, album) for pair in pairs[:100] if len(items(pair, "uris")) == 2]
    return [*blocks, Pairs("Near-duplicate images, two by two", shown)] if shown else blocks


def _of_copies(found: Mapping[str, Any], total: int) -> Sentence:
    """How many pictures are there several times, and where."""
    if not total and not found.get("pixels", True):
        return Sentence(
            "Near-duplicates could not be looked for: images can't be read, or have too few pixels.",
            "caution",
        )
    if not total:
        return Sentence("No near-duplicates were found.", "good")
    across = found.get("across_splits") or 0
    labels = found.get("across_labels") or 0
    said = (
        f"{counted(total, 'pair of images is', 'pairs of images are')} the same picture. "
        f"{counted(across, 'picture is', 'pictures are')} in several splits, "
        f"{counted(labels, 'has', 'have')} different labels."
    )
    if across:
        said += " Those across splits make test figures look better than they are."
    return Sentence(said, "caution")


def _pair(pair: Mapping[str, Any], album: Album) -> tuple[Any, Any, list[Cell]]:
    labels = [*(pair.get("labels") or []), None, None]
    splits = [*(pair.get("splits") or []), None, None]
    both = [
        album.picture(
            uri,
            labels_text(labels[place]),
            [("Label", name(labels_text(labels[place]))), ("Split", Cell(str(splits[place] or "–")))],
        )
        for place, uri in enumerate(pair["uris"])
    ]
    kind = "identical" if pair.get("identical") else "mirrored" if pair.get("mirrored") else "alike"
    facts = [Cell(kind), Cell(f"features alike to {number(pair.get('cosine'), 2)}")]
    if is_number(pair.get("correlation")):
        facts.append(Cell(f"pixels alike to {number(pair['correlation'], 2)}"))
    facts += [Cell("across splits", tone="caution")] if pair.get("across_splits") else []
    facts += [Cell("across labels", tone="bad")] if pair.get("across_labels") else []
    return both[0], both[1], facts


def _outliers(evaluation: Mapping[str, Any], data: Mapping[str, Any], album: Album) -> list[Block]:
    if at(data, "outliers") is None:
        return [missing(evaluation, "Outliers were not looked for.", "data")]
    images = items(data, "outliers")
    if not images:
        return [Sentence("No image is named that is unlike all others.")]
    pictures = [
        album.picture(
            image.get("uri"),
            labels_text(image.get("label")),
            [
                ("Label", name(labels_text(image.get("label")))),
                ("Split", Cell(str(image.get("split") or "–"))),
                ("Distance", Cell(number(image.get("distance"), 2))),
            ],
        )
        for image in images[:100]
    ]
    return [
        Sentence("The images that are least like any other, the farthest first: some may not belong here."),
        Pictures("Images that are unlike the others", pictures),
    ]


def _confused(evaluation: Mapping[str, Any], data: Mapping[str, Any], album: Album) -> list[Block]:
    if at(data, "confused_classes") is None:
        return [Sentence("Which classes are hard to tell apart is not measured for several labels.")]
    rows = [
        [
            name(" and ".join(map(str, items(pair, "classes")))),
            Cell(count(pair.get("images"))),
            Cell(percent(pair.get("wrong"))),
            Cell(SHARE.interval(pair.get("interval"))),
            Cell("no better than chance", tone="bad")
            if pair.get("indistinguishable")
            else Cell("yes", tone="good"),
        ]
        for pair in items(data, "confused_classes")
    ]
    if not rows:
        return [Sentence("No two classes are often taken for each other.", "good")]
    shown, left_out = cut(rows, "pairs")
    figures = ("Images", "Wrong", "95% interval")
    heads = columns("Classes", *figures, "Can be told apart", numbers=figures)
    return [Table("Pairs of classes, the hardest first", heads, shown, left_out)]


def _tone(split: Mapping[str, Any]) -> Tone:
    if split.get("differs"):
        return "caution"
    return "plain" if split.get("p_value") is None else "good"


def _balance(evaluation: Mapping[str, Any], data: Mapping[str, Any], album: Album) -> list[Block]:
    balance = at(data, "balance")
    if not balance:
        return [Sentence("Whether the splits are alike is not measured for several labels.")]
    said = [
        Sentence(str(split.get("sentence") or split.get("split")), _tone(split))
        for split in items(balance, "splits")
    ]  # fmt: skip
    if said:
        return [Sentences(said)]
    differs = balance.get("differs")
    text = (
        "The splits differ in their shares of classes."
        if differs
        else "The splits have the same shares of classes."
    )
    return [Sentence(text, "caution" if differs else "good")]
