from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from features.errors import BottleneckError
from features.splits import SPLITS, assign_split, given_splits, parse_split

IDS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000)]


def shares(given: str | None) -> dict[str, float]:
    counts = Counter(assign_split(image_id, given) for image_id in IDS)
    return {split: count / len(IDS) for split, count in counts.items()}


def test_the_cut_is_80_10_10() -> None:
    assert shares(None) == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.01)


def test_a_given_training_part_is_cut_90_10() -> None:
    assert shares("train+validation") == pytest.approx({"train": 0.9, "validation": 0.1}, abs=0.01)


@pytest.mark.parametrize("split", SPLITS)
def test_a_given_split_is_kept(split: str) -> None:
    assert shares(split) == {split: 1.0}


def test_the_cut_is_the_same_on_every_machine_and_in_every_version() -> None:
    # Changing these would move images between the splits of tables that exist.
    cut = [assign_split(image_id, None) for image_id in IDS[:12]]
    assert "".join(split[1] for split in cut) == "rrarrrrraaee"


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(BottleneckError, match="'holdout'.*train, validation, test"):
        assign_split(IDS[0], "holdout")


@pytest.mark.parametrize(
    ("found", "given"),
    [
        ({"train", "validation", "test"}, {"train": "train", "validation": "validation", "test": "test"}),
        ({"train", "validation"}, {"train": "train+validation", "validation": "test"}),
        ({"train", "test"}, {"train": "train+validation", "test": "test"}),
        ({"train"}, {"train": None}),
        ({"test"}, {"test": "test"}),
        ({"validation", "test"}, {"validation": "validation", "test": "test"}),
    ],
)
def test_what_is_missing_is_cut_from_the_training_part(found: set[str], given: dict[str, str | None]) -> None:
    mapping, notices = given_splits(found)
    assert mapping == given
    assert bool(notices) == ("train+validation" in given.values())


def test_names_of_splits() -> None:
    names = {name: parse_split(name) for name in ("train", "VAL", "Valid", "validation", "Test", "roses", "")}
    assert names == {
        **{"train": "train", "VAL": "validation", "Valid": "validation", "validation": "validation"},
        **{"Test": "test", "roses": None, "": None},
    }
