from __future__ import annotations

import numpy as np

from heads import LogisticHead
from heads.evidence.curves import (
    Curve,
    Draw,
    can_learn,
    draws_of,
    first_of_each,
    learn,
    sizes_of,
    with_choices,
)
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of, splits_of


def test_every_fifth_image_is_tested_by_turns_and_never_trained_on(make_images: MakeImages) -> None:
    images = make_images(classes_of(60))
    draws = draws_of(images, 10, 0, given_splits=False)
    for part in (draws[:5], draws[5:]):
        assert sorted(np.concatenate([draw.test for draw in part])) == list(range(60))
    for draw in draws:
        assert sorted([*draw.train, *draw.test]) == list(range(60))
        assert np.bincount(images.y[draw.test]).tolist() == [4, 4, 4]
    assert draws[0].test.tolist() != draws[5].test.tolist()
    again = draws_of(images, 10, 0, given_splits=False)
    assert all((a.train == b.train).all() for a, b in zip(draws, again, strict=True))
    other = draws_of(images, 10, 1, given_splits=False)
    assert draws[0].train.tolist() != other[0].train.tolist()


def test_images_of_a_group_are_on_one_side(make_images: MakeImages) -> None:
    images = make_images(classes_of(60), groups=[f"patient {number // 4}" for number in range(60)])
    for draw in draws_of(images, 5, 0, given_splits=False):
        assert not set(images.units[draw.train]) & set(images.units[draw.test])


def test_of_given_splits_only_the_test_split_is_tested_and_its_groups_not_trained_on(
    make_images: MakeImages,
) -> None:
    groups: list[str | None] = [None] * 60
    splits = splits_of(60)
    groups[splits.index("test")] = groups[splits.index("train")] = "torn"
    images = make_images(classes_of(60), splits, groups=groups, given_splits=True)
    first, torn = (
        images.rows.column("group").to_pylist().index("torn"),
        len(images) - 1 - images.rows.column("group").to_pylist()[::-1].index("torn"),
    )
    first, torn = (first, torn) if images.splits[first] == "test" else (torn, first)
    draws = draws_of(images, 5, 0, given_splits=True)
    tested = np.concatenate([draw.test for draw in draws])
    assert sorted(tested) == np.flatnonzero(images.splits == "test").tolist()
    trained = [set(draw.train.tolist()) for draw in draws]
    for draw in draws:
        assert not (images.splits[draw.train] == "test").any() and len(draw.train) < 45
        assert not (torn in draw.train and first in draw.test)
    assert any(torn in rows for rows in trained) and trained[0] != trained[1]


def test_sizes_grow_by_1_2_5_until_all(make_images: MakeImages) -> None:
    y = np.repeat([0, 1], [60, 30])
    draws = [Draw(np.arange(90), np.arange(3))]
    assert sizes_of(draws, y, 2) == [1, 2, 5, 10, 20, 50, None]
    assert sizes_of([Draw(np.arange(50), np.arange(3))], y, 2) == [1, 2, 5, 10, 20, None]


def test_small_sets_are_the_begin_of_larger_ones() -> None:
    y = np.array([0, 1, 1, 0, 0, 1, 2])
    order = np.array([6, 5, 4, 3, 2, 1, 0])
    assert sorted(first_of_each(y, order, 1)) == [4, 5, 6]
    assert sorted(first_of_each(y, order, 2)) == [2, 3, 4, 5, 6]
    several = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]], np.int8)
    assert first_of_each(several, np.arange(4), 1).tolist() == [0, 2]


