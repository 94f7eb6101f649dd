"""What training and testing on some images would suffer from: the same bytes twice, and groups torn apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from features.splits import SPLITS
from features.text import counted, printable

#: Examples shown of a long list.
_SHOWN = 3

_Case = TypeVar("_Case")


class Conflicts(NamedTuple):
    """What training and testing on images would suffer from.

    Attributes:
        labels, splits: the same bytes under different labels, or in different splits: the uris of each case.
        groups: those that given splits tear apart: name, and from each of its splits to its images there.
    """

    labels: list[list[str]]
    splits: list[list[str]]
    groups: list[tuple[str, dict[str, int]]]


def find_conflicts(images: pa.Table) -> Conflicts:
    """The conflicts among images in memory; `pipelines.summary` finds those of a table.

    Args:
        images: columns `uri`, `image_id`, `labels`, `split` and `group`.
    """
    counts = images.group_by("image_id").aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts.column("count_all"), 1)).column("image_id")
    cases: dict[str, list[dict[str, Any]]] = {}
    several = images.filter(pc.is_in(images.column("image_id"), repeated.combine_chunks()))
    for row in several.select(["uri", "image_id", "labels", "split"]).sort_by("uri").to_pylist():
        cases.setdefault(row["image_id"], []).append(row)
    grouped = images.filter(pc.is_valid(images.column("group"))).group_by(["group", "split"])
    groups: dict[str, dict[str, int]] = {}
    for of in grouped.aggregate([([], "count_all")]).sort_by("group").to_pylist():
        groups.setdefault(of["group"], {})[of["split"]] = of["count_all"]
    return Conflicts(
        [_uris(case) for case in cases.values() if len({tuple(sorted(row["labels"])) for row in case}) > 1],
        [_uris(case) for case in cases.values() if len({row["split"] for row in case}) > 1],
        [
            (group, {split: of_group[split] for split in SPLITS if split in of_group})
            for group, of_group in groups.items()
            if len(of_group) > 1
        ],
    )


def count_groups(images: pa.Table) -> tuple[int, int]:
    """How many groups there are, and how many of them are in several splits.

    Args:
        images: columns `group` and `split`.
    """
    grouped = images.filter(pc.is_valid(images.column("group"))).group_by("group")
    splits = grouped.aggregate([("split", "count_distinct")]).column("split_count_distinct")
    return len(splits), pc.sum(pc.greater(splits, 1)).as_py() or 0


def _uris(case: list[dict[str, Any]]) -> list[str]:
    return [row["uri"] for row in case]


def conflict_lines(conflicts: Conflicts) -> Iterable[str]:
    """Conflicts for people: of each kind a title, and the first cases below it."""
    for what, cases in (("labels", conflicts.labels), ("splits", conflicts.splits)):
        images = counted(len(cases), "image is", "images are")
        several = f"{images} there several times, the same bytes under different {what}:"
        yield from _examples(several, cases, lambda uris: " = ".join(map(printable, uris)))
    groups = counted(len(conflicts.groups), "group is", "groups are")
    torn = f"{groups} torn apart by the splits that the data came with:"
    yield from _examples(torn, conflicts.groups, _torn_text)


def _torn_text(group: tuple[str, dict[str, int]]) -> str:
    name, counts = group
    return f"{printable(name)}: " + ", ".join(f"{count:,} in {split}" for split, count in counts.items())


def _examples(title: str, cases: Sequence[_Case], text: Callable[[_Case], str]) -> Iterable[str]:
    """A title, the first of the cases that it is about, and how many more there are; nothing for none."""
    if cases:
        yield title
        yield from (f"  {text(case)}" for case in cases[:_SHOWN])
    if len(cases) > _SHOWN:
        yield f"  … and {len(cases) - _SHOWN:,} more"
