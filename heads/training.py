"""From a feature table to a tested head in the store, in one call."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE
from features.errors import BottleneckError
from features.machine import available_memory
from features.recipe import Column
from features.store.table import FeatureTable
from features.text import counted, some
from heads.examples import Examples, find_examples
from heads.metrics import class_numbers, evaluate, evaluate_split
from heads.registry import head_class, new_head
from heads.saved import SavedHead, save_head

if TYPE_CHECKING:
    import keras

    from heads.base import Head, Progress

#: Classes named in a notice.
_SHOWN = 5


def train_head(
    store: str | Path = "store",
    features: str = DEFAULT_BACKBONE,
    *,
    kind: str = "logistic",
    layer: str | None = None,
    version: int | None = None,
    min_images: int = 1,
    progress: Progress | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **parameters: Any,
) -> SavedHead:
    """Train a head, test it on the test split, and make it the table's current head.

    What stands in the way of training is reported before any feature is loaded. The version of the table
    that was read is kept in `head.json`: the same version and parameters (`seed` is one) give the same head.

    Args:
        store: folder of the store.
        features: name of the table.
        kind: of head, one of `heads.registry.HEADS`.
        layer: the feature column; by default the one deepest in the network.
        version: of the table; the newest by default.
        min_images: classes with fewer training images are left out, of training and of testing.
        progress: called at each step of training with its number, the steps at most, and its figures, which
            `log.csv` keeps.
        callbacks: further ones of Keras, for a head that Keras trains.
        **parameters: of the head: the arguments of `LogisticHead` or `DenseHead`.

    Returns:
        The saved head; its `facts["metrics"]["test"]` are for `heads.format_metrics`, and
        `facts["notices"]` are sentences to show.

    Raises:
        BottleneckError: where there is no table, nothing to learn or test from, or a parameter is wrong.
    """
    head = new_head(kind, parameters)
    head.check_parameters()
    if callbacks:
        check_callbacks(kind)
    table = feature_store.open(store, features, version=version)
    column = table.column(layer)
    examples = find_examples(table, min_images)
    if not examples.count("test"):
        raise BottleneckError(
            f"the test split of table {features!r} has no labelled image of a class with training images, "
            f"so that a head can't be tested: extract more images (about 1 of 10 goes to test), "
            f"or give the splits with the images"
        )
    log: list[dict[str, float]] = []

    def report(step: int, steps: int, figures: dict[str, float]) -> None:
        log.append({"step": step, **figures})
        if progress:
            progress(step, steps, figures)

    _fit(head, table, column.layer, examples, report, callbacks)
    facts = _facts(table, column, head, examples, min_images)
    facts["metrics"] = _measure(head, table, facts)
    return save_head(table.store, table.name, head, facts, log)


def check_callbacks(kind: str) -> None:
    """Refuse callbacks of Keras for a kind of head that Keras does not train.

    Raises:
        BottleneckError: for such a kind.
    """
    if not hasattr(head_class(kind), "fit_stream"):
        raise BottleneckError(
            f"a {kind} head is not trained by Keras, and takes no callbacks, such as that of TensorBoard: "
            f"train with `kind=dense`"
        )


def _fit(
    head: Head,
    table: FeatureTable,
    layer: str,
    examples: Examples,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Fit on the train split and choose on validation, as a stream where the head can."""
    classes, train, validation = examples.classes, examples.count("train"), examples.count("validation")
    if hasattr(head, "fit_stream"):
        stream = functools.partial(feature_store.dataset, table, labels=classes, layer=layer)
        on = functools.partial(stream, "validation") if validation else None
        head.fit_stream(functools.partial(stream, "train"), on, classes, progress, callbacks)
        return
    _check_memory(head, train + validation, table.column(layer).width, len(classes))
    X, labels = table.matrix(["train", "validation"], layer=layer, classes=classes)
    head.fit_matrix(X, class_numbers(labels, classes), train, classes, progress)


def _measure(head: Head, table: FeatureTable, facts: dict[str, Any]) -> dict[str, Any]:
    """Metrics on test, and on validation by a model that was not fitted on it, where there is one."""
    assert head.training_ is not None, "fit sets it"
    metrics = {}
    if head.training_.validation is not None:
        true, probabilities = head.training_.validation
        classes, majority_class = head.classes_.tolist(), facts["majority_class"]
        metrics["validation"] = evaluate(true, probabilities, classes, majority_class=majority_class)
    elif "validation" in facts["splits"]["selected"]:
        metrics["validation"] = evaluate_split(head, facts, table, "validation")
    return metrics | {"test": evaluate_split(head, facts, table, "test")}


def _check_memory(head: Head, rows: int, width: int, classes: int) -> None:
    needed, available = head.bytes_needed(rows, width, classes), available_memory()
    if available is not None and needed > available:
        raise BottleneckError(
            f"a {head.kind} head on {rows:,} rows needs about {needed / 1e9:,.1f} GB of memory, and "
            f"{available / 1e9:,.1f} GB are available: train with `kind=dense`, which streams the features"
        )


def _facts(
    table: FeatureTable, column: Column, head: Head, examples: Examples, min_images: int
) -> dict[str, Any]:
    training = head.training_
    assert training is not None, "fit sets it"
    recipe = column.recipe.to_dict()
    return {
        "table": table.name,
        "table_version": table.version,
        "columns": [{"layer": column.layer, "fingerprint": column.fingerprint, "recipe": recipe}],
        "splits": {
            "fitted": training.fitted,
            "selected": training.selected,
            "tested": ["test"],
            "rows": {split: examples.count(split) for split in examples.rows},
        },
        "min_images": min_images,
        "notices": _notices(examples, min_images),
        "left_out": examples.left_out,
        "majority_class": examples.majority_class,
    }


def _notices(examples: Examples, min_images: int) -> list[str]:
    notices = []
    if examples.unlabelled:
        notices.append(f"left out {counted(examples.unlabelled, 'image')} without a label")
    if examples.left_out:
        rows = sum(sum(of_label.values()) for of_label in examples.left_out.values())
        classes = len(examples.left_out) + len(examples.classes)
        few = "no training image" if min_images <= 1 else f"fewer than {min_images:,} training images"
        named = (f"{label} ({of_label['train']:,})" for label, of_label in examples.left_out.items())
        notices.append(
            f"left out {counted(rows, 'image')} of {len(examples.left_out):,} of {classes:,} classes, "
            f"those with {few}: {some(named, shown=_SHOWN)}"
        )
    untested = [label for label in examples.classes if not examples.rows["test"][label]]
    if untested:
        notices.append(
            f"{len(untested):,} of {len(examples.classes):,} classes have no test image: "
            f"{some(untested, shown=_SHOWN)}"
        )
    return notices
