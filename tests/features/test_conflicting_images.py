from __future__ import annotations

import pyarrow as pa

from features.conflicting_images import Conflicts, conflict_lines, count_groups, find_conflicts

IMAGES = [
    # uri, bytes, labels, split, group
    ("/e", "1", ["a"], "train", None),
    ("/a", "1", ["b"], "train", None),
    ("/d", "2", ["a", "b"], "test", "p"),
    ("/b", "2", ["b", "a"], "train", "p"),
    ("/c", "3", ["a"], "validation", "p"),
    ("/f", "4", ["a"], "train", "q"),
    ("/g", "4", ["a"], "train", "q"),
]


def images(rows: list[tuple]) -> pa.Table:
    names = ["uri", "image_id", "labels", "split", "group"]
    types = [pa.string(), pa.string(), pa.list_(pa.string()), pa.string(), pa.string()]
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, of) for column, of in zip(columns, types, strict=True)], names)


def test_the_same_bytes_under_several_labels_or_in_several_splits_and_torn_groups() -> None:
    assert find_conflicts(images(IMAGES)) == Conflicts(
        [["/a", "/e"]], [["/b", "/d"]], [("p", {"train": 1, "validation": 1, "test": 1})]
    )


def test_images_that_agree_have_no_lines() -> None:
    conflicts = find_conflicts(images(IMAGES[5:]))
    assert conflicts == Conflicts([], [], []) and list(conflict_lines(conflicts)) == []


def test_groups_are_counted_and_so_are_those_in_several_splits() -> None:
    assert count_groups(images(IMAGES)) == (2, 1)
    assert count_groups(images(IMAGES[5:])) == (1, 0)
    assert count_groups(images(IMAGES[:2])) == (0, 0)
