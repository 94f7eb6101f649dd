from __future__ import annotations

from typing import Any

import pytest

from heads.evidence.verdict import verdict


def claims(*helps: bool) -> dict[str, Any]:
    titles = ("higher start", "higher slope", "higher asymptote")
    made = [{"title": title, "helps": one} for title, one in zip(titles, helps, strict=True)]
    return {"images": 500, "unseen": 0.1, "claims": made}


COPIES = {"across_splits": 0, "across_labels": 0, "pixels": True, "compared": 500, "not_compared": 0}


def evaluation(**parts: Any) -> dict[str, Any]:
    """One in which nothing is wrong, with some parts changed: `trust__metrics` is that of `trust`."""
    made: dict[str, Any] = {
        "transfer": claims(True, True, True),
        "table": {"untrained": False, "tuned": False},
        "trust": {
            "metrics": {
                "accuracy": 0.9,
                "accuracy_interval": [0.88, 0.92],
                "count": 900,
                "majority_accuracy": 0.2,
                "majority_class": "rose",
                "per_class": {"rose": {"support": 90}, "tulip": {"support": 30}},
            },
            "reliability": {"calibration_error": 0.02},
            "leaderboard": [{"is_head": True}],
            "without_duplicates": None,
        },
        "data": {
            "near_duplicates": COPIES,
            "label_errors": {"count": 0, "images": []},
            "confused_classes": [],
            "balance": {"differs": False, "splits": []},
        },
    }
    for name, value in parts.items():
        *outer, last = name.split("__")
        inside = made
        for each in outer:
            inside = inside[each]
        inside[last] = value
    return made


def said(**parts: Any) -> list[tuple[str, str]]:
    return [(of["tone"], of["text"]) for of in verdict(evaluation(**parts))]


def test_where_nothing_is_wrong_all_is_good() -> None:
    assert said() == [
        ("good", "Transfer helped: it gave a higher start, a higher slope and a higher asymptote."),
        ("good", "The head has 90.0% accuracy (88.0% to 92.0%) on 900 images."),
        ("good", "No picture was seen to be in two splits."),
    ]


@pytest.mark.parametrize(
    ("helps", "expected"),
    [
        ((True, False, False), ("good", "Transfer helped: it gave a higher start.")),
        ((True, False, True), ("good", "Transfer helped: it gave a higher start and a higher asymptote.")),
        (
            (False, False, False),
            (
                "bad",
                "Transfer did not help: neither a higher start, nor a higher slope, nor a higher asymptote.",
            ),
        ),
    ],
)
def test_transfer_comes_first_with_the_claims_that_hold(
    helps: tuple[bool, bool, bool], expected: tuple[str, str]
) -> None:
    assert said(transfer=claims(*helps))[0] == expected


def test_without_a_comparison_nothing_is_said_of_transfer() -> None:
    nothing: list[Any] = [None, {"claims": []}]
    for transfer in nothing:
        tone, text = said(transfer=transfer)[0]
        assert tone == "caution" and text.startswith("Whether transfer helped can't be said")


def test_a_head_that_is_no_better_than_the_majority_is_bad() -> None:
    tone, text = said(trust__metrics__majority_accuracy=0.89)[1]
    assert tone == "bad" and "not clearly more than the 89.0% of always answering rose" in text
    assert said(trust__metrics__majority_accuracy=0.87)[1][0] == "good"


def test_a_wide_interval_asks_for_more_images() -> None:
    tone, text = said(trust__metrics__accuracy_interval=[0.8, 0.95])[1]
    assert tone == "caution" and text.endswith("more test images would narrow that.")


def test_rough_probabilities_and_better_heads_are_named() -> None:
    row = {"is_head": False, "noise": False, "difference": [0.05, 0.02, 0.08], "head": "better-one"}
    board = [row, {"is_head": True}, {**row, "noise": True, "head": "other"}]
    lines = said(trust__leaderboard=board, trust__reliability__calibration_error=0.15)
    assert ("caution", "Head better-one is better on the same images, and not by chance.") in lines
    assert any(text.startswith("Its probabilities are 15 points off") for _, text in lines)
    board[0] = {**row, "difference": [-0.05, -0.08, -0.02]}
    none = "None of the 2 other heads is better on the same images by more than chance."
    assert ("good", none) in said(trust__leaderboard=board)
    one = "The one other head is not better on the same images by more than chance."
    assert ("good", one) in said(trust__leaderboard=board[:2])


def test_classes_without_a_test_image_are_named() -> None:
    lines = said(trust__metrics__per_class={"rose": {"support": 3}, "tulip": {"support": 0}})
    assert lines[2][0] == "caution" and lines[2][1].startswith("1 class has no test image")
    assert lines[2][1].endswith("say nothing of tulip.")


def test_copies_in_two_splits_come_with_the_score_without_them() -> None:
    without = {"images": 3, "accuracy": 0.85}
    pairs = COPIES | {"across_splits": 4}
    assert said(data__near_duplicates=pairs, trust__without_duplicates=without)[-1] == (
        "caution",
        "4 pictures are in two splits. Without the 3 test images with a copy in training, accuracy is 85.0%.",
    )
    assert said(data__near_duplicates=pairs)[-1] == ("caution", "4 pictures are in two splits.")
    assert said(data__near_duplicates=pairs, trust=None)[-1] == ("caution", "4 pictures are in two splits.")
    unread = said(data__near_duplicates=COPIES | {"pixels": False})[-1]
    assert unread[0] == "caution" and "could not be looked for" in unread[1]
    half = said(data__near_duplicates=COPIES | {"compared": 100, "not_compared": 101})[-1]
    assert half[1] == "No picture was seen to be in two splits among the 100 images that could be compared."
    assert said(data__near_duplicates=COPIES | {"across_labels": 1})[-1] == (
        "caution",
        "1 picture has different labels in different files: one of them is wrong.",
    )


def test_what_is_wrong_with_the_data_is_said() -> None:
    pair = {"classes": ["rose", "tulip"], "indistinguishable": True}
    lines = said(
        data__label_errors={"count": 7, "images": ["one"]},
        data__confused_classes=[pair, {**pair, "indistinguishable": False}],
        data__balance={"differs": True, "splits": [{"split": "test", "differs": True}]},
    )
    assert [text for _, text in lines[-3:]] == [
        "About 7 labels are likely wrong: those to look at first are named below.",
        "1 pair of classes can't be told apart by the features: rose and tulip.",
        "Classes have other shares in test than in train: figures may not hold elsewhere.",
    ]
    assert len(said(trust=None, data=None)) == 1
    assert len(said(data__confused_classes=None, data__balance=None)) == 3, "of several labels"


def test_weights_that_say_nothing_are_told() -> None:
    tone, text = said(table={"untrained": True, "tuned": False})[0]
    assert tone == "caution" and text.startswith("Nothing was transferred")
    tone, text = said(table={"untrained": False, "tuned": True})[1]
    assert tone == "caution" and text.startswith("The weights of the backbone were tuned on labels")


def test_a_gain_that_few_images_do_not_rule_out_is_no_no() -> None:
    tone, text = said(transfer=claims(False, False, False) | {"unseen": 0.45, "images": 12})[0]
    assert tone == "caution" and text.startswith("Transfer was not seen to help")
    assert "12 images can't rule out a gain of 45 points" in text
