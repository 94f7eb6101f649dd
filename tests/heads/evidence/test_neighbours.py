from __future__ import annotations

import numpy as np
import pytest

import heads.evidence.neighbours
from features.errors import BottleneckError
from heads.evidence.neighbours import find_neighbours
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of


def by_hand(X: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    cosines = X @ X.T / np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(X, axis=1))
    np.fill_diagonal(cosines, -2)
    numbers = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return numbers, np.take_along_axis(cosines, numbers, axis=1)


def test_neighbours_are_the_nearest_others_by_the_cosine(
    make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads.evidence.neighbours, "_ROWS_AT_ONCE", 17)
    images = make_images(classes_of(60))
    steps: list[tuple[int, int]] = []
    found = find_neighbours(images, LAYERS[1:], progress=lambda step, of, _: steps.append((step, of)))
    numbers, cosines = by_hand(images.features(LAYERS[1:]), 10)
    assert found.exact and (found.numbers == numbers).all()
    assert found.cosines == pytest.approx(cosines, abs=1e-6)
    assert steps == [(17, 60), (34, 60), (51, 60), (60, 60)]


def test_few_images_have_few_neighbours(make_images: MakeImages) -> None:
    found = find_neighbours(make_images(["daisy", "rose", "tulip"]), LAYERS)
    assert found.numbers.shape == (3, 2)


def test_an_index_finds_the_same(make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(heads.evidence.neighbours, "MOST_EXACT", 100)
    images = make_images(classes_of(1200))
    found = find_neighbours(images, LAYERS[1:])
    numbers, cosines = by_hand(images.features(LAYERS[1:]), 10)
    assert not found.exact and found.numbers.shape == (1200, 10)
    assert not (found.numbers == np.arange(1200)[:, None]).any(), "no image is its own neighbour"
    shared = np.mean([len({*a} & {*b}) / 10 for a, b in zip(found.numbers, numbers, strict=True)])
    assert shared > 0.9
    assert np.abs(found.cosines[:, 0] - cosines[:, 0]).max() < 0.1
    assert (find_neighbours(images, LAYERS[1:]).numbers == found.numbers).all()


def test_copies_are_neighbours_in_an_index(make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve equal rows, an image itself need not be among the first that the index gives."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(heads.evidence.neighbours, "MOST_EXACT", 100)
    X = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    X[:12] = X[0]
    images = make_images(classes_of(300), ["train"] * 300, {LAYERS[1]: X})
    found = find_neighbours(images, LAYERS[1:])
    first = np.flatnonzero((found.cosines > 0.95).all(axis=1))
    assert len(first) == 12 and all(number not in found.numbers[number] for number in first)


def test_a_missing_index_is_said(make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads.evidence.neighbours, "MOST_EXACT", 10)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(BottleneckError, match=r"the neighbours of 60 images .*bottleneck-features\[report\]"):
        find_neighbours(make_images(classes_of(60)), LAYERS)
