"""Training a head, as a command: what it says while it works and when it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.errors import BottleneckError, DriftExceeded
from features.text import counted
from heads import (
    SavedHead,
    current_head,
    format_metrics,
    format_spread,
    parse_parameters,
    promote_head,
    train_head,
)
from heads.drift import Drift, measure_drift
from heads.promotion import MODES, NoCurrentHead, is_undecided, usable_current
from heads.settings import find_trained, training_settings
from heads.training import check_callbacks, seconds_since
from pipelines.agreement import check_backbone
from pipelines.json_line import json_line
from pipelines.options import Options, TrainOptions
from pipelines.promote import head_facts, head_lines
from pipelines.screen import Screen, new_run_id
from pipelines.tracking import Tracking
from pipelines.wording import in_words_of_commands, make_command, table_name

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Options that are short for `set`; not every command has all of them.
_SHORT = ("seed", "hidden", "learning_rate", "epochs", "patience", "batch_size")


def train(options: TrainOptions, *, debug: bool = False) -> str:
    """Train, test, save and promote a head, unless that would only repeat what was done; what to print of it.

    Raises:
        BottleneckError: where there is nothing to train from or to test on.
        DriftExceeded: where the table has changed more than is allowed since the current head was trained.
        NotLogged: after the head is saved, where it could not be logged to MLflow.
    """
    began = time.monotonic()
    name = table_name(options)
    table = feature_store.open(options.store, name)
    check_backbone(table, options)
    layers = [column.layer for column in table.columns(options.layers)]
    parameters = head_parameters(options.head, options)
    numbers = {of: getattr(options, of) for of in ("min_images", "views", "folds", "repeats")}
    if options.tensorboard:
        check_callbacks(options.head)
    if not options.retrain:
        same = find_trained(table, training_settings(options.head, parameters, layers, **numbers))
        if same is not None:
            return _skip(same, table, options, began, debug=debug)
    run_id = new_run_id()
    with Screen.of_run(options, run_id, debug=debug) as screen:
        tracking = Tracking(options, run_id, screen)
        untrained = [UNTRAINED] if table.facts.untrained else []
        for line in untrained:
            screen.say(line)
        drift = _look_for_drift(table, options, screen)
        screen.say(f"Training a {options.head} head …")
        started = time.monotonic()
        saved = train_head(
            options.store,
            name,
            kind=options.head,
            layers=layers,
            version=table.version,
            promote=options.promote or MODES[0],
            progress=screen.step,
            callbacks=tracking.callbacks,
            **numbers,
            **parameters,
        )
        seconds = time.monotonic() - started
        logged = tracking.log(saved)
    if options.json:
        return tracking.finish(_json(saved, "trained", table, options, began, drift))
    lines = [
        *result_lines(saved, options),
        f"trained in {seconds:.1f} s from {', '.join(layers)} of table {name!r}, version {table.version}",
        *head_lines(saved, options),
        *logged,
        f"next: {_next(saved, table, options)}",
        *untrained,
    ]
    return tracking.finish("\n".join(lines))


def _next(saved: SavedHead, table: FeatureTable, options: TrainOptions) -> str:
    """The command to go on with: it decides what was left open, or uses the current head."""
    undecided = options.promote == "never"
    target, variable = ("promote", f"HEAD_ID={saved.id}") if undecided else ("predict", "IMAGES=…")
    return make_command(target, options.store, table.name, table.backbone.name, variable)


def _skip(saved: SavedHead, table: FeatureTable, options: TrainOptions, began: float, *, debug: bool) -> str:
    """What to print where a head was trained from this version of the table, with the same settings.

    What its run left open, or what was asked for, is decided.
    """
    mode = options.promote or MODES[0]
    if mode == "always" or (mode == MODES[0] and is_undecided(saved)):
        with Screen.of_run(options, new_run_id(), debug=debug):
            promote_head(saved, mode)
    if options.json:
        return _json(saved, "skipped", table, options, began, None)
    current = current_head(table.store, table.name)
    which = "it is the current one" if current == saved.id else f"the current one is {current or 'none'}"
    untrained = [UNTRAINED] if table.facts.untrained else []
    logged = "; nothing is logged" if options.mlflow or options.tensorboard else ""
    nothing = (
        f"nothing to do: head {saved.id} was trained from version {table.version} of table {table.name!r} "
        f"with the same settings; {which}{logged} (--retrain trains anyway)"
    )
    return "\n".join([nothing, *untrained])


def _json(
    saved: SavedHead,
    status: str,
    table: FeatureTable,
    options: TrainOptions,
    began: float,
    drift: dict[str, Any] | None,
) -> str:
    """The line for a scheduler."""
    facts = {"command": TrainOptions.command, "status": status, **head_facts(saved, options)}
    more = {"untrained": table.facts.untrained, "drift": drift}
    return json_line({**facts, **more, "seconds": seconds_since(began)})


def _look_for_drift(table: FeatureTable, options: TrainOptions, screen: Screen) -> dict[str, Any] | None:
    """Say how a table has drifted since its current head was trained.

    Returns:
        Its figures, or `error`, why there are none; None where there is nothing to measure.

    Raises:
        DriftExceeded: where it has more than is allowed, or nobody can tell whether it has.
    """
    try:
        drift = _measure_drift(table, options.seed or 0)
    except BottleneckError as error:
        facts = {"error": str(error)}
        given = [
            name for name in ("max_class_drift", "max_feature_drift") if getattr(options, name) is not None
        ]
        if given:
            raise DriftExceeded(
                f"drift can't be measured, so that `{given[0]}` can't be checked: {error}; nothing was "
                f"trained: train once without a limit",
                facts={"drift": facts},
            ) from error
        screen.say(f"drift: can't be measured, since {error}")
        return facts
    if drift is None:
        return None
    for sentence in drift.sentences():
        screen.say(f"drift: {sentence}")
    drift.check(options.max_class_drift, options.max_feature_drift)
    return drift.facts()


def _measure_drift(table: FeatureTable, seed: int) -> Drift | None:
    """Drift since the current head was trained; None without one, or where it knows this version."""
    try:
        current = usable_current(table.store, table.name)
    except NoCurrentHead:
        return None
    same = current.facts["table_version"] == table.version
    return None if same else measure_drift(current, table, seed)


def head_parameters(kind: str, options: Options) -> dict[str, Any]:
    """The parameters of a head from the option `set`, and from those that are short for it.

    Raises:
        BottleneckError: for one that it does not have, or of another type.
    """
    short = {name: getattr(options, name, None) for name in _SHORT}
    given = [f"{name}={value}" for name, value in short.items() if value is not None]
    given += options.set or []
    return parse_parameters(kind, given) if given else {}  # without looking at the kind, which takes a second


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
    if views := splits.get("augmented_views"):
        images = sum(splits["rows"][split] for split in splits["fitted"])
        of_them = counted(views, "augmented view")
        lines.append(f"trained on {counted(images, 'image')} and {of_them} of them")
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
