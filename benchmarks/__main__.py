"""`python -m benchmarks`: the benchmark's command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.benchmark import Options, run_benchmark
from benchmarks.machine import load
from features.errors import BottleneckError
from pipelines.cli import add_flags

#: A load average above which it is said that others use the machine.
_BUSY = 0.5


def main(argv: list[str] | None = None) -> int:
    """Measure, print the tables and save them; the exit code."""
    arguments = _parser().parse_args(argv)
    quick = arguments.quick
    options = Options(
        data=arguments.data,
        weights=arguments.weights,
        output=arguments.output.expanduser().absolute(),
        quick=quick,
        rounds=arguments.rounds or (3 if quick else 5),
        images=arguments.images,
        flat=arguments.flat,
        million=arguments.million,
    )
    busy = load()
    if busy > _BUSY:
        print(
            f"bench: other programs keep this machine busy (load average {busy:.1f}): the figures will be "
            f"low, and vary",
            file=sys.stderr,
        )
    try:
        run_benchmark(options)
    except BottleneckError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this project beside the ways a user would take instead.",
        allow_abbrev=False,
    )
    add_flags(parser, "bench")
    parser.add_argument("--quick", action="store_true", help="the main table only, in minutes")
    parser.add_argument(
        "--rounds", type=_positive, default=None, metavar="N", help="rounds (default: 5; 3 with --quick)"
    )
    parser.add_argument(
        "--images",
        type=_positive,
        default=700,
        metavar="N",
        help="images of the main table; slow ways get fewer (default: 700)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("bench-results"),
        metavar="FOLDER",
        help="where tables, figures and logs go (default: bench-results)",
    )
    parser.add_argument(
        "--flat", action="store_true", help="also 2,000 against 20,000 images: takes very long"
    )
    parser.add_argument(
        "--million",
        action="store_true",
        help="stream 1,000,000 rows instead of 100,000 (needs 20 GB of disk)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
