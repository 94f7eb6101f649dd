from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from features.errors import BottleneckError
from features.splits import assign_split
from features.store.table import FeatureTable
from heads import LogisticHead
from heads.folds import (
    cross_validate,
    find_shared_out,
    originals_of,
    share_out,
    together,
    units_of,
    untested_notice,
)
from tests.heads.conftest import LAYERS, narrow_table
from tests.tables import make_table

SPLITS = ["train", "validation", "test"]


def nobody(*step: Any) -> None:
    """Watches no progress."""


def make(
    store: Path, labels: list[Any], splits: list[str] | None = None, views: list[int] | None = None
) -> FeatureTable:
    """A table whose first feature is the number of the row."""
    X = np.arange(len(labels))[:, None] * np.ones(48)
    return narrow_table(store, {LAYERS[0]: X}, labels, splits, views)


def test_few_images_for_testing_are_shared_out(tmp_path: Path) -> None:
    table = make(tmp_path, [["a"], ["b"], []] * 12)
    shared = find_shared_out(table, 1, None)
    assert shared is not None and shared.folds == 5 and shared.splits == SPLITS
    assert shared.among.tolist() == [True] * 24 and len(shared.rows) == 24
    splits = table.metadata(["split"]).column("split").to_pylist()
    labelled = [split for number, split in enumerate(splits) if number % 3 < 2]
    assert shared.counts() == {split: labelled.count(split) for split in SPLITS}
    assert shared.examples.images == {"train": 24, "validation": 0, "test": 0}
    tested = labelled.count("test")
    assert shared.notices == [
        f"{tested} images are for testing, too few to say much: "
        "hence the folds (`folds=0` keeps to the splits)"
    ]
    assert find_shared_out(table, 1, 0) is None
    asked = find_shared_out(table, 1, 3)
    assert asked is not None and (asked.folds, asked.notices) == (3, [])


def test_enough_images_for_testing_are_left_alone(tmp_path: Path) -> None:
    table = make(tmp_path, ["a", "b"] * 80)
    assert table.metadata(["split"]).column("split").to_pylist().count("test") >= 10
    assert find_shared_out(table, 1, None) is None
    shared = find_shared_out(table, 1, 4)
    assert shared is not None and shared.splits == SPLITS and shared.counts()["test"] >= 10


@pytest.mark.parametrize(("tested", "shared_out"), [(9, True), (10, False)])
def test_ten_images_for_testing_are_enough(tmp_path: Path, tested: int, shared_out: bool) -> None:
    ids = [hashlib.sha256(f"/images/image-{number}.png".encode()).hexdigest() for number in range(400)]
    of_test = [number for number, image_id in enumerate(ids) if assign_split(image_id, None) == "test"]
    count = of_test[tested - 1] + 1
    table = make(tmp_path / "some", (["a", "b"] * 200)[:count])
    assert (find_shared_out(table, 1, None) is not None) == shared_out


def test_a_given_test_split_is_left_alone(tmp_path: Path) -> None:
    labels = ["a", "b"] * 5 + ["a", "b", "c"]
    table = make(tmp_path, labels, ["train"] * 8 + ["validation"] * 2 + ["test"] * 3)
    assert find_shared_out(table, 1, None) is None, "few, and as somebody wanted it"
    shared = find_shared_out(table, 1, 5)
    assert shared is not None and shared.splits == ["train", "validation"]
    assert shared.counts() == {"train": 8, "validation": 2}
    assert shared.among.tolist() == [True] * 10 + [False] * 2, "c has no row that is learned from"
    assert set(shared.rows.column("split").to_pylist()) == {"train", "validation"}
    assert shared.examples.images == {"train": 10, "validation": 0, "test": 2}
    assert shared.examples.left_out == {"c": {"train": 0, "validation": 0, "test": 1}}


def test_given_splits_without_a_test_of_what_is_learned_are_shared_out(tmp_path: Path) -> None:
    table = make(tmp_path, [["a"], ["b"], ["a"], ["b"], [], ["lotus"]], ["train"] * 4 + ["test"] * 2)
    shared = find_shared_out(table, 1, None)
    assert shared is not None and shared.folds == 4 and shared.splits == ["train", "validation"]
    assert shared.examples.images == {"train": 4, "validation": 0, "test": 0}
    assert shared.notices[0].startswith("no images are for testing, too few")


def test_groups_are_shared_out_whole(tmp_path: Path) -> None:
    groups = [f"patient {number // 3}" for number in range(30)]
    splits = [assign_split("", None, group) for group in groups]
    X = {"avg_pool": np.zeros((30, 2048), np.float32)}
    table = make_table(tmp_path, X, ["a", "b"] * 15, splits, groups=groups)
    shared = find_shared_out(table, 1, None)
    assert shared is not None and shared.splits == SPLITS, "the hash is of the group"
    assert sorted(shared.rows.column("group").to_pylist()) == sorted(groups)
    assert len(np.unique(units_of(shared.rows))) == 10


