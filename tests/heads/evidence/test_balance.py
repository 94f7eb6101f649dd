from __future__ import annotations

import pytest
from scipy.stats import chi2_contingency

from heads.evidence.balance import compare_splits


def counts(**of_labels: tuple[int, int, int]) -> dict[str, dict[str, int]]:
    names = ("train", "validation", "test")
    return {label: dict(zip(names, of, strict=True)) for label, of in of_labels.items()}


def test_splits_of_the_same_shares_do_not_differ() -> None:
    of = compare_splits(counts(daisy=(80, 10, 10), rose=(40, 5, 5)))
    assert not of["differs"] and [split["p_value"] for split in of["splits"]] == [1.0, 1.0]
    assert of["splits"][1]["sentence"].startswith("test: 15 images, with classes in the same shares")


def test_a_split_of_other_shares_is_named_with_the_class_that_differs_most() -> None:
    of = compare_splits(counts(daisy=(80, 40, 10), rose=(80, 40, 70), tulip=(80, 40, 40)))
    validation, test = of["splits"]
    assert of["differs"] and test["differs"] and not validation["differs"]
    assert test["p_value"] == pytest.approx(2 * chi2_contingency([[80, 10], [80, 70], [80, 40]]).pvalue)
    assert "most of all rose, 58.3% here and 33.3% of train" in test["sentence"]


def test_the_rarest_classes_are_taken_together() -> None:
    rare = {f"class-{number}": (8, 0, 2) for number in range(10)}
    of = compare_splits(counts(daisy=(800, 0, 200), **rare))
    expected = chi2_contingency([[800, 200], [80, 20]], correction=False).pvalue
    assert of["splits"][0]["p_value"] == pytest.approx(expected)
    changed = compare_splits(counts(daisy=(800, 0, 200), **{name: (8, 0, 20) for name in rare}))
    assert changed["differs"]


def test_few_images_are_too_few_to_compare() -> None:
    of = compare_splits(counts(daisy=(8, 0, 1), rose=(8, 0, 0)))
    assert of == {
        "differs": False,
        "splits": [
            {
                "split": "test",
                "p_value": None,
                "differs": False,
                "sentence": "test: 1 image, too few to compare with train.",
            }
        ],
    }
    assert compare_splits(counts(daisy=(8, 0, 0), rose=(8, 0, 0))) == {"differs": False, "splits": []}
