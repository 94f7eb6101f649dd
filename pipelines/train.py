"""Training a head, as a command: what it says while it works and when it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.text import counted
from heads import SavedHead, format_metrics, format_spread, parse_parameters, train_head
from heads.training import check_callbacks
from pipelines.agreement import check_backbone
from pipelines.options import Options, TrainOptions
from pipelines.screen import Screen, new_run_id
from pipelines.tracking import Tracking
from pipelines.wording import in_words_of_commands, make_command, table_name

#: Options that are short for `set`; not every command has all of them.
_SHORT = ("seed", "hidden", "learning_rate", "epochs", "patience", "batch_size")


def train(options: TrainOptions, *, debug: bool = False) -> str:
    """Train, test and save a head; what to print of it.

    Raises:
        BottleneckError: where there is nothing to train from or to test on.
        NotLogged: after the head is saved, where it could not be logged to MLflow.
    """
    name = table_name(options)
    table = feature_store.open(options.store, name)
    check_backbone(table, options)
    layers = ", ".join(column.layer for column in table.columns(options.layers))
    parameters = head_parameters(options.head, options)
    if options.tensorboard:
        check_callbacks(options.head)
    run_id = new_run_id()
    with Screen.of_run(options, run_id, debug=debug) as screen:
        tracking = Tracking(options, run_id, screen)
        untrained = [UNTRAINED] if table.facts.untrained else []
        for line in [*untrained, f"Training a {options.head} head …"]:
            screen.say(line)
        started = time.monotonic()
        saved = train_head(
            options.store,
            name,
            kind=options.head,
            layers=options.layers,
            min_images=options.min_images,
            folds=options.folds,
            repeats=options.repeats,
            progress=screen.step,
            callbacks=tracking.callbacks,
            **parameters,
        )
        seconds = time.monotonic() - started
        logged = tracking.log(saved)
    version = saved.facts["table_version"]
    lines = [
        *result_lines(saved, options),
        f"trained in {seconds:.1f} s from {layers} of table {table.name!r}, version {version}",
        f"head: {saved.directory} (now the current one)",
        *logged,
        f"next: {make_command('predict', options.store, name, table.backbone.name, 'IMAGES=…')}",
        *untrained,
    ]
    return tracking.finish("\n".join(lines))


def head_parameters(kind: str, options: Options) -> dict[str, Any]:
    """The parameters of a head from the option `set`, and from those that are short for it.

    Raises:
        BottleneckError: for one that it does not have, or of another type.
    """
    short = {name: getattr(options, name, None) for name in _SHORT}
    given = [f"{name}={value}" for name, value in short.items() if value is not None]
    return parse_parameters(kind, [*given, *(options.set or [])])


def result_lines(saved: SavedHead, options: Options) -> list[str]:
    """What was found of a head, for people: its metrics, what was chosen, and what there is to notice."""
    metrics, splits = saved.facts["metrics"], saved.facts["splits"]
    lines = []
    if "repeats" in metrics:
        lines += [
            format_spread(metrics["repeats"]),
            "",
            f"of seed {saved.facts['seed']}, whose head is kept:",
        ]
    lines += [format_metrics(metrics["test"]), ""]
    if splits["tested"] == ["folds"]:
        folds = splits["folds"]
        lines.append(f"tested by {folds} folds, each image once; the head is trained on all of them")
    if "folds" in metrics:
        lines.append(f"by folds, of all but the test split: {_accuracy_text(metrics['folds'])}")
    if chosen := _chosen_text(saved.facts["training"]):
        lines.append(chosen)
    return [*lines, *(in_words_of_commands(notice, options) for notice in saved.facts["notices"])]


def _chosen_text(training: Mapping[str, Any]) -> str:
    """What was chosen in training, and by what."""
    named = {"C": "C", "epochs": "epoch", "temperature": "temperature"}
    texts = [f"{text} {training[name]:.4g}" for name, text in named.items() if training.get(name) is not None]
    return f"chosen by {training['chosen_by']}: {', '.join(texts)}" if texts else ""


def _accuracy_text(metrics: Mapping[str, Any]) -> str:
    low, high = metrics["accuracy_interval"]
    images = counted(metrics["count"], "image")
    return f"accuracy {metrics['accuracy']:.1%} ({low:.1%} to {high:.1%}), {images}"