def test_splits_that_were_given_are_left_alone_though_the_hash_would_cut_them_so(tmp_path: Path) -> None:
    X = {"avg_pool": np.zeros((20, 2048), np.float32)}
    table = make_table(tmp_path, X, ["a", "b"] * 10)
    given = dataclasses.replace(table.facts, given_splits=True)
    table.facts = given
    tested = table.metadata(["split"]).column("split").to_pylist().count("test")
    assert 0 < tested < 10 and find_shared_out(table, 1, None) is None
    shared = find_shared_out(table, 1, 3)
    assert shared is not None and shared.splits == ["train", "validation"]


def test_a_table_without_rows_is_none_of_few(tmp_path: Path) -> None:
    assert find_shared_out(make(tmp_path, []), 1, None) is None


def test_groups_and_files_of_the_same_bytes_are_units() -> None:
    rows = pa.table({"image_id": ["x", "y", "x", "z", "w", "v"]})
    assert units_of(rows).tolist() == [3, 4, 3, 5, 2, 1] or units_of(rows).tolist() == [2, 3, 2, 4, 1, 0]
    grouped = rows.append_column("group", pa.array(["p", "q", "q", None, "p", "r"]))
    units = units_of(grouped)
    assert len(set(units[[0, 1, 2, 4]].tolist())) == 1, "x is of both groups"
    assert len(set(units.tolist())) == 3 and units.max() == 2


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=40),
    st.integers(2, 6),
    st.integers(0, 9),
)
def test_folds_tear_no_unit_and_what_one_unit_alone_has_is_never_tested(
    rows: list[tuple[int, int]], folds: int, seed: int
) -> None:
    y = np.array([label for label, _ in rows])
    units = np.unique([unit for _, unit in rows], return_inverse=True)[1]
    fold = share_out(y, units, folds, seed)
    assert set(fold.tolist()) <= {-1, *range(folds)}
    alone = {label for label in y.tolist() if len(set(units[y == label].tolist())) == 1}
    for unit in np.unique(units):
        (part,) = set(fold[units == unit].tolist())
        assert (part == -1) == bool(alone & set(y[units == unit].tolist()))


def test_each_class_is_spread_evenly_and_by_the_seed() -> None:
    y = np.array([0] * 10 + [1] * 5 + [2])
    units = np.arange(16)
    fold = share_out(y, units, 5, seed=1)
    assert [np.bincount(fold[y == label]).tolist() for label in (0, 1)] == [[2] * 5, [1] * 5]
    assert fold[15] == -1
    assert share_out(y, units, 5, seed=1).tolist() == fold.tolist() != share_out(y, units, 5, seed=2).tolist()


def test_of_several_labels_the_rarest_is_spread() -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]])
    fold = share_out(y, np.arange(5), 2, seed=0)
    assert fold[1] != fold[2] and fold[0] != fold[3] and fold[4] == -1


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_that_can_not_be_made_are_refused(tmp_path: Path, folds: int) -> None:
    table = make(tmp_path, ["a", "b", "a"])
    with pytest.raises(BottleneckError) as refusal:
        find_shared_out(table, 1, folds)
    assert str(refusal.value) == (
        f"`folds={folds}`: expected 0 for none, or from 2 to 3, the images or groups that there are to share "
        "out"
    )


@pytest.mark.parametrize("folds", [None, 3])
def test_images_of_one_group_alone_can_not_be_tested(tmp_path: Path, folds: int | None) -> None:
    X = {"avg_pool": np.zeros((4, 2048), np.float32)}
    table = make_table(tmp_path, X, ["a", "b"] * 2, ["train"] * 4, groups=["p"] * 4)
    with pytest.raises(BottleneckError, match="are of one group, or the same file: none are left"):
        find_shared_out(table, 1, folds)


def test_two_groups_are_enough_for_two_folds(tmp_path: Path) -> None:
    X = {"avg_pool": np.zeros((4, 2048), np.float32)}
    table = make_table(tmp_path, X, ["a", "b"] * 2, ["train"] * 4, groups=["p", "p", "q", "q"])
    shared = find_shared_out(table, 1, None)
    assert shared is not None and shared.folds == 2


