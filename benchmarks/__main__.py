"""`python -m benchmarks`: the benchmark's command."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from benchmarks import extraction, stored
from benchmarks.images import find_photos
from benchmarks.machine import describe_machine
from benchmarks.network import NAME
from benchmarks.prepare import prepare
from benchmarks.report import REPORT, Report
from benchmarks.setting import Bench
from features.backbones import get_backbone
from features.backbones.weights import find_weights
from features.errors import BottleneckError
from pipelines.cli import add_flags
from pipelines.options import InfoOptions
from pipelines.screen import show_download
from pipelines.wording import in_words_of_commands

_ROUNDS, _IMAGES = 3, 700


def main(argv: list[str] | None = None) -> int:
    """Measure, print the tables and save them; the exit code."""
    options = _parser().parse_args(argv)
    try:
        _run(options, options.output.expanduser().absolute())
    except BottleneckError as error:
        print(f"bench: {in_words_of_commands(str(error), InfoOptions())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace, output: Path) -> None:
    """Measure, print each section when it is ready, and save it in the output folder.

    Raises:
        BottleneckError: where a way fails, or did other work than this project.
    """
    logs = output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for old in logs.glob("*.log"):
        old.unlink()
    source = find_weights(options.weights, get_backbone(NAME), show_download)
    for notice in source.notices:
        print(notice)
    name, photos = find_photos(options.data, options.images)
    different = f" ({len(photos):,} different ones)" if len(photos) < options.images else ""
    subject = f"{options.images:,} images of {Path(name).name}{different} and weights {source.name}"
    report = Report(output, _command(options), describe_machine(), subject)
    prepared = prepare(source, logs / "prepare.log", quick=options.quick)
    with tempfile.TemporaryDirectory(prefix="bottlenecks-bench-") as folder:
        bench = Bench(photos, prepared, Path(folder), logs, options.rounds)
        report.add(extraction.extraction(bench, options.images, quick=options.quick))
        report.add(extraction.accuracy(bench))
        if not options.quick:
            _add_sections(report, bench, large=options.large)
    print(f"The report is {output / REPORT}")


def _add_sections(report: Report, bench: Bench, *, large: bool) -> None:
    """All that only a full benchmark measures."""
    report.add(extraction.inference(bench))
    report.add(extraction.stages(bench))
    report.add(extraction.workflows(bench))
    report.add(stored.heads(bench))
    report.add(stored.nothing_to_do(bench))
    report.add(stored.streaming(bench, 1_000_000 if large else 100_000))
    if large:
        report.add(extraction.flatness(bench))


def _command(options: argparse.Namespace) -> str:
    """How to ask for the same again; images and weights are named elsewhere, their paths differ."""
    flags = ["--large"] if options.large else []
    if options.rounds != _ROUNDS:
        flags.append(f"--rounds {options.rounds}")
    if options.images != _IMAGES:
        flags.append(f"--images {options.images}")
    target = "make bench-quick" if options.quick else "make bench"
    return f"{target} ARGS={shlex.quote(' '.join(flags))}" if flags else target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this project beside the ways a user would take instead.",
        allow_abbrev=False,
    )
    add_flags(parser, "bench")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the main table only, in five minutes")
    size.add_argument(
        "--large",
        action="store_true",
        help="also 2,000 against 20,000 images, and 1,000,000 stored rows instead of 100,000: takes long, "
        "and 20 GB of disk",
    )
    parser.add_argument(
        "--rounds",
        type=_positive,
        default=_ROUNDS,
        metavar="N",
        help=f"how often each way is measured (default: {_ROUNDS})",
    )
    parser.add_argument(
        "--images",
        type=_positive,
        default=_IMAGES,
        metavar="N",
        help=f"images of the main table; slow ways get fewer (default: {_IMAGES})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("bench-results"),
        metavar="FOLDER",
        help="where the report, its figures and the programs' logs go (default: bench-results)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
