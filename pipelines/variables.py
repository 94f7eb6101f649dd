"""The variables of `make` and the flags of `bottlenecks`: name, default, meaning, and who takes them.

Use it to change a default, or to give a command another variable: this is the only place. `pipelines.cli`
makes its flags from `VARIABLES` (`add_arguments`). The Makefile runs this file as a script, before anything
is installed and with whatever `python3` there is: hence the standard library only, nothing imported from
this project, and no syntax newer than Python 3.8.

    python3 pipelines/variables.py              # the table that `make help` prints
    python3 pipelines/variables.py predict      # STORE=--store WEIGHTS=--weights and so on: what it takes
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple


def count(text: str) -> int:
    """`text` as a number from 0 up; argparse turns the error into its own."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


class Variable(NamedTuple):
    """One variable of `make`, and the command's flag of the same name.

    Attributes:
        name: as given to make: `BEAM_ARGS`.
        default: what holds when it is not given; `""` for nothing, None when there is none and it must be.
        commands: the sub-commands of `bottlenecks` that take it; empty for one that only make knows.
        help: what it is, in a line.
        choices: the only values it may have; empty for any.
        convert: from text to what the command works with.
    """

    name: str
    default: str | None
    commands: tuple[str, ...]
    help: str
    choices: tuple[str, ...] = ()
    convert: Callable[[str], Any] = str

    @property
    def destination(self) -> str:
        """Where argparse keeps the value."""
        return self.name.lower()

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


VARIABLES = (
    Variable(
        "DATA",
        "auto",
        ("extract", "bench"),
        "images: a folder with a sub-folder per class, a CSV file, flowers or digits; "
        "auto takes flowers, or digits where flowers cannot be downloaded",
        convert=os.path.expanduser,
    ),
    Variable(
        "STORE",
        "store",
        ("extract", "train-head", "predict", "info"),
        "folder that holds the features and the heads",
        convert=os.path.expanduser,
    ),
    Variable(
        "WEIGHTS",
        "auto",
        ("extract", "predict", "bench"),
        "weights of Inception V3: a .weights.h5, .h5 or .keras file, imagenet or random; "
        "auto takes imagenet, or random where imagenet cannot be downloaded",
        convert=os.path.expanduser,
    ),
    Variable(
        "LAYERS",
        "avg_pool",
        ("extract", "train-head"),
        "layers whose features are stored or trained from, with commas between them: "
        "avg_pool, mixed0 to mixed10",
    ),
    Variable(
        "ENGINE",
        "auto",
        ("extract", "predict"),
        "what runs Inception V3; auto takes openvino, or tensorflow where there is a GPU",
        choices=("auto", "openvino", "tensorflow"),
    ),
    Variable(
        "PRECISION",
        "auto",
        ("extract",),
        "precision of its arithmetic; auto takes bfloat16 for a new table where the processor has it and the "
        "first images allow it",
        choices=("auto", "float32", "bfloat16"),
    ),
    Variable(
        "VIEWS",
        "0",
        ("extract",),
        "augmented views of each training image, besides the image itself",
        convert=count,
    ),
    Variable(
        "FEATURES",
        "inception_v3",
        ("extract", "train-head", "predict", "info"),
        "name of the table of features in the store",
    ),
    Variable(
        "HEAD",
        "logistic",
        ("train-head",),
        "kind of head: logistic (scikit-learn) or dense (Keras)",
        choices=("logistic", "dense"),
    ),
    Variable(
        "IMAGES",
        None,
        ("predict",),
        "images to label: a file or a folder",
        convert=os.path.expanduser,
    ),
    Variable("RUNNER", "local", ("extract",), "where the pipeline runs: local, or the name of a Beam runner"),
    Variable(
        "BEAM_ARGS",
        "",
        ("extract",),
        "flags for Beam itself, such as '--project=mine --region=here'",
        convert=shlex.split,
    ),
    Variable("ARGS", "", (), "further flags of the one command that is run; see ARGS=--help"),
    Variable("PYTHON", "", (), "Python 3.11 to 3.13 that .venv is made with; otherwise found on the PATH"),
)


def default_of(name: str) -> str:
    """The default of a variable that has one."""
    (default,) = (variable.default for variable in VARIABLES if variable.name == name)
    return default or ""


def variables_of(command: str) -> list[Variable]:
    """The variables that a sub-command of `bottlenecks` takes."""
    return [variable for variable in VARIABLES if command in variable.commands]


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Give `parser` a flag for each variable that `command` takes: `--data` for `DATA`, and so on.

    The parsed values are text, but for `views` (int) and `beam_args` (list of str); in paths `~` is expanded.
    """
    for variable in variables_of(command):
        parser.add_argument(
            variable.flag,
            default=variable.default,
            required=variable.default is None,
            type=variable.convert,
            choices=variable.choices or None,
            metavar=None if variable.choices else variable.name,
            help=variable.help + (f" (default: {variable.default})" if variable.default else ""),
        )


def table(width: int = 100) -> str:
    """Every variable with its default, its meaning and the targets that take it, for `make help`."""
    lines = []
    for variable in VARIABLES:
        default = "(needed)" if variable.default is None else variable.default or "(none)"
        takers = f" [{', '.join(variable.commands)}]" if variable.commands else ""
        head = f"  {variable.name:<11}{default:<14}"
        lines += textwrap.wrap(
            variable.help + takers, width, initial_indent=head, subsequent_indent=" " * len(head)
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the table, or what one command takes, as `NAME=--flag` with spaces between."""
    if not arguments:
        print(table())
        return 0
    taken = variables_of(arguments[0])
    if not taken:
        commands = sorted({command for variable in VARIABLES for command in variable.commands})
        print(f"{arguments[0]!r} takes no variables: expected {', '.join(commands)}", file=sys.stderr)
        return 1
    print(" ".join(f"{variable.name}={variable.flag}" for variable in taken))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
