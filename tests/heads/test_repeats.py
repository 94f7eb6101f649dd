from __future__ import annotations

import pytest

from heads.repeats import format_spread, main_figures, spread

SINGLE = {"count": 5, "accuracy": 0.8, "macro_f1": 0.7, "log_loss": 0.5, "per_class": {"a": {}}}
SEVERAL = {
    "accuracy": 0.5,
    "hamming_loss": 0.1,
    "average_precision": {"micro": 0.9, "macro": 0.8},
    "f1": {"micro": 0.7, "macro": 0.6},
    "log_loss": 0.3,
}


def test_the_figures_that_a_test_is_known_by() -> None:
    assert main_figures(SINGLE) == {"accuracy": 0.8, "macro_f1": 0.7, "log_loss": 0.5}
    assert main_figures(SEVERAL) == {
        "accuracy": 0.5,
        "log_loss": 0.3,
        "hamming_loss": 0.1,
        "average_precision.macro": 0.8,
        "f1.macro": 0.6,
    }


def test_mean_and_spread_over_seeds() -> None:
    found = spread([3, 4, 5], [SINGLE | {"accuracy": accuracy} for accuracy in (0.7, 0.8, 0.9)])
    assert found["seeds"] == [3, 4, 5]
    assert found["accuracy"] == {
        "mean": pytest.approx(0.8),
        "std": pytest.approx(0.1),
        "values": [0.7, 0.8, 0.9],
    }
    assert found["log_loss"] == {"mean": 0.5, "std": 0.0, "values": [0.5] * 3}
    assert format_spread(found) == (
        "over 3 seeds (mean ± standard deviation): accuracy 0.800 ± 0.100; macro f1 0.700 ± 0.000; "
        "log loss 0.500 ± 0.000"
    )


def test_seeds_that_change_nothing_are_called_so() -> None:
    assert format_spread(spread([0, 1, 2], [{"accuracy": 0.1}] * 3)) == (
        "over 3 seeds (mean ± standard deviation): accuracy 0.100 ± 0.000: the seed changes nothing"
    )
    assert "changes nothing" not in format_spread(spread([0, 1], [{"accuracy": 0.5}, {"accuracy": 0.6}]))
    assert "average precision, macro 0.800 ± 0.000" in format_spread(spread([0, 1], [SEVERAL] * 2))
