"""From a feature table to a tested head in the store, in one call."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE
from features.errors import BottleneckError
from features.machine import available_memory
from features.recipe import Column
from features.store.labels import encode
from features.store.table import FeatureTable
from heads.examples import Examples, find_examples
from heads.metrics import evaluate_head, evaluate_split
from heads.registry import new_head
from heads.saved import SavedHead, save_head

if TYPE_CHECKING:
    from heads.base import Head, Progress


def train_head(
    store: str | Path = "store",
    features: str = DEFAULT_BACKBONE,
    *,
    kind: str = "logistic",
    layers: str | Iterable[str] | None = None,
    version: int | None = None,
    min_images: int = 1,
    progress: Progress | None = None,
    **parameters: Any,
) -> SavedHead:
    """Train a head, test it on the test split, and make it the table's current head.

    What stands in the way of training is reported before any feature is loaded. The version of the table
    that was read is kept in `head.json`: the same version and parameters (`seed` is one) give the same head.
    Where images have several labels, the head tells several.

    Args:
        store: folder of the store.
        features: name of the table.
        kind: of head, one of `heads.registry.HEADS`.
        layers: feature columns, as a list or with commas between them, which feed the head together; by
            default the one deepest in the network.
        version: of the table; the newest by default.
        min_images: classes with fewer training images are left out, of training and of testing.
        progress: called at each step of training with its number, the steps at most, and its figures.
        **parameters: of the head: the arguments of `LogisticHead` or `DenseHead`.

    Returns:
        The saved head; its `facts["metrics"]["test"]` are for `heads.format_metrics`, and
        `facts["notices"]` are sentences to show.

    Raises:
        BottleneckError: where there is no table, nothing to learn or test from, or a parameter is wrong.
    """
    head = new_head(kind, parameters)
    head.check_parameters()
    table = feature_store.open(store, features, version=version)
    columns = table.columns(layers)
    examples = find_examples(table, min_images)
    if examples.multi_label and not head.takes_multi_label:
        raise BottleneckError(f"a {kind} head learns one label an image, and table {features!r} has several")
    if not examples.count("test"):
        raise BottleneckError(
            f"the test split of table {features!r} has no labelled image of a class with training images, "
            f"so that a head can't be tested: extract more images (about 1 of 10 goes to test), "
            f"or give the splits with the images"
        )
    _fit(head, table, columns, examples, progress or (lambda *step: None))
    facts = _facts(table, columns, head, examples)
    facts["metrics"] = _measure(head, table, facts)
    return save_head(table.store, table.name, head, facts)


def _fit(
    head: Head, table: FeatureTable, columns: Sequence[Column], examples: Examples, progress: Progress
) -> None:
    """Fit on the train split and choose on validation, as a stream where the head can."""
    classes, train, validation = examples.classes, examples.count("train"), examples.count("validation")
    layers = [column.layer for column in columns]
    ignored, multi_label = examples.left_out, examples.multi_label
    if hasattr(head, "fit_stream"):
        stream = functools.partial(
            feature_store.dataset,
            table,
            labels=classes,
            layers=layers,
            multi_label=multi_label,
            ignored=ignored,
        )
        on = functools.partial(stream, "validation") if validation else None
        head.fit_stream(functools.partial(stream, "train"), on, classes, progress)
        return
    width = sum(column.width for column in columns)
    check_memory(head, head.bytes_needed(train + validation, width, len(classes)), train + validation)
    splits = ["train", "validation"]
    X, labels = table.matrix(splits, layers=layers, classes=classes, multi_label=multi_label)
    y = encode(labels, classes, multi_label=multi_label, ignored=ignored)
    head.fit_matrix(X, y, train, classes, progress)


def _measure(head: Head, table: FeatureTable, facts: dict[str, Any]) -> dict[str, Any]:
    """Metrics on test, and on validation by a model that was not fitted on it, where there is one."""
    assert head.training_ is not None, "fit sets it"
    metrics = {}
    if head.training_.validation is not None:
        metrics["validation"] = evaluate_head(head, facts, *head.training_.validation)
    elif "validation" in facts["splits"]["selected"]:
        metrics["validation"] = evaluate_split(head, facts, table, "validation")
    return metrics | {"test": evaluate_split(head, facts, table, "test")}


def check_memory(head: Head, needed: int, rows: int) -> None:
    """Refuse what would not fit in memory, before it is read.

    Args:
        needed: bytes.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise BottleneckError(
            f"a {head.kind} head on {rows:,} rows needs about {needed / 1e9:,.1f} GB of memory, and "
            f"{available / 1e9:,.1f} GB are available: train with `kind=dense`, which streams the features"
        )


def _facts(table: FeatureTable, columns: Sequence[Column], head: Head, examples: Examples) -> dict[str, Any]:
    training = head.training_
    assert training is not None, "fit sets it"
    return {
        "table": table.name,
        "table_version": table.version,
        "columns": column_facts(columns),
        "splits": {
            "fitted": training.fitted,
            "selected": training.selected,
            "tested": ["test"],
            "rows": examples.images,
        },
        "min_images": examples.min_images,
        "notices": examples.notices(),
        "left_out": examples.left_out,
        "majority_class": examples.majority_class,
    }


def column_facts(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """What `head.json` says of the feature columns that a head was trained on."""
    return [
        {
            "layer": column.layer,
            "fingerprint": column.fingerprint,
            "recipe": column.recipe.to_dict(),
        }
        for column in columns
    ]
