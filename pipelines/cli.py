"""The command `bottlenecks`: its sub-commands, their flags, and how their faults are told."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from features.errors import BottleneckError
from pipelines.options import ExtractOptions, PredictOptions, TrainOptions
from pipelines.variables import add_arguments

Options = TypeVar("Options")

#: What a shell reports of a process that Ctrl-C ended.
_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; the exit code.

    Faults that the user can mend are told in one sentence; `--debug` shows where they were raised.
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except BottleneckError as error:
        if arguments.debug:
            raise
        print(f"bottlenecks {arguments.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        name = type(error).__name__
        print(
            f"bottlenecks {arguments.command}: unexpected {name}: {error} (--debug shows where)",
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
        help="images in one commit: what a stop can lose (default: 4,096 locally, 250,000 on a cluster)",
    )

    train = add("train-head", "train and test a head from stored features", _train_head)
    train.add_argument(
        "--seed", type=int, default=TrainOptions().seed, help="of everything random (default: %(default)s)"
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
    from pipelines.report import summary_text

    if arguments.views:
        raise BottleneckError(
            f"VIEWS={arguments.views}: augmented views can't be extracted yet, leave VIEWS at 0"
        )
    options = _options(ExtractOptions, arguments)
    summary = extract(options, debug=arguments.debug)
    print(summary_text(summary, options), flush=True)
    if summary.rejected_share() > options.max_rejected:
        raise BottleneckError(
            f"{summary.rejected_share():.0%} of the images tried were rejected, more than "
            f"--max-rejected {options.max_rejected:g} allows; the others are stored"
        )
    return 0


def _train_head(arguments: argparse.Namespace) -> int:
    from pipelines.train import train

    print(train(_options(TrainOptions, arguments), debug=arguments.debug))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from pipelines.predict import predict

    predict(_options(PredictOptions, arguments), debug=arguments.debug)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from pipelines.report import info_text

    print(info_text(arguments.store, arguments.features))
    return 0


if __name__ == "__main__":
    run()