def test_classes_and_labels_that_can_not_be_tested_are_named() -> None:
    rows = pa.table({"image_id": list("abcd")})
    names, units = ["lotus", "rose", "tulip"], np.arange(4)
    assert untested_notice(rows, np.array([1, 1, 0, 2]), units, names) == [
        "2 classes have a single image, learned from and never tested: lotus, tulip"
    ]
    grouped = rows.append_column("group", rows.column("image_id"))
    assert untested_notice(grouped, np.array([1, 1, 0, 1]), units, names) == [
        "1 class has images of a single group, learned from and never tested: lotus"
    ]
    assert untested_notice(rows, np.array([1, 1, 0, 0]), units, names) == []
    several = np.array([[1, 1, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert untested_notice(rows, several, units, names) == [
        "2 labels have a single image, learned from and never tested: lotus, tulip"
    ]


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y = np.arange(40) % 3
    return (random.normal(size=(40, 6)) + y[:, None]).astype(np.float32), y


def test_each_row_is_tested_by_a_model_of_the_other_folds(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    fold = share_out(y, np.arange(40), 4, seed=0)
    steps: list[Any] = []
    head = LogisticHead(C=0.1)
    tested = cross_validate(
        head, X, y, np.arange(40), fold, np.ones(40, bool), list("abc"), lambda *step: steps.append(step)
    )
    assert tested.rows.all() and not hasattr(head, "classes_")
    for number in range(4):
        held_out = fold == number
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(X[~held_out], y[~held_out])
        np.testing.assert_allclose(
            tested.probabilities[held_out], model.predict_proba(X[held_out]), atol=1e-3
        )
        right = (tested.predicted[held_out] == y[held_out]).mean()
        assert steps[number] == (number + 1, 4, {"accuracy": right})
    assert tested.predicted.tolist() == tested.probabilities.argmax(axis=1).tolist()


def test_what_is_never_tested_is_trained_on_and_views_go_with_their_image() -> None:
    """A class of one row is known to each fold's head; a view is neither tested nor leaked."""
    X = np.eye(6, dtype=np.float32)
    y, fold = np.array([0, 1, 0, 1, 2, 0]), np.array([0, 0, 1, 1, -1, 0])
    seen: list[Any] = []

    class Watched(LogisticHead):
        def fit_matrix(self, X, y, train, classes, progress=nobody, units=None, originals=None):
            seen.append((X.argmax(axis=1).tolist(), y.tolist(), train, list(classes)))
            return super().fit_matrix(X, y, train, classes)

    views = np.array([True, True, True, True, True, False])
    tested = cross_validate(Watched(C=1.0), X, y, np.arange(6), fold, views, list("abc"), nobody)
    assert seen == [
        ([2, 3, 4], [0, 1, 2], 3, ["a", "b", "c"]),
        ([0, 1, 4, 5], [0, 1, 2, 0], 4, ["a", "b", "c"]),
    ]
    assert tested.rows.tolist() == [True, True, True, True, False, False]
    assert tested.probabilities.shape == (4, 3)


def test_a_head_of_a_fold_numbers_the_classes_that_are_there() -> None:
    X, y = np.eye(6, dtype=np.float32), np.array([0, 0, 1, 1, 2, 2])
    seen: list[Any] = []

    class Watched(LogisticHead):
        def fit_matrix(self, X, y, train, classes, progress=nobody, units=None, originals=None):
            seen.append((y.tolist(), list(classes)))
            return super().fit_matrix(X, y, train, classes)

    tested = cross_validate(
        Watched(C=1.0), X, y, np.arange(6), np.array([0, 0, 1, 1, 1, 0]), y >= 0, list("abc"), nobody
    )
    assert seen == [([0, 0, 1], ["b", "c"]), ([0, 0, 1], ["a", "c"])]
    assert (tested.probabilities[:2, 0] == 0).all() and set(tested.predicted[:2].tolist()) <= {1, 2}


def test_a_class_that_a_fold_lacks_gets_no_probability() -> None:
    X = np.eye(6, dtype=np.float32)
    y, fold = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 0, 1, 0])
    tested = cross_validate(
        LogisticHead(C=1.0), X, y, np.arange(6), np.array([0, 0, 1, 2, 2, 1]), y >= 0, list("abc"), nobody
    )
    assert tested.probabilities[2, 2] == tested.probabilities[5, 2] == 0 < tested.probabilities[0, 2]
    with pytest.raises(
        BottleneckError, match="fold 1 of 2 leaves one class to learn from: give more `folds`, or `folds=0`"
    ):
        cross_validate(LogisticHead(C=1.0), X, y, np.arange(6), fold, y >= 0, list("abc"), nobody)


def test_rows_that_belong_together_are_told_to_the_heads_of_the_folds() -> None:
    X, y = np.eye(8, dtype=np.float32), np.arange(8) % 2
    units, fold = np.arange(8) // 2, np.arange(8) // 4
    seen: list[Any] = []

    class Watched(LogisticHead):
        def fit_matrix(self, X, y, train, classes, progress=nobody, units=None, originals=None):
            seen.append(None if units is None else units.tolist())
            return super().fit_matrix(X, y, train, classes, progress, units)

    for belonging in (units, np.arange(8)):
        cross_validate(Watched(C=1.0), X, y, belonging, fold, y >= 0, ["a", "b"], nobody)
    assert seen == [[0, 0, 1, 1]] * 2 + [None] * 2


def test_class_weights_by_name_hold_in_folds_that_lack_a_class() -> None:
    X, y = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32), np.repeat([0, 1, 2], 4)
    fold = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1])
    head = LogisticHead(C=1.0, class_weight={"a": 5.0, "c": 2.0})
    tested = cross_validate(head, X, y, np.arange(12), fold, y >= 0, list("abc"), nobody)
    alone = LogisticHead(C=1.0, class_weight={"c": 2.0})
    train = fold != 0
    alone.fit(X[train], np.array(list("abc"))[y[train]])
    np.testing.assert_allclose(
        tested.probabilities[fold == 0][:, 1:], alone.predict_proba(X[fold == 0]), atol=1e-5
    )
    assert [facts["C"] for facts in tested.training] == [1.0, 1.0]
    assert head.class_weight == {"a": 5.0, "c": 2.0}


