from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from heads.evidence.skill import chance, rightness, skill, skill_name


def test_of_one_label_it_is_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    true = np.array([0, 1, 1])
    assert skill(true, probabilities) == pytest.approx(2 / 3)
    assert rightness(true, probabilities, None).tolist() == [1.0, 0.0, 1.0]
    assert chance(np.array([0, 1, 1, 1]), 3) == 0.75
    assert skill_name(multi_label=False) == "accuracy"


def test_of_several_labels_it_is_the_mean_of_those_that_are_there() -> None:
    random = np.random.default_rng(0)
    true, probabilities = random.integers(0, 2, (30, 3)), random.random((30, 3))
    true[:, 2] = 0
    expected = np.mean([average_precision_score(true[:, n], probabilities[:, n]) for n in (0, 1)])
    assert skill(true, probabilities) == pytest.approx(expected)
    assert chance(true, 3) == pytest.approx(true[:, :2].mean())
    thresholds = np.array([0.5, 0.2, 0.9])
    assert rightness(true, probabilities, thresholds).tolist() == pytest.approx(
        ((probabilities >= thresholds) == true).mean(axis=1).tolist()
    )
    assert skill_name(multi_label=True) == "macro average precision"
