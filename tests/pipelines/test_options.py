"""The one table of options: as flags, as variables of make, and as a script."""

from __future__ import annotations

import argparse
import os
from typing import Any

import pytest

from pipelines import options
from pipelines.cli import KINDS, add_flags
from pipelines.options import (
    EndToEndOptions,
    EvaluateOptions,
    ExtractOptions,
    FineTuneOptions,
    InfoOptions,
    Option,
    Options,
    PredictOptions,
    PromoteOptions,
    ReportOptions,
    TrainOptions,
)

COMMANDS = (
    *(ExtractOptions, TrainOptions, EndToEndOptions, FineTuneOptions),
    *(PromoteOptions, PredictOptions, EvaluateOptions, ReportOptions, InfoOptions),
)


def parse(command: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_flags(parser, command)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("kind", COMMANDS)
def test_what_is_not_given_has_the_default_of_the_table(kind: type[Options]) -> None:
    needed = ["--images=photos"] if kind is PredictOptions else []
    values = vars(parse(kind.command, *needed))
    assert values | {"images": None} == vars(kind()) | {"images": None}
    assert values["store"] == "store" and values["features"] is None


def test_a_given_default_is_told_apart_from_nothing_given() -> None:
    assert parse("extract").layers is None
    assert parse("extract", "--layers=avg_pool").layers == "avg_pool"
    assert parse("extract", "--backbone=inception_v3").backbone == "inception_v3"


def test_extract_gets_numbers_lists_and_paths_as_it_works_with_them() -> None:
    values = parse(
        "extract",
        "--data=~/my photos",
        "--views=3",
        "--beam-args=--project=mine --label='a b'",
        "--no-exif-orientation",
        "--max-rejected=0.5",
        "--chunk-size=7",
        "--retry-rejected",
    )
    assert values.data == os.path.expanduser("~/my photos")
    assert (values.views, values.max_rejected, values.chunk_size) == (3, 0.5, 7)
    assert values.beam_args == ["--project=mine", "--label=a b"]
    assert (values.exif_orientation, values.retry_rejected, values.remove_gone) == (False, True, False)
    assert not parse("extract").beam_args
    assert [parse("extract", f"--max-rejected={share}").max_rejected for share in "01"] == [0, 1]


def test_parameters_of_a_head_add_up() -> None:
    assert parse("train-head", "--set", "C=2", "--set", "seed=3").set == ["C=2", "seed=3"]


@pytest.mark.parametrize("data", ["auto", "digits", "gs://bucket/photos"])
def test_names_and_urls_are_not_taken_for_paths(data: str) -> None:
    assert parse("extract", f"--data={data}").data == data


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("extract", "--views=-1", "'-1' is not a whole number from 0 up"),
        ("extract", "--views=two", "'two' is not a whole number from 0 up"),
        ("extract", "--chunk-size=0", "'0' is not a whole number from 1 up"),
        ("extract", "--max-rejected=2", "2 is not a share between 0 and 1"),
        ("extract", "--engine=onnx", "invalid choice: 'onnx'"),
        ("extract", "--backbone=vgg16", "invalid choice: 'vgg16'"),
        ("train-head", "--head=forest", "invalid choice: 'forest'"),
        ("train-head", "--data=photos", "unrecognized arguments: --data=photos"),
        ("predict", "--store=here", "required: --images"),
    ],
)
def test_what_does_not_fit_is_refused(
    command: str, argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(command, argument)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", COMMANDS)
def test_help_of_a_command_shows_every_flag_and_its_default(kind: type[Options]) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, kind.command)
    shown = " ".join(parser.format_help().split())
    for option in options.options_of(kind.command):
        assert option.flag in shown
        assert f"(default: {option.default_text})" in shown or not option.default_text


def test_help_of_training_end_to_end_says_what_follows_the_table() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, "train-end-to-end")
    shown = " ".join(parser.format_help().split())
    for text in ("auto takes that of the table", "auto takes those of the table", "by default of those that"):
        assert text in shown


def test_every_option_is_read_in_a_known_way_and_taken_by_somebody() -> None:
    commands = {kind.command for kind in COMMANDS} | {"bench"}
    for option in options.OPTIONS:
        assert option.kind in KINDS and commands >= set(option.commands), option.name
        assert option.commands or option.make, option.name


def test_options_of_another_command_are_unknown() -> None:
    with pytest.raises(TypeError, match="^train-head has no option data, images$"):
        TrainOptions(images="some", data="photos")
    with pytest.raises(AttributeError, match="info has no option 'weights'"):
        _: Any = InfoOptions().weights
    assert ExtractOptions(data="a").replace(store="b").data == "a"


MADE_UP = (
    Option("data", "auto", ("extract", "bench"), "images of a folder", make=True),
    Option("layers", None, ("extract",), "what to store", make=True, unset="avg_pool"),
    Option("images", None, ("predict",), "what to label", make=True, needed=True),
    Option("views", 0, ("extract",), "not on the command line's terms", make=True, kind="count"),
    Option("python", "", (), "which Python", make=True),
    Option("seed", None, ("extract",), "no variable of make", unset="0"),
)


def test_the_table_says_of_each_variable_its_default_its_meaning_and_who_takes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(options, "OPTIONS", MADE_UP)
    assert options.table(60) == (
        "  DATA       auto            images of a folder [extract,\n"
        "                             bench]\n"
        "  LAYERS     avg_pool        what to store [extract]\n"
        "  IMAGES     (needed)        what to label [predict]\n"
        "  VIEWS      0               not on the command line's terms\n"
        "                             [extract]\n"
        "  PYTHON     (none)          which Python"
    )
    assert options.main([]) == 0
    assert capsys.readouterr() == (options.table(100) + "\n", "")
    for length, lines in ((61, 1), (62, 2)):  # 100 and 101 characters
        monkeypatch.setattr(options, "OPTIONS", [MADE_UP[1]._replace(help="x" * length)])
        assert len(options.table().splitlines()) == lines


def test_what_a_command_takes_is_printed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.main(["train-head"]) == 0
    assert capsys.readouterr() == (
        "STORE=--store BACKBONE=--backbone LAYERS=--layers VIEWS=--views FEATURES=--features HEAD=--head\n",
        "",
    )
    assert options.main(["predict"]) == 0
    assert capsys.readouterr().out.endswith(" HEAD_ID=--head-id IMAGES=--images\n")


def test_a_command_that_is_not_known_takes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.main(["train"]) == 1
    commands = (
        "bench, evaluate, extract, fine-tune, info, predict, promote, report, train-end-to-end, train-head"
    )
    assert capsys.readouterr() == ("", f"'train' takes no variables: expected {commands}\n")
