"""The library's words, as those who gave variables and flags read them."""

from __future__ import annotations

import pytest

from pipelines.options import ExtractOptions, InfoOptions
from pipelines.wording import in_words_of_commands, make_command, table_name

OPTIONS = InfoOptions(store="/s", backbone="resnet50", features="t")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("name a new table with `features=NAME`", "name a new table with FEATURES=NAME"),
        ("lower `min_images`", "lower --min-images"),
        ("name one with `features`, or `id`", "name one with FEATURES, or HEAD_ID"),
        ("say `splits=a b=train,c=test`", "say --splits a b=train,c=test"),
        ("train with `kind=dense`", "train with HEAD=dense"),
        ("the image /lake/data=2024/layers=3.jpg", "the image /lake/data=2024/layers=3.jpg"),
        ("no option: `shape=3` and `make`", "no option: `shape=3` and `make`"),
        (
            "there is none: train a head first",
            "there is none: run `make train-head STORE=/s BACKBONE=resnet50 FEATURES=t` first",
        ),
        (
            "there is none: extract features first",
            "there is none: run `make extract STORE=/s BACKBONE=resnet50 FEATURES=t` first",
        ),
    ],
)
def test_parameters_become_variables_and_flags(message: str, expected: str) -> None:
    assert in_words_of_commands(message, OPTIONS) == expected


def test_a_command_names_the_store_and_the_table_unless_they_are_the_default() -> None:
    assert make_command("info", "store", None, None) == "make info"
    assert make_command("info", "store", "inception_v3", "inception_v3") == "make info"
    assert make_command("info", "store", "resnet50", "resnet50") == "make info BACKBONE=resnet50"
    assert make_command("info", "store", "x", "resnet50") == "make info BACKBONE=resnet50 FEATURES=x"
    assert make_command("info", "store", "resnet50", None) == "make info FEATURES=resnet50"
    assert (
        make_command("predict", "my store", "x", None, "IMAGES=…")
        == "make predict IMAGES=… STORE='my store' FEATURES=x"
    )


def test_a_table_is_named_after_its_backbone() -> None:
    assert table_name(ExtractOptions()) == "inception_v3"
    assert table_name(ExtractOptions(backbone="resnet50")) == "resnet50"
    assert table_name(ExtractOptions(backbone="resnet50", features="mine")) == "mine"
