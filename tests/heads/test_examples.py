from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads.examples import find_examples
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
        (
            ["a", ["a", "b"], "b"],
            [TRAIN, TRAIN, TEST],
            "training on multi-label data is not there yet: 1 of 3 images in table 'inception_v3'",
        ),
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


def test_views_are_rows_and_not_images(tmp_path: Path) -> None:
    """A class of one image is one of one image, however many views it has."""
    labels, splits = ["a", "a", "b", "b", "b", "c", "c", [], []], [TRAIN] * 9
    X, views = np.zeros((9, 48)), [0, 1, 0, 0, 1, 0, 0, 0, 1]
    table = narrow_table(tmp_path, {LAYERS[0]: X}, labels, splits, views)
    assert find_examples(table).rows[TRAIN] == {"a": 2, "b": 3, "c": 2}
    assert find_examples(table, 2).classes == ("b", "c")
    assert find_examples(table, 2).left_out == {"a": {TRAIN: 2, VALIDATION: 0, TEST: 0}}
    assert find_examples(table).unlabelled == 1
