"""Which split an image belongs to: the one it came with, or one cut by a hash of its group or its bytes.

The cut depends on the name of the group (a patient, a camera) where the image has one, else on the image
alone. So it never changes as data is added, it is the same on every machine, no group is torn apart, and
exact duplicates without a group always land on the same side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

import pyarrow as pa

from features.errors import BottleneckError
from features.text import printable

SPLITS = ("train", "validation", "test")

#: What data that come with a training and a test part, but no validation part, are given as.
TRAIN_AND_VALIDATION = "train+validation"

_NAMES = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: Names that need no comment.
_PLAIN_NAMES = {"train", "val", "valid", "validation", "test"}
#: Words around the name of a split that do not change it: `seg_train`, `test_set`, `train-images`.
_FILLERS = {"seg", "set", "data", "dataset", "images", "imgs", "split"}

#: Of every ten images or groups, by hash: eight, one and one of the whole; nine and one of a given training
#: part.
CUT = ("train",) * 8 + ("validation", "test")
CUT_TRAINING = ("train",) * 9 + ("validation",)


def assign_split(image_id: str, given: str | None, group: str | None = None) -> str:
    """The split of an image: `train`, `validation` or `test`.

    Args:
        image_id: the sha256 of the file's bytes, in hex.
        given: the split that the data came with; None cuts 80/10/10, and `train+validation` 90/10
            between the two.
        group: what decides the cut instead of the image; None for an image without a group.

    Raises:
        BottleneckError: for a given split of another name.
    """
    if given in SPLITS:
        return given
    if given is None:
        cut = CUT
    elif given == TRAIN_AND_VALIDATION:
        cut = CUT_TRAINING
    else:
        raise BottleneckError(
            f"unknown split {given!r}: expected one of {', '.join([*SPLITS, TRAIN_AND_VALIDATION])}, or none"
        )
    # Hashed once more, so that the cut is independent of any other use of the id's leading digits.
    key = image_id if group is None else group
    digest = hashlib.sha256(b"split:" + key.encode()).digest()
    return cut[int.from_bytes(digest[:8], "big") % 10]


def assign_splits(image_ids: pa.Array, given: pa.Array, groups: pa.Array | None = None) -> pa.Array:
    """The splits of images, as columns: see `assign_split`; without `groups`, no image has one."""
    columns = (image_ids, given, _or_nulls(groups, len(image_ids)))
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return pa.array([assign_split(*row) for row in rows], pa.string())


def are_cut_by_hash(image_ids: pa.Array, groups: pa.Array | None, splits: pa.Array) -> bool:
    """Whether splits are those that the hash cuts of a whole: nobody gave any of them."""
    columns = (image_ids, _or_nulls(groups, len(image_ids)), splits)
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return all(assign_split(image_id, None, group) == split for image_id, group, split in rows)


def _or_nulls(groups: pa.Array | None, images: int) -> pa.Array:
    return pa.nulls(images, pa.string()) if groups is None else groups


def given_splits(names: Collection[str]) -> tuple[dict[str, str | None], list[str]]:
    """What the parts that data came in count as: from each split to what it is given as; notices.

    A head needs all three splits. So what is missing is cut from the training part, and a validation
    part serves as the test part where there is none.
    """
    given: dict[str, str | None] = {split: split for split in names}
    if given.keys() == {"train"}:
        return {"train": None}, []
    if given.keys() == {"train", "test"}:
        notice = "the data have no validation part: it is cut from the training part by hash"
        return {"train": TRAIN_AND_VALIDATION, "test": "test"}, [notice]
    if given.keys() == {"train", "validation"}:
        notice = (
            "the data have no test part: their validation part serves as the test split, and validation is "
            "cut from the training part by hash"
        )
        return {"train": TRAIN_AND_VALIDATION, "validation": "test"}, [notice]
    return given, []


def parse_split(name: str) -> str | None:
    """The split that people mean by `name` (`Train`, `valid`, `training_set`, `seg_test`, …), or None."""
    words = [re.sub(r"\d+$", "", word) for word in re.split(r"[\s_.-]+", name.strip().lower())]
    words = [word for word in words if word and word not in _FILLERS]
    return _NAMES.get(words[0].removesuffix("set")) if len(words) == 1 else None


def parse_splits(splits: Mapping[str, str] | str | None) -> dict[str, str]:
    """Which folders are which split, from a mapping or from text like `site_a=train,site_b=test`.

    Raises:
        BottleneckError: for text of another form, or a split that is none.
    """
    if not splits:
        return {}
    pairs = (
        [pair.rpartition("=")[::2] for pair in splits.split(",")]
        if isinstance(splits, str)
        else splits.items()
    )
    parsed = {folder.strip(): parse_split(split) for folder, split in pairs}
    if not all(folder and split for folder, split in parsed.items()) or len(parsed) < len(pairs):
        raise BottleneckError(
            f"`splits={printable(splits)}` is not like site_a=train,site_b=test: "
            f"expected a folder and one of {', '.join(SPLITS)} each"
        )
    return {folder: split for folder, split in parsed.items() if split}


def is_plain_split(name: str) -> bool:
    """Whether `name` is one that needs no comment when it is taken for a split."""
    return name.lower() in _PLAIN_NAMES
