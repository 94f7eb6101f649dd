"""Training a head, as a command: what it says while it works and when it is done."""

from __future__ import annotations

import time

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.recipe import parse_layers
from heads import format_metrics, train_head
from pipelines.options import TrainOptions
from pipelines.report import make_command
from pipelines.screen import Screen, new_run_id


def train(options: TrainOptions, *, debug: bool = False) -> str:
    """Train, test and save a head; what to print of it.

    Raises:
        BottleneckError: where there is nothing to train from or to test on.
    """
    table = feature_store.open(options.store, options.features)
    with Screen.of_run(options.store, new_run_id(), "train-head", debug=debug) as screen:
        untrained = [UNTRAINED] if table.facts.untrained else []
        for line in [*untrained, f"Training a {options.head} head …"]:
            screen.say(line)

        def tell(step: int, steps: int, figures: dict[str, float]) -> None:
            told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            screen.say(f"  {step} of at most {steps}: {told}")

        started = time.monotonic()
        asked = options.layers != TrainOptions().layers or options.layers in table.layers
        layer = parse_layers(options.layers)[-1] if asked else table.layers[-1]
        saved = train_head(
            options.store,
            options.features,
            kind=options.head,
            layer=layer,
            seed=options.seed,
            min_images=options.min_images,
            progress=tell,
            **({} if options.hidden is None else {"hidden": options.hidden}),
        )
        seconds = time.monotonic() - started
    lines = [
        format_metrics(saved.facts["metrics"]["test"]),
        "",
        *saved.facts["notices"],
        f"trained in {seconds:.1f} s from {layer} of table {table.name!r}, "
        f"version {saved.facts['table_version']}",
        f"head: {saved.directory}",
        f"next: {make_command('predict', options.store, options.features, 'IMAGES=…')}",
        *untrained,
    ]
    return "\n".join(lines)
