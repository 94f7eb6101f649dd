"""The whole benchmark: prepare, measure in rounds, compare, and keep every figure."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy import compare
from benchmarks.figures import goals, summarize
from benchmarks.full import chosen_sections
from benchmarks.images import find_photos
from benchmarks.machine import describe_machine, load, machine_text
from benchmarks.plot import save_plot
from benchmarks.prepare import prepare
from benchmarks.rounds import Run, measure, ways
from benchmarks.setting import Bench
from benchmarks.tables import main_table, ratio_table
from features.backbones.weights import find_weights

#: A quick benchmark is over within five minutes, what comes before and after the rounds included.
_QUICK_SECONDS = 270.0


class Options(NamedTuple):
    """What the benchmark's command was asked for."""

    data: str
    weights: str
    output: Path
    quick: bool
    rounds: int
    images: int
    flat: bool = False
    million: bool = False


class Section(NamedTuple):
    """A part of the report: its Markdown, and the raw figures behind it."""

    key: str
    text: str
    figures: Any


def run_benchmark(options: Options) -> None:
    """Measure everything asked for; print it as it comes, and save it in the output folder.

    Raises:
        BottleneckError: where a way fails, or did other work than this project.
    """
    started = time.monotonic()
    logs = options.output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for old in logs.glob("*.log"):
        old.unlink()
    machine = describe_machine()
    source = find_weights(options.weights)
    for notice in source.notices:
        print(notice)
    name, photos = find_photos(options.data, options.images)
    prepared = prepare(source, logs / "prepare.log", quick=options.quick)
    settings = {
        "data": name,
        "weights": source.name,
        "images": options.images,
        "different_images": len(photos),
        "rounds": options.rounds,
        "quick": options.quick,
        "load_before": load(),
    }
    report = _Report(options.output, machine, settings)
    report.add(Section("machine", _introduction(machine, settings), machine))
    with tempfile.TemporaryDirectory(prefix="bottlenecks-bench-") as folder:
        work = Path(folder)
        runs, features = measure(
            ways(quick=options.quick),
            photos,
            prepared,
            work,
            logs,
            rounds=options.rounds,
            images=options.images,
            quick=options.quick,
            seconds=_QUICK_SECONDS if options.quick else float("inf"),
            say=lambda line: print(line, flush=True),
        )
        rows, ratios = summarize(runs, options.images), goals(runs, options.images)
        raw = [run._asdict() | {"running": run.running, "inferring": run.inferring} for run in runs]
        report.add(
            Section(
                "extraction",
                f"### Extraction\n\n{_explanation(runs)}\n\n{main_table(rows, options.images)}\n\n"
                f"{ratio_table(ratios)}",
                {
                    "runs": raw,
                    "medians": [row._asdict() for row in rows],
                    "ratios": [ratio._asdict() | {"median": ratio.median} for ratio in ratios],
                },
            )
        )
        save_plot(rows, options.images, machine_text(machine), options.output / "plot.png")
        report.add(Section("accuracy", *compare(features, runs)))
        if not options.quick:
            bench = Bench(photos, prepared, work, logs, runs, features)
            for key, measure_section in chosen_sections(flat=options.flat, million=options.million).items():
                report.add(Section(key, *measure_section(bench)))
    minutes = (time.monotonic() - started) / 60
    print(f"\n{minutes:.1f} minutes; table.md, results.json and plot.png are in {options.output}")


class _Report:
    """The report so far, on the screen and on the disk: a later failure loses nothing."""

    def __init__(self, output: Path, machine: dict[str, Any], settings: dict[str, Any]) -> None:
        self._output = output
        self._texts: list[str] = []
        self._results: dict[str, Any] = {"machine": machine, "settings": settings}

    def add(self, section: Section) -> None:
        self._texts.append(section.text)
        self._results[section.key] = section.figures
        print(f"\n{section.text}\n", flush=True)
        (self._output / "table.md").write_text("\n\n".join(self._texts) + "\n", encoding="utf-8")
        (self._output / "results.json").write_text(json.dumps(self._results, indent=1), encoding="utf-8")


def _introduction(machine: dict[str, Any], settings: dict[str, Any]) -> str:
    different = settings["different_images"]
    repeated = f" ({different:,} different ones)" if different < settings["images"] else ""
    return (
        f"Measured on {machine_text(machine)}\n\n"
        f"{settings['images']:,} images of {Path(settings['data']).name}{repeated}, weights "
        f"{settings['weights']}."
    )


def _explanation(runs: list[Run]) -> str:
    return (
        f"Medians of {max(run.round for run in runs)} interleaved rounds, each way in a fresh process. Once "
        f"running: from the first batch's features until all features are on the disk. Start-up: from the "
        f"start of the process to the first batch's features."
    )
