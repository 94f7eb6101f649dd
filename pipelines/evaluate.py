"""The evidence on a head, as commands: `evaluate` gathers it, `report` makes a page of it."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
from pathlib import Path
from typing import Any

from features import files
from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.errors import BottleneckError
from features.locations import samples_path
from features.store.table import FeatureTable
from heads import SavedHead, load_head
from heads.evidence import Settings, gather_evidence, is_current, read_evaluation, sample_of, write_evaluation
from heads.evidence.evaluation import EVALUATION_FILE
from heads.evidence.packages import EVIDENCE, PAGE, check_packages
from heads.evidence.text import format_evidence
from heads.page import write_page
from heads.saved import to_json
from pipelines.agreement import check_backbone
from pipelines.driver import extract
from pipelines.options import EvaluateOptions, ExtractOptions, Options, ReportOptions
from pipelines.output_file import check_output
from pipelines.process import turn_off_opencv_threads
from pipelines.screen import Screen, new_run_id
from pipelines.wording import in_words_of_commands, make_command, table_name

#: The page, beside `head.json`.
PAGE_FILE = "report.html"


def evaluate(options: EvaluateOptions, *, debug: bool = False) -> str:
    """Gather the evidence on a head and keep it beside the head; what to print of it.

    Raises:
        BottleneckError: where there is no table or head.
    """
    saved, table = _find(options)
    evaluation = _evaluate(saved, table, options, debug=debug)
    if options.json:
        return to_json(evaluation).rstrip()
    more = [f"HEAD_ID={saved.id}"] if options.head_id else []
    lines = [
        format_evidence(_for_people(evaluation, options)),
        "",
        f"evaluation: {saved.directory / EVALUATION_FILE}",
        f"next: {make_command('report', options.store, table.name, table.backbone.name, *more)}",
    ]
    return "\n".join(lines)


def report(options: ReportOptions, *, debug: bool = False) -> str:
    """Make the page of a head, from evidence that is gathered first where it is not there; what to print.

    Raises:
        BottleneckError: where there is no table or head, or the page can't be written.
    """
    saved, table = _find(options)
    check_packages(PAGE)
    output = Path(options.output) if options.output else saved.directory / PAGE_FILE
    check_output(output, (".html", ".htm"))
    evaluation = read_evaluation(saved)
    if evaluation is None or not is_current(evaluation, saved, table, _settings(options)):
        evaluation = _evaluate(saved, table, options, debug=debug)
    with Screen.of_run(options, new_run_id(), debug=debug) as screen:
        screen.say("Making the page …")
        turn_off_opencv_threads()
        write_page(_for_people(evaluation, options), table, output)
    if options.json:
        return to_json(evaluation).rstrip()
    size = files.info(output).size
    said = [sentence["text"] for sentence in evaluation["verdict"]]
    return "\n".join([*said, f"page: {output} ({size / 1e6:.1f} MB)"])


def _find(options: Options) -> tuple[SavedHead, FeatureTable]:
    """The head that a command is about, and its table."""
    table = feature_store.open(options.store, table_name(options))
    check_backbone(table, options)
    return load_head(options.store, table.name, options.head_id), table


def _settings(options: Options) -> Settings:
    return Settings(options.draws, options.sample, options.seed or 0, options.random_features)


def _evaluate(saved: SavedHead, table: FeatureTable, options: Options, *, debug: bool) -> dict[str, Any]:
    """Gather evidence, with features of random weights that are extracted first, and keep it."""
    settings = _settings(options)
    settings.check()
    check_packages(EVIDENCE)
    turn_off_opencv_threads()
    random_features, fault = None, ""
    if settings.random_features and not table.facts.untrained:
        try:
            sampled = sample_of(options.store, table.name, saved.id, settings=settings)
            random_features = _random_features(table, sampled.uris, saved, options, debug=debug)
        except BottleneckError as error:
            fault = str(error)
    with Screen.of_run(options, new_run_id(), debug=debug) as screen:
        if table.facts.untrained:
            screen.say(UNTRAINED)
        if fault:
            screen.say(f"no features of random weights: {fault}")
        evaluation = gather_evidence(
            options.store,
            table.name,
            saved.id,
            settings=settings,
            random_features=random_features,
            without_random=fault,
            part=lambda what: screen.say(f"{what} …"),
        )
        write_evaluation(saved, evaluation)
    return evaluation


def _random_features(
    table: FeatureTable, uris: list[str], saved: SavedHead, options: Options, *, debug: bool
) -> FeatureTable:
    """Features of the sample from random weights, by the pipeline, in a table of their own.

    What that has is not extracted again.
    """
    path = samples_path(table.store, f"{table.name}.csv")
    files.write(path, _csv(uris))
    name = _random_name(table, str(path))
    layers = [column.layer for column in table.columns(saved.layers)]
    print("Features of random weights, to compare with …", file=sys.stderr)
    extract(
        ExtractOptions(
            store=options.store,
            features=name,
            data=str(path),
            weights="random",
            backbone=table.recipe.backbone,
            layers=",".join(layers if name in feature_store.table_names(table.store) else table.layers),
            precision=table.recipe.precision,
            exif_orientation=table.recipe.exif_orientation,
            max_rejected=1.0,
        ),
        debug=debug,
        quiet=True,
    )
    return feature_store.open(table.store, name)


def _random_name(table: FeatureTable, source: str) -> str:
    """The table of random features of another: one of a name of its own, where the store was moved since."""
    name = f"{table.name}-random"
    if name not in feature_store.table_names(table.store):
        return name
    there = feature_store.open(table.store, name)
    if not there.facts.untrained or there.source == source:
        return name
    return f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def _csv(uris: list[str]) -> str:
    """A list of images; a name with the end of a line in it can't stand in one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([["uri"], *([uri] for uri in uris if not re.search(r"[\r\n]", uri))])
    return text.getvalue()


def _for_people(evaluation: dict[str, Any], options: Options) -> dict[str, Any]:
    """The same, with what is missing in the words of those who use the command."""
    missing = [{**of, "how": in_words_of_commands(of["how"], options)} for of in evaluation["missing"]]
    return {**evaluation, "missing": missing}
