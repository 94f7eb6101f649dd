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
    assert (
        of["splits"][1]["sentence"]
        == "test: 15 images, whose classes do not differ from those of train (p = 1)."
    )


def test_a_split_of_other_shares_is_named_with_the_class_that_differs_most() -> None:
    of = compare_splits(counts(daisy=(80, 40, 10), rose=(80, 40, 70), tulip=(80, 40, 40)))
    validation, test = of["splits"]
    assert of["differs"] and test["differs"] and not validation["differs"]
    assert test["p_value"] == pytest.approx(2 * chi2_contingency([[80, 10], [80, 70], [80, 40]]).pvalue)
    assert "most of all rose, 58.3% here and 33.3% of train" in test["sentence"]


def test_few_images_are_compared_by_permutation() -> None:
    few = compare_splits(counts(daisy=(8, 0, 1), rose=(8, 0, 1), tulip=(1, 0, 8)))
    assert [split["split"] for split in few["splits"]] == ["test"] and few["differs"]
    assert few == compare_splits(counts(daisy=(8, 0, 1), rose=(8, 0, 1), tulip=(1, 0, 8)))
    assert not compare_splits(counts(daisy=(8, 0, 2), rose=(8, 0, 1)))["differs"]
    assert compare_splits(counts(daisy=(8, 0, 0), rose=(8, 0, 0))) == {"differs": False, "splits": []}
    assert not compare_splits(counts(daisy=(8, 0, 2), rose=(0, 0, 0)))["differs"]
