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
    are_cut_by_hash,
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


@pytest.mark.parametrize(
    ("given", "letters"),
    [(None, "rrrrrararrearrrrrarrerrr"), ("train+validation", "rrrrrrrrrrarrrrrrrrrarrr")],
)
def test_the_cut_of_groups_is_the_same_in_every_version(given: str | None, letters: str) -> None:
    groups = [f"Ä{number}" for number in range(24)]
    assert "".join(assign_split(IDS[0], given, group)[1] for group in groups) == letters


GROUPS = st.one_of(st.none(), st.text(max_size=2), st.sampled_from(IDS[:3]))


@given(
    st.lists(st.tuples(st.sampled_from(IDS[:50]), st.sampled_from(GIVEN), GROUPS)),
    st.sampled_from([None, "train+validation"]),
)
def test_a_group_has_one_split_whatever_else_is_there(
    rows: list[tuple[str, str | None, str | None]], cut: str | None
) -> None:
    image_ids, _, groups = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [pa.array(column, pa.string()) for column in (image_ids, [cut] * len(rows), groups)]
    splits = assign_splits(*columns).to_pylist()
    by_group: dict[str, set[str]] = {}
    for image_id, group, split in zip(image_ids, groups, splits, strict=True):
        by_group.setdefault(image_id if group is None else group, set()).add(split)
    assert all(len(found) == 1 for found in by_group.values())
    assert splits == [assign_split(image_id, cut, group) for image_id, _, group in rows]


@given(st.lists(st.tuples(st.sampled_from(IDS[:50]), st.sampled_from(GIVEN), GROUPS)))
def test_a_given_split_wins_over_the_group(rows: list[tuple[str, str | None, str | None]]) -> None:
    for image_id, split, group in rows:
        if split in SPLITS:
            assert assign_split(image_id, split, group) == split


def test_groups_share_the_shares_of_images() -> None:
    counts = Counter(assign_split("", None, f"camera-{number}") for number in range(10_000))
    expected = {"train": 8000, "validation": 1000, "test": 1000}
    assert counts == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("groups", [None, ["a", "b", None, "a"] * 25])
def test_splits_that_nobody_gave_are_known(groups: list[str | None] | None) -> None:
    image_ids, nobody = pa.array(IDS[:100]), pa.nulls(100, pa.string())
    columns = None if groups is None else pa.array(groups, pa.string())
    splits = assign_splits(image_ids, nobody, columns)
    assert are_cut_by_hash(image_ids, columns, splits)
    assert are_cut_by_hash(pa.chunked_array([image_ids]), columns, pa.chunked_array([splits]))
    other = {"train": "test", "validation": "train", "test": "train"}
    for place in (0, 50, 99):
        moved = splits.to_pylist()
        moved[place] = other[moved[place]]
        assert not are_cut_by_hash(image_ids, columns, pa.array(moved))
    training = assign_splits(image_ids, pa.array(["train+validation"] * 100), columns)
    assert not are_cut_by_hash(image_ids, columns, training)
    assert not are_cut_by_hash(image_ids, pa.array(["c"] * 100), splits)
    assert are_cut_by_hash(image_ids[:0], None, splits[:0])


def test_columns_of_different_lengths_are_refused() -> None:
    ids, one, two = pa.array(IDS[:2]), pa.array(["train"]), pa.array(["train", "test"])
    for columns in ((one, None), (one, two), (two, one)):
        with pytest.raises(ValueError, match="zip"):
            assign_splits(ids, *columns)
    for splits in (pa.array([assign_split(IDS[0], None)]), pa.array([], pa.string())):
        with pytest.raises(ValueError, match="zip"):
            are_cut_by_hash(ids, None, splits)


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
