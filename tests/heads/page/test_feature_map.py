from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.store.streams import RowGroup
from heads.page import feature_map
from heads.page.feature_map import make_map, project, sample
from tests.heads.page.tables import pictured_table, uris_of


def test_images_of_like_features_lie_together(tmp_path: Path) -> None:
    table = pictured_table(tmp_path, ["daisy", "rose", "tulip"] * 20, unreadable=60)
    found = make_map(table, table.layers[-1])
    assert found is not None
    assert found.images == 60 and sorted(found.uris) == sorted(uris_of(table))
    assert found.positions.min() == 0 and found.positions.max() == 1
    distances = np.linalg.norm(found.positions[:, None] - found.positions[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    assert np.mean([found.labels[row] == found.labels[other] for row, other in enumerate(nearest)]) > 0.95


def test_the_same_table_gives_the_same_map(tmp_path: Path) -> None:
    table = pictured_table(tmp_path, ["daisy", "rose"] * 20, unreadable=40)
    first, second = (make_map(table, table.layers[-1]) for _ in range(2))
    assert first is not None and second is not None
    assert first.positions.tolist() == second.positions.tolist()


def test_views_are_no_images(tmp_path: Path) -> None:
    table = pictured_table(tmp_path, ["daisy", "rose"] * 10, views=[0, 0, 1, 2] * 5, unreadable=20)
    found = make_map(table, table.layers[-1])
    assert found is not None and found.images == len(found.uris) == 10
    views = table.metadata(["uri", "view"]).to_pydict()
    of_uri = dict(zip(views["uri"], views["view"], strict=True))
    assert {of_uri[uri] for uri in found.uris} == {0}


def test_a_sample_has_its_features_and_labels(tmp_path: Path) -> None:
    table = pictured_table(tmp_path, ["daisy"] * 50 + ["rose"] * 10, unreadable=60)
    named = uris_of(table)[3:6]
    found = make_map(table, table.layers[-1], named, most=12)
    assert found is not None and len(found.uris) == 12 and found.images == 60
    assert set(named) <= set(found.uris)
    rows = table.metadata(["uri", "labels"]).to_pydict()
    labels = dict(zip(rows["uri"], rows["labels"], strict=True))
    assert [list(label) for label in found.labels] == [labels[uri] for uri in found.uris]
    X, _ = table.matrix(multi_label=True)
    of_uri = dict(zip(rows["uri"], X, strict=True))
    expected = project(np.array([of_uri[uri] for uri in found.uris]))
    low, high = expected.min(axis=0), expected.max(axis=0)
    assert np.allclose(found.positions, (expected - low) / (high - low), atol=1e-4)


def test_of_a_large_table_only_some_row_groups_are_read_and_those_of_named_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_map, "_MOST_GROUPS", 3)
    labels_of_group = np.empty(10, object)
    labels_of_group[:] = [("daisy",)] * 10
    groups = [RowGroup("part", number, np.arange(10), labels_of_group) for number in range(9)]
    starts = np.arange(0, 91, 10)
    are_named = np.zeros(90, bool)
    are_named[[25, 79]] = True
    rows, labels = feature_map._candidates(groups, starts, np.ones(90, bool), are_named)
    assert sorted({int(row) // 10 for row in rows}) == [0, 2, 4, 7, 8]
    assert len(labels) == len(rows) == 50


def test_each_stratum_has_its_share_and_no_less_than_one() -> None:
    strata = [("many",)] * 900 + [("few",)] * 99 + [("one",)]
    none = np.zeros(1000, bool)
    rows = sample(strata, none, 100)
    counts = {name: sum(strata[row] == (name,) for row in rows) for name in ("many", "few", "one")}
    assert len(rows) == 100 == len(set(rows.tolist())) and (np.diff(rows) > 0).all()
    assert counts["one"] == 1 and 9 <= counts["few"] <= 11 and counts["many"] >= 88
    assert rows.tolist() == sample(strata, none, 100).tolist()
    assert sample(strata, none, 1000).tolist() == list(range(1000))


def test_named_rows_are_in_a_sample_however_many_their_stratum_has() -> None:
    strata = [("one",)] * 50 + [("other",)] * 50
    named = np.zeros(100, bool)
    named[[1, 4, 9, 16, 25, 36, 49, 99]] = True
    rows = sample(strata, named, 9)
    assert set(np.flatnonzero(named)) <= set(rows.tolist()) and len(rows) == 9


def test_more_strata_than_room_is_no_error() -> None:
    strata = [(str(number),) for number in range(50)]
    assert len(sample(strata, np.zeros(50, bool), 10)) == 10


def test_too_few_images_and_features_that_are_no_numbers_give_no_map(tmp_path: Path) -> None:
    table = pictured_table(tmp_path, ["daisy"] * 4, unreadable=4)
    assert make_map(table, table.layers[-1]) is None


@pytest.mark.parametrize("count", [5, 6, 40])
def test_few_images_can_be_placed_and_like_ones(count: int) -> None:
    assert project(np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)).shape == (count, 2)
    assert project(np.ones((count, 8), np.float32)).tolist() == [[0, 0]] * count
