from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chi2_contingency

import heads.changes
from heads.changes import Changes


def table_of(
    ids: Sequence[str], labels: Sequence[str | Sequence[str]], groups: Sequence[str] = (), views: int = 0
) -> pa.Table:
    """Rows of images, and after them so many views of each."""
    times = 1 + views
    columns: dict[str, Any] = {
        "image_id": pa.array(list(ids) * times, pa.string()),
        "labels": pa.array(
            [[of] if isinstance(of, str) else list(of) for of in labels] * times, pa.list_(pa.string())
        ),
        "view": pa.array([view for view in range(times) for _ in ids], pa.int32()),
    }
    if groups:
        columns["group"] = pa.array(list(groups) * times)
    return pa.table(columns)


def images(first: int, after: int) -> list[str]:
    return [f"{number:04}" for number in range(first, after)]


def test_what_is_new_gone_or_relabelled_is_counted() -> None:
    then = table_of(["a", "b", "c", "d"], ["x", "x", "y", "y"])
    now = table_of(["b", "c", "d", "e", "e"], ["x", "x", "y", "y", "y"])
    changes = Changes(then, now)
    assert changes.is_new.tolist() == [False, False, False, True, True]
    assert (changes.gone, changes.relabelled) == (1, 1)
    assert changes.classes.tolist() == [0, 0, 1, 1, 1]
    assert changes.classes_distance() == pytest.approx(abs(2 / 4 - 2 / 5))


def test_views_are_no_images() -> None:
    then, now = table_of(["a", "b"], ["x", "y"], views=2), table_of(["a", "b", "c"], ["x", "y", "x"], views=1)
    now = now.take(pa.array([3, 0, 1, 2, 4, 5]))
    changes = Changes(then, now)
    assert changes.numbers.tolist() == [1, 2, 3] and changes.is_new.tolist() == [False, False, True]
    assert changes.gone == 0 and changes.classes_distance() == pytest.approx(1 / 6)


def test_shares_of_classes_are_tested_between_images_that_stayed_and_came() -> None:
    then = table_of(images(0, 100), ["x", "y"] * 50)
    now = table_of(images(0, 150), ["x", "y"] * 50 + ["x"] * 40 + ["y"] * 10)
    changes = Changes(then, now)
    expected = chi2_contingency([[50, 40], [50, 10]], correction=False).pvalue
    assert changes.classes_p_value() == pytest.approx(expected)
    assert changes.classes_distance() == pytest.approx(90 / 150 - 0.5)
    same = Changes(then, table_of(images(0, 150), ["x", "y"] * 75))
    assert same.classes_p_value() == pytest.approx(1) and same.classes_distance() == 0


def test_images_that_are_gone_and_other_labels_count_as_well() -> None:
    then = table_of(images(0, 100), ["x", "y"] * 50)
    gone = Changes(then, table_of(images(0, 100)[::2] + images(0, 30)[1::2], ["x"] * 50 + ["y"] * 15))
    expected = chi2_contingency([[50, 0], [15, 35]], correction=False).pvalue
    assert gone.classes_p_value() == pytest.approx(expected)
    relabelled = Changes(then, table_of(images(0, 100), ["x"] * 60 + ["x", "y"] * 20))
    assert relabelled.relabelled == 30
    expected = chi2_contingency([[50, 30], [20, 0]], correction=False).pvalue
    assert relabelled.classes_p_value() == pytest.approx(expected), "an image is asked once"


def test_too_few_images_are_not_tested() -> None:
    then = table_of(images(0, 100), ["x", "y"] * 50)
    assert Changes(then, then).classes_p_value() is None
    few = Changes(then, table_of(images(0, 119), ["x", "y"] * 50 + ["x"] * 19))
    assert few.classes_p_value() is None and few.draw(0) is None and few.draw_within_classes(0) is None
    enough = Changes(then, table_of(images(0, 120), ["x", "y"] * 50 + ["x"] * 20))
    assert enough.classes_p_value() is not None and enough.draw(0) is not None
    empty = table_of([], [])
    for pair in ((empty, then), (then, empty), (empty, empty)):
        changes = Changes(*pair)
        assert changes.classes_p_value() is None and changes.draw(0) is None
        assert changes.draw_within_classes(0) is None


