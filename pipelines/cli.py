"""The command `bottlenecks`: its sub-commands, their flags, and how their errors are shown."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from features.errors import BottleneckError, TooManyRejected
from features.text import printable
from pipelines.options import (
    EndToEndOptions,
    EvaluateOptions,
    ExtractOptions,
    FineTuneOptions,
    InfoOptions,
    Options,
    PredictOptions,
    PromoteOptions,
    ReportOptions,
    TrainOptions,
    options_of,
)
from pipelines.process import leave
from pipelines.wording import in_words_of_commands

#: What a shell reports of a process that Ctrl-C ended, and of one that a scheduler ended by SIGTERM.
_INTERRUPTED, _TERMINATED = 130, 143
#: Of an error that nobody foresaw, and of one of the file system, such as a full disk: EX_SOFTWARE and
#: EX_IOERR of sysexits.h.
_UNEXPECTED, _INPUT_OUTPUT = 70, 74
#: Commands whose `--json` is one line, also where they fail.
_JSON_LINE = (ExtractOptions, TrainOptions, PromoteOptions)


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a scheduler sends is handled as Ctrl-C is."""


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; the exit code.

    Errors that the user can correct are shown as one sentence; `--debug` shows where they were raised.
    """
    arguments = _parser().parse_args(argv)
    command = f"bottlenecks {arguments.command}"
    try:
        options = _options(arguments)
        arguments.run(options, arguments.debug)
        return 0
    except KeyboardInterrupt as error:
        stays = "; what was committed stays, run it again to go on" if arguments.command == "extract" else ""
        print(f"{command}: stopped{stays}", file=sys.stderr)
        return _TERMINATED if isinstance(error, Terminated) else _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed it, as `head` does: nobody would see a message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        sentence, code = _sentence(error, arguments), _exit_code(error)
        print(f"{command}: {sentence}", file=sys.stderr)
        if arguments.kind in _JSON_LINE and arguments.json:
            _print_failure(error, sentence, code, arguments.command)
        return code


def _print_failure(error: Exception, sentence: str, code: int, command: str) -> None:
    """The line of JSON of a command that failed, for a scheduler, with the figures that the error has."""
    from pipelines.json_line import print_json

    facts = error.facts if isinstance(error, BottleneckError) else {}
    print_json({**facts, "command": command, "status": "failed", "exit_code": code, "error": sentence})


def run() -> NoReturn:
    """The command itself: `main`, for a process that does nothing else."""
    signal.signal(signal.SIGTERM, _terminate)
    leave(main())


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _exit_code(error: Exception) -> int:
    """What a scheduler is told: see docs/schedule.md."""
    if isinstance(error, BottleneckError):
        return error.exit_code
    return _INPUT_OUTPUT if isinstance(error, OSError) else _UNEXPECTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bottlenecks",
        description="Run a network once over images, keep its bottleneck features, train heads from them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and end")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for kind, about, run in (
        (ExtractOptions, "extract the features of new and changed images", _extract),
        (TrainOptions, "train and test a head from stored features", _train_head),
        (EndToEndOptions, "train a head on the frozen backbone, from augmented images", _train_end_to_end),
        (FineTuneOptions, "train a head and the last blocks of its backbone on", _fine_tune),
        (PromoteOptions, "make a head the current one, if it is no worse on the same test images", _promote),
        (PredictOptions, "label images with a head", _predict),
        (EvaluateOptions, "say whether transfer helped, and a head and its data can be trusted", _evaluate),
        (ReportOptions, "make a page of the evidence on a head: one HTML file", _report),
        (InfoOptions, "show tables, recipes, counts and heads", _info),
    ):
        command = commands.add_parser(kind.command, help=about, description=about, allow_abbrev=False)
        add_flags(command, kind.command)
        command.add_argument("--debug", action="store_true", help="show tracebacks and every log line")
        command.set_defaults(run=run, kind=kind)
    return parser


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"bottlenecks {version('bottleneck-features')}")
        parser.exit()


def add_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """Give `parser` a flag for each option that `command` takes."""
    for option in options_of(command):
        choices = [name for choice in option.choices for name in _choices(choice)]
        default = f" (default: {option.default_text})" if option.default_text else ""
        more = {**KINDS[option.kind], **({"choices": choices} if choices else {})}
        if not choices and option.kind not in _SWITCHES:
            more["metavar"] = option.variable
        text = f"{option.help}{default}".replace("%", "%%")
        parser.add_argument(option.flag, default=option.default, required=option.needed, help=text, **more)


def _choices(choice: str) -> list[str]:
    """A choice, or the names in the registry that it stands for."""
    module, _, name = choice.partition(":")
    return list(getattr(importlib.import_module(module), name)) if name else [choice]


def _count(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
    return int(text)


def _float(text: str) -> float:
    """NaN for what is no number: it is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _share(text: str) -> float:
    share = _float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share between 0 and 1")
    return share


