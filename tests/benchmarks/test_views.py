from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.views import Measured, Rows, cells, list_as_training, measure
from heads import LogisticHead


def test_all_but_two_photos_are_for_training(tmp_path: Path):
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    with list_as_training(tmp_path / "photos", tmp_path / "list.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["validation", "train", "train", "test"]
    assert [row["label"] for row in rows] == ["a", "a", "b", "b"]


@pytest.mark.parametrize("views", [0, 2])
def test_a_head_is_tested_on_images_that_it_has_not_seen_in_any_view(views: int):
    """Each image has a direction of its own, which its views have too: only by heart could it be known."""
    random = np.random.default_rng(0)
    images = 60
    own = random.standard_normal((images, 64)).astype(np.float32)
    image = np.repeat(np.arange(images), 3)
    labels = random.permutation(images) % 2
    rows = Rows(own[image], labels[image], image, np.tile([0, 1, 2], images), ["a", "b"])
    accuracy = np.mean([measure(rows, LogisticHead(C=100.0), 8, views, seed).accuracy for seed in range(8)])
    assert 0.35 < accuracy < 0.65


def test_cells_compare_the_same_draws():
    draws = [[Measured(0.5 + 0.1 * draw, 1.0), Measured(0.6 + 0.1 * draw, 3.0)] for draw in range(3)]
    assert list(cells(draws)) == ["60.0 (1.0 s)", "70.0 (+10.0 ± 0.0; 3.0 s)"]