def test_nothing_to_test_is_an_error() -> None:
    with pytest.raises(BottleneckError) as refusal:
        cross_validate(
            LogisticHead(),
            np.eye(2),
            np.arange(2),
            np.arange(2),
            np.full(2, -1),
            np.ones(2, bool),
            ["a", "b"],
            nobody,
        )
    assert str(refusal.value) == (
        "none of the 2 classes has two images (or groups), one to learn from and one to test: add images"
    )


def test_views_are_shared_out_with_their_image_and_are_none(tmp_path: Path) -> None:
    """Rows of a class of its own are among those of others, and one image has no views yet."""
    labels = ["a", "a", "a", "b", "lotus", "b", "b", "a", "a", "a"]
    table = make(tmp_path, labels, ["train"] * 9 + ["test"], [0, 1, 2, 0, 0, 0, 1, 0, 1, 0])
    shared = find_shared_out(table, 2, 3, views=1)
    assert shared is not None and shared.examples.classes == ("a", "b")
    assert shared.counts() == {"train": 4, "validation": 0} and shared.examples.views == 3
    assert shared.among.tolist() == [True] * 7 + [False]
    assert shared.rows.column("view").to_pylist() == [0, 0, 0, 0, 1, 1, 1]
    originals = originals_of(shared.rows)
    assert originals is not None and originals.tolist() == [0, 1, 2, 3, 0, 2, 3]
    with pytest.raises(BottleneckError, match="from 2 to 4, the images"):
        find_shared_out(table, 2, 5, views=1)
    alone = find_shared_out(table, 2, 3, views=0)
    assert alone is not None and originals_of(alone.rows) is None and alone.examples.views == 0


def test_images_are_tested_in_the_same_folds_with_and_without_views() -> None:
    y, views = np.array([0, 1, 0, 1, 2, 0, 1, 2]), [2, 0, 1, 1, 0, 3, 1, 2]
    image = np.repeat(np.arange(8), np.array(views) + 1)
    originals = np.searchsorted(image, image)
    units = np.array([3, 2, 0, 1, 5, 4, 7, 6])
    fold = share_out(y[image], units[image], 3, 0, originals)
    assert fold.tolist() == share_out(y, units, 3, 0)[image].tolist()


def test_views_are_told_to_the_heads_of_the_folds_and_never_tested() -> None:
    X, y = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32), np.arange(12) // 2 % 2
    originals, fold = np.arange(12) // 2 * 2, np.array([1, 1, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    seen: list[Any] = []

    class Watched(LogisticHead):
        def fit_matrix(self, X, y, train, classes, progress=nobody, units=None, originals=None):
            seen.append((len(X), units, originals.tolist()))
            return super().fit_matrix(X, y, train, classes, progress, units, originals)

    tested = cross_validate(
        Watched(C=1.0),
        X,
        y,
        originals // 2,
        fold,
        originals == np.arange(12),
        ["a", "b"],
        nobody,
        originals,
    )
    assert seen == [(8, None, [0, 0, 2, 2, 4, 4, 6, 6])] * 3
    assert tested.rows.tolist() == [True, False] * 6 and len(tested.probabilities) == 6


def test_images_that_belong_together_are_told_besides_their_views() -> None:
    originals = np.array([0, 0, 2, 2, 4])
    assert together(np.array([5, 5, 5, 5, 1]), originals)["units"].tolist() == [1, 1, 1, 1, 0]
    assert together(np.array([5, 5, 5, 5, 1]), originals)["originals"] is originals
    assert together(np.array([5, 5, 4, 4, 1]), originals).keys() == {"originals"}
