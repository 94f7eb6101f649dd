from __future__ import annotations

import math
from typing import Any

import pytest

from heads.page.figures import SHARE, UNKNOWN, Skill, at, items, number, percent, seconds
from heads.page.overview import tone_of, verdict_section
from heads.page.parts import Cell, Sentences, Table, columns, cut, name


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "0.5", True, []])
def test_what_is_no_figure_is_a_dash(value: Any) -> None:
    for text in (percent, number, seconds, SHARE.text, SHARE.interval, SHARE.difference, SHARE.differences):
        assert text(value) == UNKNOWN


def test_figures_are_text_that_people_read() -> None:
    assert percent(0.8791) == "87.9%"
    assert number(1234.5678, 2) == "1,234.57"
    assert [seconds(value) for value in (1.25, 119.9, 240)] == ["1.2 s", "119.9 s", "4.0 min"]
    assert SHARE.interval([0.8, 0.905]) == "80.0% to 90.5%"
    assert SHARE.differences([-0.021, -0.05, 0.01]) == "\u22122.1 points (\u22125.0 to +1.0)"
    precision = Skill("macro average precision")
    assert (
        precision.text(0.8) == "0.800" and precision.differences([0.1, 0, 0.2]) == "+0.100 (+0.000 to +0.200)"
    )


def test_what_lies_within_is_found_or_none() -> None:
    whole = {"a": {"b": [1, None, 2]}, "c": None}
    assert at(whole, "a", "b") == [1, None, 2] and items(whole, "a", "b") == [1, 2]
    assert at(whole, "c", "b") is at(whole, "x") is at(None, "a") is at([1], "a") is None
    assert items(whole, "c") == items(whole, "a") == []


def test_tables_are_cut_and_say_so() -> None:
    rows = [[Cell(str(number))] for number in range(250)]
    shown, left_out = cut(rows, "classes", chosen="worst")
    assert len(shown) == 200
    assert left_out == "Only the worst 200 of 250 classes are shown; 50 are left out."
    assert cut(rows[:200], "classes") == (rows[:200], "")
    assert len(name("x" * 1000).text) == 300


def test_a_row_that_does_not_fit_its_columns_is_an_error() -> None:
    with pytest.raises(ValueError, match="each row needs 2 cells"):
        Table("Heads", columns("a", "b"), [[Cell("1")]])


@pytest.mark.parametrize(
    ("sentence", "tone"),
    [
        ("Transfer helps: 31 points more than pixels.", "good"),
        ("Transfer does not help here.", "bad"),
        ("3 test images have near-duplicates in train.", "caution"),
        ("About 12 labels are likely wrong.", "caution"),
        ("The head has 500 images.", "plain"),
    ],
)
def test_a_sentence_without_a_tone_is_given_one(sentence: str, tone: str) -> None:
    assert tone_of(sentence) == tone


def test_a_tone_that_is_given_counts() -> None:
    verdict = [
        {"sentence": "It does not matter.", "tone": "plain"},
        {"sentence": "It helps.", "tone": "x"},
        "So.",
    ]
    (block,) = verdict_section({"verdict": verdict}).blocks
    assert isinstance(block, Sentences)
    assert [(each.text, each.tone) for each in block.items] == [
        ("It does not matter.", "plain"),
        ("It helps.", "good"),
        ("So.", "plain"),
    ]
