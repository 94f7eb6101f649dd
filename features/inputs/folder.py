"""Images in a folder: with a sub-folder per class, these within `train/ val/ test/`, or without any.

As in `keras.utils.image_dataset_from_directory`, the class is the name of the sub-folder, whatever lies
deeper belongs to it too, and images beside the classes' folders are left out (here with a notice). Where the
folders could be read in two ways, they are refused until `splits` or `classes` says which.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features import files
from features.errors import BottleneckError, InputShrunk
from features.inputs.listing import LISTING_SCHEMA, Form, Listing, file_facts
from features.inputs.walk import EXTENSIONS, Walk, is_folder, is_image_name
from features.locations import local_path
from features.schemas import to_schema
from features.splits import SPLITS, given_splits, is_plain_split, parse_split
from features.text import counted, printable, some

__all__ = ["CLASSES", "find_images", "is_image_name", "list_file", "list_folder"]

#: Which folder names the class of an image, where there are several above it.
CLASSES = ("top", "deepest")


class _Labelled(NamedTuple):
    """Images in `LISTING_SCHEMA`, and the labels that they have."""

    rows: pa.Table
    labels: set[str]


class _Part(NamedTuple):
    """A folder that holds one split."""

    name: str
    split: str
    images: _Labelled


def list_folder(
    folder: str, *, splits: Mapping[str, str] | None = None, classes: str | None = None
) -> Listing:
    """List the images of a folder.

    Args:
        folder: absolute path.
        splits: which folders within it hold which split; by default those named like one, if any.
        classes: `top`: the class is the uppermost folder, below that of the split; `deepest`: it is the one
            that the image lies in. By default the uppermost, unless it is unclear.

    Raises:
        BottleneckError: when there are no images, a folder can't be read, images lie beside the folders of
            the splits, `splits` names a folder that is not there, or it is unclear which folders are the
            classes.
    """
    walk = Walk()
    parts = _named_splits(folder, splits, walk) if splits else _split_folders(folder, classes, walk)
    if parts:
        held = [_Part(name, split, _labelled(path, classes, walk)) for name, split, path in parts]
        images = _of_splits(held, walk)
    else:
        images = _labelled(folder, classes, walk)
    if not len(images.rows):
        others = f"{walk.ignored} other files"
        if walk.left_out:
            others += f", and {counted(len(walk.left_out), 'image')} whose names are not valid UTF-8"
        raise InputShrunk(
            f"found no images in {printable(folder)} ({others}): "
            f"expected a sub-folder of images for each class, "
            f"with one of the extensions {', '.join(sorted(EXTENSIONS))}"
        )
    if len(images.labels) == 1 and _all_labelled(images.rows):
        walk.notices.append(
            f"all images have the label '{printable(*images.labels)}': "
            f"is {printable(folder)} one level too high?"
        )
    return _listing(folder, images.rows, walk)


def list_file(path: str) -> Listing:
    """A single image file, by its absolute path, as an input of one image without a label."""
    columns = [[path], [[]], [None], [None], *([fact] for fact in file_facts(path))]
    return Listing(path, pa.table(columns, schema=LISTING_SCHEMA), 0, [])


def find_images(folder: str) -> Listing:
    """All images anywhere below a folder, without labels, whatever their sub-folders are called.

    Args:
        folder: absolute path.

    Raises:
        BottleneckError: when a folder can't be read.
    """
    walk = Walk()
    images = walk.images(folder)
    return _listing(folder, images.labelled([None] * len(images.folders)), walk)


def _listing(folder: str, images: pa.Table, walk: Walk) -> Listing:
    if walk.left_out:
        names = some(os.path.relpath(path, folder) for path in walk.left_out)
        walk.notices.append(
            f"left out {counted(len(walk.left_out), 'image')} whose names are not valid UTF-8 ({names}): "
            f"rename them"
        )
    return Listing(folder, images.sort_by("uri"), walk.ignored, walk.notices, len(walk.left_out))


def _all_labelled(rows: pa.Table) -> bool:
    return bool(pc.all(pc.greater(pc.list_value_length(rows.column("labels")), 0)).as_py())


def _named_splits(folder: str, splits: Mapping[str, str], walk: Walk) -> list[tuple[str, str, str]]:
    """The folders that `splits` names, as (name, split, path)."""
    folders = {entry.name: entry.path for entry in walk.entries(folder) if is_folder(entry)}
    for name, split in splits.items():
        if name not in folders:
            raise BottleneckError(
                f"`splits` names {printable(name)}, and {printable(folder)} has no such folder: "
                f"it has {some(folders, shown=10) or 'none'}"
            )
        if split not in SPLITS:
            raise BottleneckError(
                f"`splits={printable(name)}={printable(split)}`: expected one of {', '.join(SPLITS)}"
            )
    others = [name for name in folders if name not in splits]
    if others:
        walk.notices.append(f"left out {some(others)}, which `splits` does not name")
    return [(name, split, _inner(folders[name], split, walk)) for name, split in splits.items()]


def _split_folders(folder: str, classes: str | None, walk: Walk) -> list[tuple[str, str, str]]:
    """The folders of the splits as (name, split, path), or nothing when `folder` does not come split.

    `train` alone may be a class beside others (`bus`, `car`); with `val` or `test` at its side it is not.
    """
    entries = walk.entries(folder)
    folders = [entry for entry in entries if is_folder(entry)]
    parts = [(entry.name, split, entry.path) for entry in folders if (split := parse_split(entry.name))]
    others = [entry for entry in folders if not parse_split(entry.name)]
    splits = {split for _, split, _ in parts}
    if others and not ("train" in splits and len(splits) > 1):
        if classes is None:
            _refuse_train_beside_others(folder, parts, others)
        return []
    astray = [entry.name for entry in others if len(walk.images(entry.path))]
    if astray:
        named = ",".join(f"{printable(name)}={split}" for name, split, _ in parts)
        raise BottleneckError(
            f"found images in {some(astray, quote=True)} beside the folders of the splits in "
            f"{printable(folder)}: move each class into train/, val/ and test/, "
            f"or say `splits={named}` to leave the others out"
        )
    if parts:
        walk.ignored += len(entries) - len(folders)
        loose = sum(is_image_name(entry.name) for entry in entries if not is_folder(entry))
        if loose:
            walk.notices.append(
                f"left out {counted(loose, 'image')} beside the folders of the splits in {printable(folder)}"
            )
    if not all(is_plain_split(name) for name, _, _ in parts):
        taken = ", ".join(f"{printable(name)} as {split}" for name, split, _ in parts)
        walk.notices.append(f"folders taken as splits: {taken}")
    return [(name, split, _inner(path, split, walk)) for name, split, path in parts]


def _refuse_train_beside_others(
    folder: str, parts: list[tuple[str, str, str]], others: list[os.DirEntry[str]]
) -> None:
    """Refuse a training part with classes of its own beside folders that are no splits: it is no class."""
    for name, split, path in parts:
        if split != "train":
            continue
        inner = {names[0] for names in Walk().images(path).folders if names}
        if len(inner) > 1:
            raise BottleneckError(
                f"{printable(folder)} has '{printable(name)}' with folders of images in it "
                f"({some(sorted(inner))}), beside {some((entry.name for entry in others), quote=True)}: "
                f"say which are the splits, with `splits={printable(name)}=train,…`, "
                f"or which are the classes, with `classes=top`"
            )


def _inner(path: str, split: str, walk: Walk) -> str:
    """The folder of a split, or the only one in it where that names the same split, as in archives."""
    entries = walk.entries(path)
    folders = [entry for entry in entries if is_folder(entry)]
    images = any(is_image_name(entry.name) for entry in entries if entry not in folders)
    if len(folders) == 1 and not images and parse_split(folders[0].name) == split:
        return folders[0].path
    return path


def _of_splits(parts: list[_Part], walk: Walk) -> _Labelled:
    """The images of all splits, each with what its split counts as."""
    trained = {label for part in parts if part.split == "train" for label in part.images.labels}
    parts = [_without_false_class(part, trained, walk) for part in parts]
    for part in parts:
        labels = part.images.labels
        if part.split != "train" and trained and labels and not labels & trained:
            walk.notices.append(f"no class of {printable(part.name)} is a class of the training part")
    labelled = {part.split for part in parts if part.images.labels or not trained}
    given, notices = given_splits(labelled)
    walk.notices += notices
    tables = [
        to_schema(part.images.rows, LISTING_SCHEMA, split=given.get(part.split, part.split)) for part in parts
    ]
    return _Labelled(pa.concat_tables(tables), set().union(*(part.images.labels for part in parts)))


def _without_false_class(part: _Part, trained: set[str], walk: Walk) -> _Part:
    """A split without classes though the training part has some: its images get no labels."""
    rows, labels = part.images
    if not trained or not len(rows) or (labels and not (len(labels) == 1 and not labels & trained)):
        return part
    seen = "no folders of classes"
    if labels:
        seen = f"the one folder '{printable(*labels)}', which is no class of train"
    walk.notices.append(
        f"{printable(part.name)} holds {counted(len(rows), 'image')} and {seen}: "
        f"they are stored without a label, and can't test a head"
    )
    return part._replace(images=_Labelled(to_schema(rows, LISTING_SCHEMA, labels=[]), set()))


def _labelled(folder: str, classes: str | None, walk: Walk) -> _Labelled:
    """The images in the folders of the classes, or those in `folder` itself where there are none."""
    images = walk.images(folder)
    counts = images.counts().tolist()
    beside = sum(count for names, count in zip(images.folders, counts, strict=True) if not names)
    place = -1 if classes == "deepest" else 0
    labels = [names[place] if names else None for names in images.folders]
    if beside == len(images):
        return _Labelled(images.labelled(labels), set())
    if beside:
        walk.ignored += beside
        walk.notices.append(
            f"left out {counted(beside, 'image')} beside the classes' folders in {printable(folder)}"
        )
    if classes is None:
        _refuse_unclear(folder, filter(None, images.folders))
    full = {names[0] for names in images.folders if names}
    full |= {name for path in walk.left_out for name in _folders_above(path, folder)[:1]}
    empty = [entry.name for entry in walk.entries(folder) if is_folder(entry) and entry.name not in full]
    if empty:
        walk.notices.append(f"no images in {some(sorted(empty))} (in {printable(folder)})")
    if beside:
        images = images.within([bool(names) for names in images.folders])
    return _Labelled(images.labelled(labels), {label for label in labels if label is not None})


def _folders_above(path: str, folder: str) -> Sequence[str]:
    """Names of the folders between `folder` and a file somewhere below it, from the top."""
    return path[len(folder) + (not folder.endswith(os.sep)) :].split(os.sep)[:-1]


def _refuse_unclear(folder: str, paths: Iterable[Sequence[str]]) -> None:
    """Refuse folders of folders that could be classes of splits (or sites), or classes of classes.

    The same names below several folders, two names at least, and no image in between: a class per folder
    would be as good a reading as a class per name.
    """
    below: dict[str, set[str]] = collections.defaultdict(set)
    for path in paths:
        below[path[0]].add(path[1].casefold() if len(path) > 1 else "")
    names = collections.Counter(name for within in below.values() for name in within)
    stray = names.pop("", 0)
    several = sum(count > 1 for count in names.values())
    if len(names) < 2 or several < (2 if stray else 1):
        return
    tops = sorted(below)
    shared = sorted(name for name, count in names.items() if count > 1)
    if all(map(parse_split, shared)):
        raise BottleneckError(
            f"{printable(folder)} has the splits ({some(shared)}) below the classes ({some(tops)}): "
            f"put them above, as {shared[-1]}/{printable(tops[0])}, "
            f"or say `classes=top` to leave them out of account"
        )
    splits = {top: parse_split(top) for top in tops[:2]}
    first = "test" if "train" in splits.values() else "train"
    unknown = iter([first, "test"])
    example = ",".join(f"{printable(top)}={split or next(unknown)}" for top, split in splits.items())
    raise BottleneckError(
        f"{printable(folder)} has folders of folders, and the same names ({some(shared, quote=True)}) "
        f"in several of them ({some(tops, quote=True)}): say which are the classes, with `classes=top` "
        f"({some(tops)}) or `classes=deepest` ({some(sorted(names))}), "
        f"or which are the splits, with `splits={example}`"
    )


FOLDER = Form(
    "a folder (with a sub-folder per class, or train/ val/ test/ with these within)",
    lambda data: files.is_folder(local_path(data)),
    lambda data, request: list_folder(local_path(data), splits=request.splits, classes=request.classes),
    has_folders=True,
)
IMAGE = Form(
    "an image file",
    lambda data: is_image_name(local_path(data)) and files.is_file(data),
    lambda data, _: list_file(local_path(data)),
)
