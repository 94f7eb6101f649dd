"""Training a head, as a command: what it says while it works and when it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.text import counted
from heads import format_metrics, format_spread, parse_parameters, train_head
from pipelines.agreement import check_backbone
from pipelines.options import TrainOptions
from pipelines.screen import Screen, new_run_id
from pipelines.wording import in_words_of_commands, make_command, table_name


def train(options: TrainOptions, *, debug: bool = False) -> str:
    """Train, test and save a head; what to print of it.

    Raises:
        BottleneckError: where there is nothing to train from or to test on.
    """
    name = table_name(options)
    table = feature_store.open(options.store, name)
    check_backbone(table, options)
    layers = ", ".join(column.layer for column in table.columns(options.layers))
    flags = {name: getattr(options, name) for name in ("seed", "hidden")}
    given = [f"{name}={value}" for name, value in flags.items() if value is not None]
    parameters = parse_parameters(options.head, [*given, *(options.set or [])])
    with Screen.of_run(options, new_run_id(), debug=debug) as screen:
        untrained = [UNTRAINED] if table.facts.untrained else []
        for line in [*untrained, f"Training a {options.head} head …"]:
            screen.say(line)

        def report(step: int, steps: int, figures: dict[str, float]) -> None:
            texts = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            screen.say(f"  {step} of at most {steps}: {texts}")

        started = time.monotonic()
        saved = train_head(
            options.store,
            name,
            kind=options.head,
            layers=options.layers,
            min_images=options.min_images,
            folds=options.folds,
            repeats=options.repeats,
            progress=report,
            **parameters,
        )
        seconds = time.monotonic() - started
    metrics = saved.facts["metrics"]
    lines = [
        format_metrics(metrics["test"]),
        "",
        *(
            [f"by folds, of all but the test split: {_accuracy_text(metrics['folds'])}"]
            if "folds" in metrics
            else []
        ),
        *([format_spread(metrics["repeats"])] if "repeats" in metrics else []),
        *(in_words_of_commands(notice, options) for notice in saved.facts["notices"]),
        f"trained in {seconds:.1f} s from {layers} of table {table.name!r}, "
        f"version {saved.facts['table_version']}",
        f"head: {saved.directory} (now the current one)",
        f"next: {make_command('predict', options.store, name, table.backbone.name, 'IMAGES=…')}",
        *untrained,
    ]
    return "\n".join(lines)


def _accuracy_text(metrics: Mapping[str, Any]) -> str:
    low, high = metrics["accuracy_interval"]
    return (
        f"accuracy {metrics['accuracy']:.1%} ({low:.1%} to {high:.1%}), {counted(metrics['count'], 'image')}"
    )
