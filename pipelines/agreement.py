"""What a run asks for against what the table was made with: a table never holds features made in two ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from features.augmentation import parse_augmentation
from features.backbones.weights import find_weights
from features.engines.graphs import weights_sha256
from features.errors import BottleneckError, MadeAnotherWay
from features.locations import local_path
from features.splits import parse_split
from features.store.commit import set_augmentation
from features.store.table import FeatureTable
from features.text import counted, differences_text, printable
from pipelines.options import EndToEndOptions, ExtractOptions, Options
from pipelines.runs import Run
from pipelines.screen import show_download

if TYPE_CHECKING:
    from heads import SavedHead

#: Views that an image may have: a worker has the pixels of all in memory.
MOST_VIEWS = 64

#: Options that say how `data` is read.
ReadingOptions = TypeVar("ReadingOptions", ExtractOptions, EndToEndOptions)


def with_reading_of(table: FeatureTable | None, options: ReadingOptions) -> ReadingOptions:
    """The options with how folders are read as the table was made, where that was not given.

    A table that holds no features says nothing of it.
    """
    if table is None or not table.has_rows:
        return options
    names = [options.data]
    if isinstance(options, ExtractOptions) and options.data_moved_from is not None:
        names.append(options.data_moved_from)
    if not any(name in ("auto", table.source) or local_path(name) == table.source for name in names):
        return options
    return options.replace(
        splits=options.splits or dict(table.facts.splits), classes=options.classes or table.facts.classes
    )


def check_backbone(table: FeatureTable, options: Options) -> None:
    """Refuse a backbone that was given and is not the table's.

    Raises:
        BottleneckError: where they differ.
    """
    if _backbone_difference(table, options):
        raise BottleneckError(
            f"table {table.name!r} was made with `backbone={table.recipe.backbone}`, not {options.backbone}"
        )


def check_backbone_of_head(saved: SavedHead, options: Options) -> None:
    """Refuse a backbone that was given and is not that of a head's features.

    Raises:
        BottleneckError: where they differ.
    """
    backbone = saved.columns[0].recipe.backbone
    if options.backbone not in (None, backbone):
        raise BottleneckError(
            f"head {saved.id} was trained on {backbone}, not on `backbone={options.backbone}`"
        )


def check_same(table: FeatureTable, options: ExtractOptions, source: str, *, groups: bool) -> None:
    """Refuse a run that would put other features into the table than it holds.

    Args:
        source: the input that is asked for, as its listing names it.
        groups: whether that gives groups.

    Raises:
        BottleneckError: for any difference; the message names each.
    """
    differences = _backbone_difference(table, options)
    same_backbone = not differences
    if source != table.source:
        differences["data"] = (table.source, source)
    elif groups != table.facts.groups:  # of another input they say nothing
        differences["group"] = (_groups_text(table.facts.groups), _groups_text(groups))
    if same_backbone and options.layers is not None:
        wanted = table.backbone.parse_layers(options.layers)
        if not set(wanted) <= set(table.layers):
            differences["layers"] = (",".join(table.layers), options.layers)
    if options.precision not in ("auto", table.recipe.precision):
        differences["precision"] = (table.recipe.precision, options.precision)
    if options.exif_orientation not in (None, table.recipe.exif_orientation):
        differences["exif_orientation"] = (table.recipe.exif_orientation, options.exif_orientation)
    if options.splits and not _same_splits(options.splits, dict(table.facts.splits)):
        differences["splits"] = (_splits_text(dict(table.facts.splits)), _splits_text(options.splits))
    if options.classes not in (None, table.facts.classes or "top"):
        differences["classes"] = (table.facts.classes or "not given", options.classes)
    if options.weights not in ("auto", table.weights) and same_backbone:
        given = find_weights(options.weights, table.backbone, show_download)
        sha256 = weights_sha256(table.backbone, given)
        if sha256 != table.recipe.weights_sha256:
            differences["weights"] = (
                f"{table.recipe.weights} (sha256 {table.recipe.weights_sha256[:12]}…)",
                f"{given.name} (sha256 {sha256[:12]}…)",
            )
    if differences:
        text = differences_text({f"`{name}`": pair for name, pair in differences.items()})
        moved = ""
        if differences.keys() == {"data"}:
            moved = f", or, where the images were moved, say `data_moved_from={printable(table.source)}`"
        raise MadeAnotherWay(
            f"table {table.name!r} was made another way: {text}. "
            f"Name a new table with `features=NAME` to keep both{moved}"
        )


def choose_views(
    table: FeatureTable, options: ExtractOptions, others: Sequence[Run]
) -> tuple[FeatureTable, int]:
    """How many augmented views each training image is to have; how they are made is kept with the table.

    Args:
        others: runs that are at work on the table.

    Returns:
        The table, which says how views are made where there are to be any, and how many.

    Raises:
        MadeAnotherWay: for fewer views than the table has, or for others.
    """
    views = table.views if options.views is None else options.views
    if views < table.views:
        raise MadeAnotherWay(
            f"table {table.name!r} has {counted(table.views, 'view')} of each training image, and "
            f"`views={views}` is fewer: leave it out (a head can be trained with fewer), or name a new table "
            f"with `features=NAME`"
        )
    if views > MOST_VIEWS:
        raise BottleneckError(f"`views={views}`: expected {MOST_VIEWS} at most")
    if not views:
        if options.augment is not None:
            raise BottleneckError("`augment` says how views are made, and there are none: give `views`, too")
        return table, 0
    wanted = parse_augmentation(options.augment)
    if not table.views and (table.augmentation is None or (options.augment is not None and not others)):
        table = set_augmentation(table, wanted)
    stored, ours = table.augmentation or wanted, wanted.algorithm
    if stored.algorithm != ours:
        raise MadeAnotherWay(
            f"the views of table {table.name!r} are made by algorithm {stored.algorithm}, and this version "
            f"has {ours}: name a new table with `features=NAME`"
        )
    if options.augment is not None and stored != wanted:
        raise MadeAnotherWay(
            f"the views of table {table.name!r} are made by {stored}, and `augment` asks for {wanted}: leave "
            f"it out, or name a new table with `features=NAME` to keep both"
        )
    return table, views


def _backbone_difference(table: FeatureTable, options: Options) -> dict[str, tuple[object, object]]:
    if options.backbone in (None, table.recipe.backbone):
        return {}
    return {"backbone": (table.recipe.backbone, options.backbone)}


def _same_splits(given: Mapping[str, str], of_table: Mapping[str, str]) -> bool:
    """Whether the folders are read alike; a table of which nothing was said took those named like splits."""
    return given == of_table if of_table else all(parse_split(name) == split for name, split in given.items())


def _groups_text(groups: bool) -> str:
    return "a column of the input" if groups else "missing from the input or empty"


def _splits_text(splits: Mapping[str, str]) -> str:
    return ",".join(f"{folder}={split}" for folder, split in splits.items()) or "not given"
