"""The one table of variables, as argparse flags and as a script."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import variables

COMMANDS = ("extract", "train-head", "predict", "info")


def parse(command: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    variables.add_arguments(parser, command)
    return parser.parse_args(arguments)


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the file as the Makefile does; -S and -I leave it nothing but the standard library."""
    command = [sys.executable, "-S", "-I", str(Path(variables.__file__)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"LC_ALL": "C"})


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_given_has_the_default_of_the_table(command: str) -> None:
    needed = ["--images=photos"] if command == "predict" else []
    found = vars(parse(command, *needed))
    assert found["store"] == "store"
    assert found["features"] == "inception_v3"
    assert found.keys() == {variable.name.lower() for variable in variables.variables_of(command)}


def test_extract_gets_numbers_lists_and_paths_as_it_works_with_them() -> None:
    found = parse("extract", "--data=~/my photos", "--views=3", "--beam-args=--project=mine --label='a b'")
    assert found.data == os.path.expanduser("~/my photos")
    assert found.views == 3
    assert found.beam_args == ["--project=mine", "--label=a b"]
    assert parse("extract").beam_args == []
    assert parse("extract").views == 0


@pytest.mark.parametrize("data", ["auto", "digits", "gs://bucket/photos"])
def test_names_and_urls_are_not_taken_for_paths(data: str) -> None:
    assert parse("extract", f"--data={data}").data == data


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("extract", "--views=-1", "'-1' is not a whole number from 0 up"),
        ("extract", "--views=two", "'two' is not a whole number from 0 up"),
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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_every_flag_and_its_default(command: str) -> None:
    parser = argparse.ArgumentParser()
    variables.add_arguments(parser, command)
    shown = " ".join(parser.format_help().split())
    for variable in variables.variables_of(command):
        assert variable.flag in shown
        assert f"(default: {variable.default})" in shown or not variable.default


def test_every_default_is_one_of_the_choices() -> None:
    for variable in variables.VARIABLES:
        assert not variable.choices or variable.default in variable.choices, variable.name


def test_the_script_prints_the_table_without_anything_installed() -> None:
    result = run_script()
    assert result.returncode == 0, result.stderr
    for variable in variables.VARIABLES:
        line = next(line for line in result.stdout.splitlines() if line.startswith(f"  {variable.name} "))
        assert variable.default is None or variable.default in line


def test_the_script_prints_what_a_command_takes() -> None:
    result = run_script("train-head")
    assert result.stdout.split() == ["STORE=--store", "LAYERS=--layers", "FEATURES=--features", "HEAD=--head"]


def test_the_script_refuses_a_command_that_it_does_not_know() -> None:
    result = run_script("train")
    assert result.returncode == 1
    assert result.stderr == "'train' takes no variables: expected bench, extract, info, predict, train-head\n"
