from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads.examples import Examples, find_examples
from tests.heads.conftest import LAYERS, MakeSmallTable, narrow_table

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def test_rows_are_counted_by_split_and_label(small_table: MakeSmallTable) -> None:
    table = small_table(["b", "a", "a", "b", "a", []], [TRAIN, TRAIN, TRAIN, VALIDATION, TEST, TRAIN])
    examples = find_examples(table)
    assert examples.classes == ("a", "b")
    assert examples.rows == {
        TRAIN: {"a": 2, "b": 1},
        VALIDATION: {"a": 0, "b": 1},
        TEST: {"a": 1, "b": 0},
    }
    assert examples.count(TRAIN) == 3
    assert examples.unlabelled == 1


def test_majority_class_is_that_of_train(small_table: MakeSmallTable) -> None:
    table = small_table(["b", "b", "a", "a", "a"], [TRAIN, TRAIN, TRAIN, TEST, TEST])
    assert find_examples(table).majority_class == "b"


def test_of_equally_frequent_classes_the_first_by_name_is_the_majority(three_classes: FeatureTable) -> None:
    assert find_examples(three_classes).majority_class == "daisy"


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        ([], [], "has no rows: extract features first"),
        ([[], []], [TRAIN, TEST], "none of the 2 images in table 'inception_v3' has a label"),
        (["a", "a"], [TRAIN, TEST], "all images in table 'inception_v3' are labelled 'a'"),
        (
            ["a", "b", "c", "d"],
            [TRAIN, VALIDATION, TEST, TEST],
            "1 class of 4 in table 'inception_v3' has 1 training image or more (a 1, b 0, c 0, d 0), and a "
            "head needs two: add images (about 8 of 10 go to train), or lower `min_images`",
        ),
    ],
)
def test_what_can_not_be_learned_is_said(
    small_table: MakeSmallTable, labels: list, splits: list[str], message: str
) -> None:
    with pytest.raises(BottleneckError, match=re.escape(message)):
        find_examples(small_table(labels, splits))


def test_classes_without_a_training_image_are_left_out(small_table: MakeSmallTable) -> None:
    table = small_table(["a", "b", "c", "c", "d", "a"], [TRAIN, TRAIN, TEST, VALIDATION, TEST, TEST])
    examples = find_examples(table)
    assert examples.classes == ("a", "b")
    assert examples.rows == {TRAIN: {"a": 1, "b": 1}, VALIDATION: {"a": 0, "b": 0}, TEST: {"a": 1, "b": 0}}
    assert examples.left_out == {
        "c": {TRAIN: 0, VALIDATION: 1, TEST: 1},
        "d": {TRAIN: 0, VALIDATION: 0, TEST: 1},
    }
    assert examples.count(TEST) == 1


def test_classes_with_fewer_training_images_than_asked_for_are_left_out(small_table: MakeSmallTable) -> None:
    table = small_table(list("aaabbbccd"), [TRAIN] * 8 + [TEST])
    assert find_examples(table, 2).classes == ("a", "b", "c")
    assert find_examples(table, 3).classes == ("a", "b")
    assert find_examples(table, 3).left_out["c"] == {TRAIN: 2, VALIDATION: 0, TEST: 0}
    with pytest.raises(
        BottleneckError, match=re.escape("0 classes of 4 in table 'inception_v3' have 4 training images")
    ):
        find_examples(table, 4)


def test_views_are_no_images(tmp_path: Path) -> None:
    """A class of one image is one of one image, however many views it has."""
    labels, splits = ["a", "a", "b", "b", "b", "c", "c", [], []], [TRAIN] * 9
    X, views = np.zeros((9, 48)), [0, 1, 0, 0, 1, 0, 0, 0, 1]
    table = narrow_table(tmp_path, {LAYERS[0]: X}, labels, splits, views)
    assert find_examples(table).rows[TRAIN] == {"a": 1, "b": 2, "c": 2}
    assert (find_examples(table).count(TRAIN), find_examples(table).views) == (5, 2)
    assert find_examples(table, 2).classes == ("b", "c") and find_examples(table, 2).views == 1
    assert find_examples(table, 2).left_out == {"a": {TRAIN: 1, VALIDATION: 0, TEST: 0}}
    assert find_examples(table).unlabelled == 1
    assert find_examples(table, views=0).views == 0


def examples(
    taught: dict[str, tuple[int, int]],
    left_out: dict[str, tuple[int, int]],
    unlabelled: int = 0,
    *,
    min_images: int = 1,
) -> Examples:
    """By label, rows of train and of test; those that are left out have one row more, for validation."""
    rows = {
        split: {label: counts[number] for label, counts in taught.items()}
        for number, split in enumerate(("train", "test"))
    }
    others = {label: {"train": n, "validation": 1, "test": m} for label, (n, m) in left_out.items()}
    images = {split: sum(of_label.values()) for split, of_label in rows.items()}
    rows["validation"] = {}
    return Examples(tuple(taught), False, images, rows, unlabelled, others, min_images)


def test_of_nothing_that_is_left_out_nothing_is_said() -> None:
    assert examples({"a": (1, 1), "b": (1, 1)}, {}, min_images=9).notices() == []


def test_what_is_left_out_is_said() -> None:
    of_few = {label: (number, 2) for number, label in enumerate("cdefgh")}
    taught = {"a": (1200, 1), "b": (9, 0)}
    assert examples(taught, of_few, unlabelled=1200, min_images=1000).notices() == [
        "left out 1,200 images without a label",
        "left out 33 images of 6 of 8 classes, those with fewer than 1,000 training images: "
        "c (0), d (1), e (2), f (3), g (4) and 1 more",
        "1 of 2 classes has no test image: b",
    ]
    untested = {label: (1, 0) for label in "abcdefg"}
    for min_images in (0, 1):
        assert examples(untested, {"poppy": (0, 0)}, 1, min_images=min_images).notices() == [
            "left out 1 image without a label",
            "left out 1 image of 1 of 8 classes, those with no training image: poppy (0)",
            "7 of 7 classes have no test image: a, b, c, d, e and 2 more",
        ]


def test_images_of_several_labels_are_counted_once_and_their_labels_each(small_table: MakeSmallTable) -> None:
    labels = [["a", "b"], ["b"], ["a"], [], ["a", "c"], ["c"], ["b", "a"]]
    splits = [TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, VALIDATION, TEST]
    examples = find_examples(small_table(labels, splits))
    assert examples.multi_label and examples.classes == ("a", "b")
    assert examples.rows == {TRAIN: {"a": 2, "b": 2}, VALIDATION: {"a": 1, "b": 0}, TEST: {"a": 1, "b": 1}}
    assert examples.images == {TRAIN: 3, VALIDATION: 1, TEST: 1}, "an image of c alone is none of theirs"
    assert examples.left_out == {"c": {TRAIN: 0, VALIDATION: 2, TEST: 0}}
    assert examples.notices() == [
        "left out 1 image without a label",
        "left out 1 of 3 labels, those with no training image: c (0)",
        "1 of 2 labels has no validation image: b",
    ]


def test_one_label_an_image_is_no_multi_label_data(small_table: MakeSmallTable) -> None:
    assert not find_examples(small_table([["a"], ["b"], []], [TRAIN] * 3)).multi_label