def test_a_curve_rises_with_images_and_is_the_same_again(make_images: MakeImages) -> None:
    images = make_images(classes_of(120))
    X = images.features(LAYERS[1:])
    draws = draws_of(images, 5, 0, given_splits=False)
    steps: list[tuple[int, int]] = []
    curve = learn(
        LogisticHead(), X, images.y, images.classes, draws, lambda step, of, _: steps.append((step, of))
    )
    assert curve.sizes == [1, 2, 5, 10, 20, None] and curve.per_class == [1, 2, 5, 10, 20, 32]
    assert curve.values.shape == (6, 5)
    means = curve.values.mean(axis=1)
    assert means[0] < means[-1] - 0.15 and means[-1] > 0.9
    assert steps[0] == (1, 30) and steps[-1] == (30, 30)
    again = learn(LogisticHead(), X, images.y, images.classes, draws)
    assert (again.values == curve.values).all()
    by_chance = learn(
        LogisticHead(), np.random.default_rng(0).normal(size=X.shape), images.y, images.classes, draws
    )
    assert by_chance.values[-1].mean() < 0.5


def test_the_last_point_is_of_all_training_images(make_images: MakeImages) -> None:
    """Also where classes differ in size: the fit is the same as one on all rows."""
    images = make_images(["daisy"] * 40 + ["rose"] * 12)
    X, (draw, *_) = images.features(LAYERS[1:]), draws_of(images, 5, 0, given_splits=False)
    curve = learn(LogisticHead(C=0.1), X, images.y, images.classes, [draw, draw])
    head = LogisticHead(C=0.1).fit(X[draw.train], images.y[draw.train])
    assert curve.values[-1, 0] == head.score(X[draw.test], images.y[draw.test])


def test_what_is_left_to_choose_is_chosen_once() -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3
    chosen = with_choices(LogisticHead(seed=3), X, y, ["a", "b", "c"], np.arange(40))
    expected = LogisticHead(seed=3).fit(X[:40], y[:40]).training_
    assert expected is not None and chosen.get_params()["C"] == expected.facts["C"]
    assert chosen.get_params()["seed"] == 3 and chosen.get_params()["class_weight"] is None
    assert with_choices(LogisticHead(C=0.7), X, y, ["a", "b", "c"], np.arange(40)).get_params()["C"] == 0.7


def test_a_draw_needs_two_classes_and_something_to_test() -> None:
    y = np.array([0, 0, 0, 1])
    assert can_learn(y, [Draw(np.array([0, 3]), np.array([1]))])
    assert not can_learn(y, [Draw(np.array([0, 1]), np.array([3]))])
    assert not can_learn(y, [Draw(np.array([0, 3]), np.array([], int))])
    several = np.array([[1, 0], [0, 1], [0, 0]])
    assert not can_learn(several, [Draw(np.array([0, 1]), np.array([2]))])


def test_intervals_are_of_each_size() -> None:
    curve = Curve([1, None], [1, 2], np.array([[0.5, 0.5, 0.5], [0.6, 0.7, 0.8]]))
    (mean, low, high), (_, low_of_second, high_of_second) = curve.intervals
    assert mean == low == high == 0.5 and low_of_second < 0.6
    assert high_of_second == 1, "no share of images is more than all of them"


def test_sizes_are_those_that_were_trained_on(make_images: MakeImages) -> None:
    """With 50 of one class and five of the others, 50 images a class are 20 on average."""
    images = make_images(["daisy"] * 100 + ["rose"] * 6 + ["tulip"] * 6)
    draws = draws_of(images, 5, 0, given_splits=False)
    curve = learn(LogisticHead(C=0.1), images.features(LAYERS[1:]), images.y, images.classes, draws)
    assert curve.sizes == [1, 2, 5, 10, 20, 50, None]
    assert curve.per_class == sorted(curve.per_class) and curve.per_class[-2] < 21


def test_a_small_test_split_has_its_share_in_each_draw(make_images: MakeImages) -> None:
    splits = ["train"] * 190 + ["test"] * 10
    images = make_images(classes_of(200), splits, given_splits=True)
    draws = draws_of(images, 10, 0, given_splits=True)
    assert len(draws) == 10 and can_learn(images.y, draws)
    six = make_images(classes_of(60), ["train"] * 54 + ["test"] * 6, name="six", given_splits=True)
    assert can_learn(six.y, draws_of(six, 20, 0, given_splits=True)), "draws without tests are left out"
