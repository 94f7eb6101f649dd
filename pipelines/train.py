"""Training a head, as a command: what it says while it works and when it is done."""

from __future__ import annotations

import time

from features import store as feature_store
from features.recipe import parse_layers
from features.weights import UNTRAINED
from heads import format_metrics, train_head
from pipelines.screen import Screen


def train(store: str, features: str, kind: str, layers: str, seed: int, screen: Screen) -> str:
    """Train, test and save a head; what to print of it.

    Args:
        layers: names with commas between them; the head is trained from the deepest.

    Raises:
        BottleneckError: where there is nothing to train from or to test on.
    """
    untrained = feature_store.open(store, features).recipe.weights == "random"
    if untrained:
        screen.say(UNTRAINED)
    screen.say(f"Training a {kind} head …")

    def tell(step: int, steps: int, figures: dict[str, float]) -> None:
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        screen.say(f"  {step} of at most {steps}: {told}")

    started = time.monotonic()
    saved = train_head(store, features, kind=kind, layer=parse_layers(layers)[-1], seed=seed, progress=tell)
    facts = saved.facts
    lines = [
        format_metrics(facts["metrics"]["test"]),
        "",
        *facts["notices"],
        f"trained in {time.monotonic() - started:.1f} s from {saved.column.layer} of table {features!r}, "
        f"version {facts['table_version']}",
        f"head: {saved.directory}",
        "next: make predict IMAGES=…",
        *([UNTRAINED] if untrained else []),
    ]
    return "\n".join(lines)
