from __future__ import annotations

import pytest

from features.errors import BottleneckError
from features.strengths import Kind, check_strength, parse_strengths

KINDS = {"flip": Kind("", None, 0), "crop": Kind("the most that is cut off", 0.1, 0.5)}


def test_names_have_the_strength_that_is_given_or_that_of_their_kind() -> None:
    assert parse_strengths(["crop", "flip"], KINDS) == {"crop": 0.1, "flip": None}
    assert parse_strengths([" crop = 0.5 "], KINDS) == {"crop": 0.5}
    assert parse_strengths([], KINDS) == {}


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["blur"], "there is no augmentation 'blur': choose from flip, crop, or none"),
        (["flip", "flip"], "the augmentation 'flip' is given twice"),
        (["flip=1"], "the augmentation flip takes no strength, and is given '1'"),
        *(
            (
                [f"crop={text}"],
                "the augmentation crop expects the most that is cut off, above 0 and at most 0.5, "
                f"not '{text}'",
            )
            for text in ("0", "0.51", "-0.1", "", "much", "nan")
        ),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(texts: list[str], sentence: str) -> None:
    with pytest.raises(BottleneckError) as error:
        parse_strengths(texts, KINDS, ", or none")
    assert str(error.value) == sentence


def test_a_strength_of_0_is_for_kinds_that_may_be_off() -> None:
    assert str(check_strength("crop", KINDS["crop"], -0.0, may_be_off=True)) == "0.0"
    with pytest.raises(BottleneckError, match="at least 0 and at most 0.5, not 0.6"):
        check_strength("crop", KINDS["crop"], 0.6, may_be_off=True)
