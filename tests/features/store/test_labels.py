from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer

from features.errors import BottleneckError
from features.store.labels import encode, have_labels, have_others, read_labels


def column(labels: list[list[str]], chunk: int = 2) -> pa.ChunkedArray:
    chunks = [labels[start : start + chunk] for start in range(0, len(labels), chunk)]
    return pa.chunked_array([pa.array(one, pa.list_(pa.string())) for one in chunks], pa.list_(pa.string()))


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_one_label_a_row_is_a_text_and_several_are_a_tuple() -> None:
    labels = read_labels(column([["a"], [], ["b"]]), multi_label=False)
    assert labels.tolist() == ["a", None, "b"]
    several = read_labels(column([["a"], [], ["b", "a"]]), multi_label=True)
    assert several.tolist() == [("a",), (), ("b", "a")] and several.shape == (3,)
    equally_many = read_labels(column([["a", "b"], ["b", "a"]]), multi_label=True)
    assert equally_many.tolist() == [("a", "b"), ("b", "a")] and equally_many.shape == (2,)


def test_several_labels_where_one_was_asked_for_are_refused() -> None:
    with pytest.raises(BottleneckError) as refusal:
        read_labels(column([["a"], ["a", "b"]]), multi_label=False)
    assert str(refusal.value) == (
        "the table has images with several labels: `multi_label=True` gives a tuple of them each"
    )


def test_rows_that_have_labels() -> None:
    single = objects(["a", None, "b"])
    assert have_labels(single).tolist() == [True, False, True]
    assert have_labels(single, {"b", "c"}).tolist() == [False, False, True]
    assert have_others(single, {"b"}).tolist() == [True, False, False]
    several = objects([("a", "b"), (), ("c",), ("b",)])
    assert have_labels(several).tolist() == [True, False, True, True]
    assert have_labels(several, ["a", "c"]).tolist() == [True, False, True, False]
    assert have_others(several, ["b"]).tolist() == [True, False, True, False]
    assert have_labels(objects([])).tolist() == []


def test_numbers_of_classes() -> None:
    numbers = encode(objects(["violet", "daisy", "violet"]), ["daisy", "violet"], multi_label=False)
    assert (numbers.tolist(), numbers.dtype) == ([1, 0, 1], np.int64)


@given(st.lists(st.lists(st.sampled_from("abcdx"), unique=True).map(tuple), max_size=20))
def test_several_labels_are_encoded_as_scikit_learn_does(labels: list[tuple[str, ...]]) -> None:
    y = encode(objects(labels), list("abcd"), multi_label=True, ignored={"x"})
    known = [set(of_row) - {"x"} for of_row in labels]
    assert (y.dtype, y.shape) == (np.int8, (len(labels), 4))
    assert y.tolist() == MultiLabelBinarizer(classes=list("abcd")).fit_transform(known).tolist()


@pytest.mark.parametrize(
    ("labels", "multi_label"), [([*"gfedcba", "rose"], False), ([("g", "rose"), tuple("fedcba")], True)]
)
def test_labels_that_are_no_classes_are_refused(labels: list[Any], multi_label: bool) -> None:
    with pytest.raises(BottleneckError) as refusal:
        encode(objects(labels), ["rose"], multi_label=multi_label)
    assert str(refusal.value) == (
        "this head was not taught the labels 'a', 'b', 'c', 'd', 'e' and 2 more: train it again"
    )


def test_of_one_label_a_row_none_is_ignored() -> None:
    with pytest.raises(BottleneckError, match="not taught the labels 'b'"):
        encode(objects(["a", "b"]), ["a"], multi_label=False, ignored={"b"})
