"""Training a head, as a command: what it says while it works and when it is done."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.errors import BottleneckError
from features.locations import logs_path
from heads import SavedHead, format_metrics, parse_parameters, train_head
from heads.tracking import check_mlflow, log_to_mlflow, tensorboard_callback
from heads.training import check_callbacks
from pipelines.agreement import check_backbone
from pipelines.options import TrainOptions
from pipelines.screen import Screen, new_run_id
from pipelines.wording import make_command, table_name

if TYPE_CHECKING:
    import keras


class NotLogged(BottleneckError):
    """The head is trained and saved, but MLflow has not got it.

    Attributes:
        summary: what to print of the head.
    """

    def __init__(self, message: str, summary: str) -> None:
        super().__init__(message)
        self.summary = summary


def train(options: TrainOptions, *, debug: bool = False) -> str:
    """Train, test and save a head; what to print of it.

    Raises:
        BottleneckError: where there is nothing to train from or to test on.
        NotLogged: after the head is saved, where it could not be logged to MLflow.
    """
    name = table_name(options)
    table = feature_store.open(options.store, name)
    check_backbone(table, options)
    layers = table.layers if options.layers is None else table.backbone.parse_layers(options.layers)
    for named in layers:
        table.column(named)  # refuses one that the table does not have
    layer = layers[-1]
    flags = {name: getattr(options, name) for name in ("seed", "hidden")}
    given = [f"{name}={value}" for name, value in flags.items() if value is not None]
    parameters = parse_parameters(options.head, [*given, *(options.set or [])])
    if options.tensorboard:
        check_callbacks(options.head)
    run_id = new_run_id()
    with Screen.of_run(options, run_id, debug=debug) as screen:
        tracking_uri = check_mlflow() if options.mlflow else ""
        callbacks = _tensorboard(options, run_id, screen) if options.tensorboard else []
        untrained = [UNTRAINED] if table.facts.untrained else []
        several = [f"of the layers {', '.join(layers)} the deepest is trained from"] if layers[1:] else []
        for line in [*untrained, *several, f"Training a {options.head} head …"]:
            screen.say(line)

        def report(step: int, steps: int, figures: dict[str, float]) -> None:
            texts = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            screen.say(f"  {step} of at most {steps}: {texts}")

        started = time.monotonic()
        saved = train_head(
            options.store,
            name,
            kind=options.head,
            layer=layer,
            min_images=options.min_images,
            progress=report,
            callbacks=callbacks,
            **parameters,
        )
        seconds = time.monotonic() - started
        logged, error = _log(saved, tracking_uri, screen) if options.mlflow else ([], None)
    lines = [
        format_metrics(saved.facts["metrics"]["test"]),
        "",
        *saved.facts["notices"],
        f"trained in {seconds:.1f} s from {layer} of table {table.name!r}, "
        f"version {saved.facts['table_version']}",
        f"head: {saved.directory} (now the current one)",
        *logged,
        f"next: {make_command('predict', options.store, name, table.backbone.name, 'IMAGES=…')}",
        *untrained,
    ]
    if error:
        raise NotLogged(f"the head is saved, but {error}", "\n".join(lines)) from error
    return "\n".join(lines)


def _tensorboard(options: TrainOptions, run_id: str, screen: Screen) -> list[keras.callbacks.Callback]:
    """The callback that logs to a folder of this run; says how to look at it while it works."""
    folder = logs_path(options.store) / "tensorboard" / run_id
    callback = tensorboard_callback(folder)
    screen.say(f"To watch: tensorboard --logdir {shlex.quote(str(folder))}")
    return [callback]


def _log(saved: SavedHead, tracking_uri: str, screen: Screen) -> tuple[list[str], BottleneckError | None]:
    """Log a head to MLflow: the line that says where it is, or why it is not there."""
    screen.say(f"Logging head {saved.id} to MLflow at {tracking_uri} …")
    try:
        run = log_to_mlflow(saved)
    except BottleneckError as error:
        return [], error
    return [f"MLflow: run {run.id} of experiment {run.experiment!r} at {run.tracking_uri}"], None