def test_images_without_a_label_are_a_class() -> None:
    then = table_of(images(0, 40), ["x"] * 40)
    now = table_of(images(0, 80), ["x"] * 40 + [()] * 40)
    changes = Changes(then, now)
    assert changes.classes_distance() == 0.5 and changes.classes_p_value() == pytest.approx(
        chi2_contingency([[40, 0], [0, 40]], correction=False).pvalue
    )


def test_of_several_labels_each_is_tested() -> None:
    then = table_of(images(0, 100), [["x", "y"], ["y"]] * 50)
    now = table_of(images(0, 200), [["x", "y"], ["y"]] * 50 + [["x", "y"]] * 70 + [["y"]] * 30)
    changes = Changes(then, now)
    # y has nothing to test: all images have it.
    expected = chi2_contingency([[50, 70], [50, 30]], correction=False).pvalue
    assert changes.classes_p_value() == pytest.approx(expected)
    assert changes.classes_distance() == pytest.approx(120 / 320 - 1 / 3)


def test_one_image_of_a_group_or_of_the_same_bytes_takes_part() -> None:
    then = table_of(images(0, 60), ["x"] * 60, [f"p{number // 2}" for number in range(60)])
    ids = [*images(0, 60), *images(60, 100), *images(60, 100)]
    groups = [f"p{number // 2}" for number in range(60)] + [f"q{number}" for number in range(40)] * 2
    changes = Changes(then, table_of(ids, ["x"] * 60 + ["y"] * 80, groups))
    drawn = changes.draw(0)
    assert drawn is not None
    assert (int(changes.is_new[drawn].sum()), len(drawn)) == (40, 70)
    expected = chi2_contingency([[30, 0], [0, 40]], correction=False).pvalue
    assert changes.classes_p_value() == pytest.approx(expected)
    few = Changes(then, table_of(ids, ["x"] * 140, groups[:60] + ["q"] * 80))
    assert few.draw(0) is None, "eighty images of one group are one"


def test_what_is_drawn_has_each_class_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads.changes, "MOST", 50)
    then = table_of(images(0, 400), ["x", "x", "x", "y"] * 100)
    changes = Changes(then, table_of(images(0, 500), ["x", "x", "x", "y"] * 100 + ["x", "y"] * 50))
    drawn, again, other = changes.draw(1), changes.draw(1), changes.draw(2)
    assert drawn is not None and other is not None
    np.testing.assert_array_equal(drawn, again)
    assert drawn.tolist() != other.tolist() and (np.diff(drawn) > 0).all()
    old, new = drawn[drawn < 400], drawn[drawn >= 400]
    assert np.bincount(changes.classes[old]).tolist() == [38, 12]
    assert np.bincount(changes.classes[new]).tolist() == [25, 25]


def test_within_classes_as_many_old_as_new_images_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    then = table_of(images(0, 100), ["x"] * 80 + ["y"] * 20)
    changes = Changes(
        then, table_of(images(0, 200), ["x"] * 80 + ["y"] * 20 + ["x"] * 30 + ["y"] * 50 + ["z"] * 20)
    )
    drawn, again = changes.draw_within_classes(1), changes.draw_within_classes(1)
    assert drawn is not None
    np.testing.assert_array_equal(drawn, again)
    old, new = drawn[~changes.is_new[drawn]], drawn[changes.is_new[drawn]]
    assert (
        np.bincount(changes.classes[old]).tolist() == [30, 20] == np.bincount(changes.classes[new]).tolist()
    )
    assert drawn.tolist() != changes.draw_within_classes(2).tolist()  # type: ignore[union-attr]
    monkeypatch.setattr(heads.changes, "MOST", 25)
    fewer = changes.draw_within_classes(1)
    assert fewer is not None
    assert np.bincount(changes.classes[fewer[~changes.is_new[fewer]]]).tolist() == [15, 10]


def test_classes_that_come_or_go_as_a_whole_are_counted_then_and_now() -> None:
    then = table_of(["a", "b", "c", "d"], ["x", "x", "x", "y"])
    renamed = table_of(["a", "b", "c", "d"], ["x", "x", "x", "z"])
    assert Changes(then, renamed).classes_replaced() == 1 / 4
    grown = table_of(["a", "b", "c", "d", "e", "f"], ["x", "x", "x", "y", "z", "z"])
    assert Changes(then, grown).classes_replaced() == Changes(grown, then).classes_replaced() == 2 / 6
    moved = table_of(["a", "b", "c", "d"], ["x", "y", "y", "y"])
    assert Changes(then, moved).classes_replaced() == Changes(then, then).classes_replaced() == 0
