"""What evidence is gathered on: a head, the newest version of its table, and the images of its labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from features import store as feature_store
from features.errors import BottleneckError
from features.splits import are_cut_by_hash
from heads.evidence.answers import made_here
from heads.evidence.curves import FEWEST_DRAWS
from heads.evidence.images import LabelledRows, labelled_rows
from heads.logistic import LogisticHead
from heads.progress import Progress, silent
from heads.saved import SavedHead

if TYPE_CHECKING:
    from features.store.table import FeatureTable
    from heads.base import Head

#: Called with the name of each part of the evidence before it is made.
Part = Callable[[str], None]


def nobody(_: str) -> None:
    """`Part` that nobody watches."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        draws: of training and test images, for learning curves and layers.
        sample: images that these are measured on, at most.
        seed: of everything random.
        random_features: whether learning curves are compared with features of random weights.
    """

    draws: int = 10
    sample: int = 2000
    seed: int = 0
    random_features: bool = True

    def check(self) -> None:
        """Refuse settings out of range with a BottleneckError."""
        if self.draws < FEWEST_DRAWS:
            raise BottleneckError(f"`draws={self.draws}`: expected {FEWEST_DRAWS} or more, for an interval")
        if self.sample < 20:
            raise BottleneckError(f"`sample={self.sample}`: expected 20 or more")


@dataclasses.dataclass(frozen=True)
class Subject:
    """What evidence is gathered on.

    Attributes:
        saved: the head.
        table: of its features; those of a head that was fine-tuned are of other weights.
        images: of the table, with labels that the head knows.
        layers: of the table, that the head was trained on.
        given_splits: whether only images of the test split may be tested: the data came with it, or the
            weights of the backbone were tuned on the others.
        settings, part, progress, without_random: as of `heads.evidence.gather_evidence`.
        missing: what could not be measured: filled on the way, see `lacks`.
    """

    saved: SavedHead
    table: FeatureTable
    images: LabelledRows
    layers: tuple[str, ...]
    given_splits: bool
    settings: Settings
    part: Part
    progress: Progress
    without_random: str
    missing: list[dict[str, str]] = dataclasses.field(default_factory=list)

    def lacks(self, part: str, what: str, how: str) -> None:
        """Note what could not be measured, in which part of the evidence, and how to get it."""
        self.missing.append({"part": part, "what": what, "how": how})

    def new_head(self) -> Head:
        """An untrained logistic head to measure features with: of the same parameters, if the head is one."""
        facts = self.saved.facts
        same = facts["parameters"] if facts["kind"] == "logistic" else {}
        return LogisticHead(**{**same, "class_weight": facts["parameters"].get("class_weight")})


def find_subject(
    saved: SavedHead,
    settings: Settings,
    part: Part = nobody,
    progress: Progress = silent,
    without_random: str = "",
) -> Subject:
    """Open what a head was trained on.

    Raises:
        BottleneckError: where its table is missing, of another backbone, or has none of its layers or labels.
    """
    settings.check()
    name = saved.directory.parent.name
    table = feature_store.open(saved.store, name)
    backbone = saved.columns[0].recipe.backbone
    if table.recipe.backbone != backbone:
        raise BottleneckError(
            f"head {saved.id} was trained on features of {backbone}, and table {name!r} holds those of "
            f"{table.recipe.backbone}: train a head on it first"
        )
    layers = tuple(column.layer for column in table.columns(saved.layers))
    multi_label = saved.facts.get("multi_label", False)
    images = labelled_rows(table, saved.facts["labels"], multi_label=multi_label)
    given = made_here(table) or _has_given_test(images)
    return Subject(saved, table, images, layers, given, settings, part, progress, without_random)


def _has_given_test(images: LabelledRows) -> bool:
    """Whether the test split was given; tables of older versions do not say, but the hash does."""
    if not (images.splits == "test").any():
        return False
    rows = images.rows
    groups = rows.column("group") if "group" in rows.column_names else None
    return images.table.facts.given_splits or not are_cut_by_hash(
        rows.column("image_id"), groups, rows.column("split")
    )
