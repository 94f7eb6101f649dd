"""The command `bottlenecks`: its sub-commands, their flags, and how their faults are told."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import gc
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from features.errors import BottleneckError
from features.inputs import CLASSES
from features.splits import parse_split
from features.text import printable
from pipelines.options import IF_RUNNING, ExtractOptions, PredictOptions, TrainOptions
from pipelines.variables import add_arguments, count, variables_of

Options = TypeVar("Options")

#: What a shell reports of a process that Ctrl-C ended.
_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; the exit code.

    Faults that the user can mend are told in one sentence; `--debug` shows where they were raised.
    """
    arguments = _parser().parse_args(argv)
    try:
        _refuse_empty(arguments)
        return arguments.run(arguments)
    except BottleneckError as error:
        if arguments.debug:
            raise
        message = _with_store(printable(error), arguments)
        print(f"bottlenecks {arguments.command}: {message}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if arguments.debug:
            raise
        print(
            f"bottlenecks {arguments.command}: {printable(error)} (--debug shows where)",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        name = type(error).__name__
        print(
            f"bottlenecks {arguments.command}: unexpected {name}: {printable(error)} (--debug shows where)",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        stays = "; what was committed stays" if arguments.command == "extract" else ""
        print(f"bottlenecks {arguments.command}: stopped{stays}", file=sys.stderr)
        return _INTERRUPTED


def run() -> NoReturn:
    """The command itself: `main`, for a process that does nothing else.

    Garbage is looked for less often, since importing Beam makes half a million objects that stay.
    """
    gc.set_threshold(100_000)
    leave(main())


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart piece by piece.

    That takes as long as a dozen images, and now and then TensorFlow's threads bring it down meanwhile.
    """
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bottlenecks",
        description="Run Inception V3 once over images, keep its bottleneck features, train heads from them.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = functools.partial(_add_command, commands)

    extract_defaults = ExtractOptions()
    extract = add("extract", "extract the features of new and changed images", _extract)
    extract.add_argument(
        "--exif-orientation",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="turn photos as their EXIF data say (default: as the table was made, or not)",
    )
    extract.add_argument(
        "--max-rejected",
        type=_share,
        default=extract_defaults.max_rejected,
        metavar="SHARE",
        help="fail, at the end, when more of the tried images are bad (default: %(default)s)",
    )
    extract.add_argument("--retry-rejected", action="store_true", help="try rejected images again")
    extract.add_argument(
        "--remove-gone",
        action="store_true",
        help="take images that the input no longer has out of the tables (older versions keep them)",
    )
    extract.add_argument(
        "--chunk-size",
        type=_positive,
        default=extract_defaults.chunk_size,
        metavar="N",
        help="images in one slice, at most: what a stop can lose (default: %(default)s)",
    )
    extract.add_argument(
        "--if-running",
        choices=IF_RUNNING,
        default=extract_defaults.if_running,
        help="where another run is at work on the table, wait until it ends, or skip the images that it has "
        "planned (default: %(default)s)",
    )
    extract.add_argument(
        "--splits",
        type=_splits,
        default=None,
        metavar="FOLDER=SPLIT,…",
        help="which folders of DATA are which split, train, validation or test; others are left out "
        "(default: as the table was made, or those named like splits)",
    )
    extract.add_argument(
        "--classes",
        choices=CLASSES,
        default=None,
        help="which folder above an image is its class, where there are several "
        "(default: as the table was made, or the top one unless that is unclear)",
    )

    train = add("train-head", "train and test a head from stored features", _train_head)
    train.add_argument(
        "--seed", type=count, default=TrainOptions().seed, help="of everything random (default: %(default)s)"
    )
    train.add_argument(
        "--min-images",
        type=_positive,
        default=TrainOptions().min_images,
        metavar="N",
        help="leave out classes with fewer training images (default: %(default)s)",
    )
    train.add_argument(
        "--hidden",
        type=_positive,
        default=None,
        metavar="N",
        help="units of a hidden layer, for HEAD=dense (default: none)",
    )

    predict = add("predict", "label images with the current head", _predict)
    predict.add_argument("--head-id", default=None, metavar="ID", help="another head than the current one")
    predict.add_argument(
        "--output",
        type=lambda text: Path(text).expanduser(),
        default=None,
        metavar="FILE",
        help="a .csv or .parquet file (default: CSV on the standard output)",
    )

    add("info", "show tables, recipes, counts and heads", _info)
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    about: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    add_arguments(command, name)
    command.add_argument("--debug", action="store_true", help="show tracebacks and every log line")
    command.set_defaults(run=run)
    return command


def _show(text: str) -> None:
    """Print lines for people; no name in them can reach the terminal as a command."""
    print(printable(text, keep="\n"), flush=True)


#: What messages of the libraries say, as a command or an option.
_IN_WORDS_OF_MAKE = {
    "extract features first": "run `make extract` first",
    "train a head first": "run `make train-head` first",
    "lower min_images": "lower --min-images",
    "kind='dense'": "HEAD=dense",
}


def _with_store(message: str, arguments: argparse.Namespace) -> str:
    """The same message with the store and the table that were given in each command that it tells to run."""
    from pipelines.report import make_command

    for words, command in _IN_WORDS_OF_MAKE.items():
        message = message.replace(words, command)

    def complete(command: re.Match[str]) -> str:
        return f"`{make_command(command[1], arguments.store, arguments.features)}`"

    return re.sub(r"`make ([a-z-]+)`", complete, message)


def _refuse_empty(arguments: argparse.Namespace) -> None:
    """A variable that was given and is empty is a mistake in a script, not a wish for the default."""
    for variable in variables_of(arguments.command):
        if variable.default != "" and getattr(arguments, variable.destination) == "":
            default = f", or leave it out for the default, {variable.default}" if variable.default else ""
            raise BottleneckError(f"{variable.name} is empty: give it a value{default}")


def _splits(text: str) -> dict[str, str]:
    pairs = [pair.rpartition("=") for pair in text.split(",")]
    splits = {folder.strip(): parse_split(split) for folder, _, split in pairs}
    if not all(folder and split for folder, split in splits.items()) or len(splits) < len(pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not like site_a=train,site_b=test")
    return {folder: split for folder, split in splits.items() if split}


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share between 0 and 1")
    return share


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _options(kind: type[Options], arguments: argparse.Namespace) -> Options:
    """The flags that `kind` has a field for."""
    return kind(**{name: getattr(arguments, name) for name in kind._fields})  # type: ignore[attr-defined]


def _extract(arguments: argparse.Namespace) -> int:
    from pipelines.driver import extract
    from pipelines.report import rejection_error, summary_text

    if arguments.views:
        raise BottleneckError(
            f"VIEWS={arguments.views}: augmented views can't be extracted yet, leave VIEWS at 0"
        )
    options = _options(ExtractOptions, arguments)
    summary = extract(options, debug=arguments.debug)
    _show(summary_text(summary, options))
    if error := rejection_error(summary, options):
        raise BottleneckError(error)
    return 0


def _train_head(arguments: argparse.Namespace) -> int:
    from pipelines.train import train

    _show(train(_options(TrainOptions, arguments), debug=arguments.debug))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from pipelines.predict import predict

    predict(_options(PredictOptions, arguments), debug=arguments.debug)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from pipelines.report import info_text

    _show(info_text(arguments.store, arguments.features))
    return 0


if __name__ == "__main__":
    run()
