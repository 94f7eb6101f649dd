from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import heads.evidence.out_of_fold
from heads import LogisticHead
from heads.evidence.out_of_fold import chosen_C, out_of_fold, some_rows
from heads.logistic import CANDIDATES
from tests.heads.conftest import LAYERS
from tests.heads.evidence.conftest import MakeImages, classes_of, features_of


def test_probabilities_are_of_images_that_were_not_seen(make_images: MakeImages) -> None:
    """Features of noise: heads that had seen them would know most of the labels."""
    random = np.random.default_rng(0)
    noise = {
        layer: random.normal(size=(90, width)).astype(np.float32)
        for layer, width in zip(LAYERS, (48, 64), strict=True)
    }
    images = make_images(classes_of(90), features=noise)
    steps: list[tuple[int, int]] = []
    probabilities = out_of_fold(images, LAYERS, progress=lambda step, of, _: steps.append((step, of)))
    assert probabilities.shape == (90, 3) and probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities.argmax(axis=1) == images.y).mean() < 0.5
    assert steps == [(number, 6) for number in range(1, 7)]


def test_each_layer_counts_as_much_and_the_same_seed_gives_the_same(make_images: MakeImages) -> None:
    images = make_images(classes_of(60))
    both = out_of_fold(images, LAYERS)
    each = [out_of_fold(images, [layer]) for layer in LAYERS]
    assert both == pytest.approx((each[0] + each[1]) / 2)
    assert (out_of_fold(images, LAYERS) == both).all()
    assert np.abs(out_of_fold(images, LAYERS, seed=1) - both).max() > 0.01


def test_images_of_a_group_say_nothing_of_each_other(make_images: MakeImages) -> None:
    """Each patient looks like himself, and labels are by chance: only groups that are torn would tell."""
    patients = np.repeat(np.arange(20), 6)
    random = np.random.default_rng(0)
    X = random.normal(size=(20, 64))[patients] + random.normal(scale=0.1, size=(120, 64))
    labels = [("daisy", "rose")[patient % 2] for patient in patients]
    images = make_images(labels, None, {LAYERS[1]: X}, groups=[f"p{patient}" for patient in patients])
    assert (out_of_fold(images, LAYERS[1:]).argmax(axis=1) == images.y).mean() < 0.75
    alone = dataclasses.replace(images, units=np.arange(120))
    assert (out_of_fold(alone, LAYERS[1:]).argmax(axis=1) == images.y).mean() > 0.9


def test_of_many_images_some_are_fitted_on(make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_images(classes_of(300))
    assert some_rows(images, 100, 0).shape == (100,) and some_rows(images, 1000, 0).tolist() == list(
        range(300)
    )
    monkeypatch.setattr(heads.evidence.out_of_fold, "MOST_FITTED", 150)
    monkeypatch.setattr(heads.evidence.out_of_fold, "_FEW", 299)
    probabilities = out_of_fold(images, LAYERS[1:])
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities.argmax(axis=1) == images.y).mean() > 0.9


def test_C_is_chosen_on_a_part_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = np.concatenate(list(features_of(classes_of(90)).values()), axis=1), np.arange(90) % 3
    seen: list[int] = []

    def fit(head: LogisticHead, X: np.ndarray, y: np.ndarray, *_: Any) -> LogisticHead:
        seen.append(len(X))
        return head.fit(X, y)

    monkeypatch.setattr(heads.evidence.out_of_fold, "_MOST_CHOOSING", 30)
    monkeypatch.setattr(heads.evidence.out_of_fold, "fit_anew", fit)
    assert chosen_C(X, y, ["a", "b", "c"]) in CANDIDATES and seen == [30]
