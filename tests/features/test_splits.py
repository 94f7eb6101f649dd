from __future__ import annotations

import hashlib
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BottleneckError
from features.splits import (
    SPLITS,
    assign_split,
    assign_splits,
    given_splits,
    is_plain_split,
    parse_split,
    parse_splits,
)

IDS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000)]
GIVEN = (*SPLITS, "train+validation", None)


def shares(given: str | None) -> dict[str, float]:
    counts = Counter(assign_split(image_id, given) for image_id in IDS)
    return {split: count / len(IDS) for split, count in counts.items()}


def test_the_cut_is_80_10_10() -> None:
    assert shares(None) == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.01)


def test_a_given_training_part_is_cut_90_10() -> None:
    assert shares("train+validation") == pytest.approx({"train": 0.9, "validation": 0.1}, abs=0.01)


@pytest.mark.parametrize("split", SPLITS)
def test_a_given_split_is_kept(split: str) -> None:
    assert shares(split) == {split: 1.0}


@pytest.mark.parametrize(
    ("given", "letters"),
    [(None, "rrarrrrraaeearrrrrerrarr"), ("train+validation", "rrrrrrrrrraarrrrrrarrrrr")],
)
def test_the_cut_is_the_same_on_every_machine_and_in_every_version(given: str | None, letters: str) -> None:
    # Changing these would move images between the splits of tables that exist.
    assert "".join(assign_split(image_id, given)[1] for image_id in IDS[:24]) == letters


@given(rows=st.lists(st.tuples(st.sampled_from(IDS[:50]), st.sampled_from(GIVEN))))
def test_the_split_of_an_image_depends_on_it_alone(rows: list[tuple[str, str | None]]) -> None:
    image_ids, given = zip(*rows, strict=True) if rows else ((), ())
    splits = assign_splits(pa.array(image_ids, pa.string()), pa.array(given, pa.string()))
    assert splits.type == pa.string()
    assert splits.to_pylist() == [assign_split(image_id, split) for image_id, split in rows]


def test_an_image_without_what_it_is_given_as_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        assign_splits(pa.array(IDS[:2]), pa.array(["train"]))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(BottleneckError) as caught:
        assign_split(IDS[0], "holdout")
    assert str(caught.value) == (
        "unknown split 'holdout': expected one of train, validation, test, train+validation, or none"
    )


NO_VALIDATION = "the data have no validation part: it is cut from the training part by hash"
NO_TEST = (
    "the data have no test part: their validation part serves as the test split, and validation is cut from "
    "the training part by hash"
)


@pytest.mark.parametrize(
    ("found", "given", "notices"),
    [
        ({"train", "validation", "test"}, {split: split for split in SPLITS}, []),
        ({"train", "validation"}, {"train": "train+validation", "validation": "test"}, [NO_TEST]),
        ({"train", "test"}, {"train": "train+validation", "test": "test"}, [NO_VALIDATION]),
        ({"train"}, {"train": None}, []),
        ({"test"}, {"test": "test"}, []),
        ({"validation", "test"}, {"validation": "validation", "test": "test"}, []),
        (set(), {}, []),
    ],
)
def test_what_is_missing_is_cut_from_the_training_part(
    found: set[str], given: dict[str, str | None], notices: list[str]
) -> None:
    assert given_splits(found) == (given, notices)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            "train TRAIN Training trainval train2017 train1 training_set seg_train train-images trainset "
            "train.data imgs-train dataset_train_split _train_",
        ),
        ("validation", "val VAL Valid validation dev eval Evaluation val_2017 validationset devset"),
        ("test", "test Test testing test_set seg_test testset set2_test"),
        (
            None,
            "roses trains latest contest validated seg set test_drive train_test 2017 _ train2017a xtrain "
            "trainsets settrain",
        ),
    ],
)
def test_names_of_splits(split: str | None, names: str) -> None:
    assert {name: parse_split(name) for name in names.split()} == dict.fromkeys(names.split(), split)


def test_spaces_in_names_of_splits() -> None:
    names = (" train ", "training  set", "Test\timages", "training wheels", "", " ")
    assert [parse_split(name) for name in names] == ["train", "train", "test", None, None, None]


def test_names_that_need_no_comment() -> None:
    names = ("train", "Val", "VALID", "validation", "test", "training", "dev", "rose")
    assert [is_plain_split(name) for name in names] == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("splits", "parsed"),
    [
        (None, {}),
        ("", {}),
        ({}, {}),
        ("site_a=train", {"site_a": "train"}),
        (" site a = Val , b=c=testing", {"site a": "validation", "b=c": "test"}),
        ({" a ": "training_set", "b": "dev"}, {"a": "train", "b": "validation"}),
    ],
)
def test_which_folders_are_which_split(splits: dict[str, str] | str | None, parsed: dict[str, str]) -> None:
    assert parse_splits(splits) == parsed


@pytest.mark.parametrize(
    "splits", ["a", "a=", "=train", "a=roses", "a=train,", "a=train,a=test", {"a": "x"}, {"\n": "test"}]
)
def test_splits_of_another_form_are_refused(splits: dict[str, str] | str) -> None:
    with pytest.raises(BottleneckError) as caught:
        parse_splits(splits)
    assert str(caught.value) == (
        rf"`splits={splits}` is not like site_a=train,site_b=test: expected a folder and one of "
        "train, validation, test each"
    )


@given(
    splits=st.dictionaries(
        st.text(st.sampled_from("abA=._-/ä漢"), min_size=1),
        st.sampled_from(SPLITS),
    )
)
def test_splits_in_text_are_those_in_a_mapping(splits: dict[str, str]) -> None:
    text = ",".join(f"{folder}={split}" for folder, split in splits.items())
    assert parse_splits(text) == parse_splits(splits) == splits