def _number(text: str) -> float:
    number = _float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


#: How the text of an option is read (`pipelines.options.Option.kind`): arguments of argparse.
KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "path": {"type": os.path.expanduser},
    "count": {"type": _count},
    "positive": {"type": functools.partial(_count, least=1)},
    "share": {"type": _share},
    "number": {"type": _number},
    "words": {"type": shlex.split},
    "list": {"action": "append"},
    "switch": {"action": "store_true"},
    "yes or no": {"action": argparse.BooleanOptionalAction},
}
_SWITCHES = ("switch", "yes or no")


def _options(arguments: argparse.Namespace) -> Options:
    """The parsed values; what was given and is empty is a mistake in a script, not a wish for the default."""
    options = arguments.kind(**{name: getattr(arguments, name) for name in vars(arguments.kind())})
    for option in options_of(options.command):
        if option.default != "" and getattr(options, option.name) == "":
            hint = f", or leave it out for the default, {option.default_text}" if option.default_text else ""
            raise BottleneckError(f"`{option.name}` is empty: give it a value{hint}")
    return options


def _sentence(error: Exception, arguments: argparse.Namespace) -> str:
    """What went wrong, in the command line's words."""
    text = printable(error)
    if isinstance(error, BottleneckError):
        given = {name: getattr(arguments, name) for name in ("store", "features", "backbone")}
        return in_words_of_commands(text, arguments.kind(**given))
    unexpected = "" if isinstance(error, OSError) else f"unexpected {type(error).__name__}: "
    return f"{unexpected}{text} (--debug shows where)"


def _show(text: str) -> None:
    """Print lines for people; no name in them can reach the terminal as a command."""
    print(printable(text, keep="\n"), flush=True)


def _extract(options: ExtractOptions, debug: bool) -> None:
    from pipelines.driver import extract
    from pipelines.output import rejection_error, summary_facts, summary_text

    summary = extract(options, debug=debug)
    error = rejection_error(summary, options)
    if options.json and error:
        raise TooManyRejected(error, facts=summary_facts(summary, options))
    if options.json:
        from pipelines.json_line import print_json

        print_json(summary_facts(summary, options))
    else:
        _show(summary_text(summary, options))
    if error:
        raise TooManyRejected(error)


def _train_head(options: TrainOptions, debug: bool) -> None:
    from pipelines.train import train

    _show_head(train, options, debug)


def _train_end_to_end(options: EndToEndOptions, debug: bool) -> None:
    from pipelines.pixel_training import train_end_to_end

    _show_head(train_end_to_end, options, debug)


def _fine_tune(options: FineTuneOptions, debug: bool) -> None:
    from pipelines.pixel_training import fine_tune

    _show_head(fine_tune, options, debug)


def _show_head(train: Callable[..., str], options: Options, debug: bool) -> None:
    """Show what a command that trains has to say, also where the head is not logged to MLflow."""
    from pipelines.tracking import NotLogged

    try:
        _show(train(options, debug=debug))
    except NotLogged as error:
        if getattr(options, "json", False):
            error.facts = json.loads(error.summary)
        else:
            _show(error.summary)
        raise


def _promote(options: PromoteOptions, debug: bool) -> None:
    from pipelines.promote import promote

    _show(promote(options, debug=debug))


def _predict(options: PredictOptions, debug: bool) -> None:
    from pipelines.predict import predict

    predict(options, debug=debug)


def _evaluate(options: EvaluateOptions, debug: bool) -> None:
    from pipelines.evaluate import evaluate

    _show(evaluate(options, debug=debug))


def _report(options: ReportOptions, debug: bool) -> None:
    from pipelines.evaluate import report

    _show(report(options, debug=debug))


def _info(options: InfoOptions, debug: bool) -> None:
    from pipelines.output import info_text

    _show(info_text(options))


if __name__ == "__main__":
    run()
