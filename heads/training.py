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
from heads.folds import SharedOut, cross_validate, find_shared_out, share_out, units_of, untested_notice
from heads.metrics import evaluate_head, evaluate_split
from heads.registry import new_head
from heads.repeats import main_figures, spread
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
    folds: int | None = None,
    repeats: int = 1,
    progress: Progress | None = None,
    **parameters: Any,
) -> SavedHead:
    """Train a head, test it on the test split, and make it the table's current head.

    What stands in the way of training is reported before any feature is loaded. The version of the table
    that was read is kept in `head.json`: the same version and parameters (`seed` is one) give the same head.
    Where images have several labels, the head tells several.

    With `folds`, every image is tested once, by a head that was trained on the other folds; the head that is
    kept is trained on all of them. Groups, and files of the same bytes, stay together. Where the data came
    with a test split, that is left alone: the folds are of the other images, and it tests the head as well.

    Args:
        store: folder of the store.
        features: name of the table.
        kind: of head, one of `heads.registry.HEADS`.
        layers: feature columns, as a list or with commas between them, which feed the head together; by
            default the one deepest in the network.
        version: of the table; the newest by default.
        min_images: classes with fewer training images are left out, of training and of testing.
        folds: of a cross-validation; 0 for none. By default 5 where no image is for testing, or the hash has
            cut the splits and left less than 10.
        repeats: trainings with the seeds from `seed` on, whose figures are compared; the first head is kept.
        progress: called at each step of training with its number, the steps at most, and its figures; of
            several trainings, each is a step.
        **parameters: of the head: the arguments of `LogisticHead` or `DenseHead`.

    Returns:
        The saved head; its `facts["metrics"]["test"]` are for `heads.format_metrics`, and
        `facts["notices"]` are sentences to show.

    Raises:
        BottleneckError: where there is no table, nothing to learn or test from, or a parameter is wrong.
    """
    heads = _new_heads(kind, parameters, repeats)
    table = feature_store.open(store, features, version=version)
    columns = table.columns(layers)
    shared_out = find_shared_out(table, min_images, folds)
    examples = shared_out.examples if shared_out else find_examples(table, min_images)
    _check_examples(heads[0], table, examples, tested=shared_out is not None or examples.count("test") > 0)
    progress = progress or (lambda *step: None)
    all_facts = []
    for number, head in enumerate(heads, start=1):
        watched = progress if repeats == 1 else (lambda *step: None)
        if shared_out:
            facts = _train_by_folds(head, table, columns, shared_out, watched)
        else:
            facts = _train_on_splits(head, table, columns, examples, watched)
        all_facts.append(facts)
        if repeats > 1:
            progress(number, repeats, main_figures(facts["metrics"]["test"]))
    facts = all_facts[0]
    if repeats > 1:
        seeds = [head.get_params()["seed"] for head in heads]
        facts["metrics"]["repeats"] = spread(seeds, [of["metrics"]["test"] for of in all_facts])
    return save_head(table.store, table.name, heads[0], facts)


def _new_heads(kind: str, parameters: dict[str, Any], repeats: int) -> list[Head]:
    """A head for each training, with the seeds from the one that is given on."""
    first = new_head(kind, parameters)
    first.check_parameters()
    if repeats < 1:
        raise BottleneckError(f"`repeats={repeats}`: expected 1 or more")
    if repeats == 1:
        return [first]
    if "seed" not in first.get_params():
        raise BottleneckError(f"`repeats={repeats}`: a {kind} head has no seed")
    seed = first.get_params()["seed"]
    return [first, *(new_head(kind, {**parameters, "seed": seed + n}) for n in range(1, repeats))]


def _check_examples(head: Head, table: FeatureTable, examples: Examples, *, tested: bool) -> None:
    """Refuse what a head can't learn, or not be tested on."""
    if examples.multi_label and not head.takes_multi_label:
        raise BottleneckError(
            f"a {head.kind} head learns one label an image, and images of table {table.name!r} have several"
        )
    if not tested:
        raise BottleneckError(
            f"the test split of table {table.name!r} has no labelled image of a class with training images, "
            f"so that a head can't be tested: extract more images (about 1 of 10 goes to test), "
            f"give the splits with the images, or leave out `folds=0`"
        )


def _train_on_splits(
    head: Head, table: FeatureTable, columns: Sequence[Column], examples: Examples, progress: Progress
) -> dict[str, Any]:
    """Fit on train, choose on validation, test on test; what `head.json` is to say of it."""
    _fit(head, table, columns, examples, progress)
    training = head.training_
    assert training is not None, "fit sets it"
    splits = {"fitted": training.fitted, "selected": training.selected, "tested": ["test"]}
    facts = _facts(table, columns, examples) | {
        "splits": splits | {"rows": examples.images},
        "notices": examples.notices(),
    }
    return facts | {"metrics": _measure(head, table, facts)}


def _train_by_folds(
    head: Head, table: FeatureTable, columns: Sequence[Column], shared: SharedOut, progress: Progress
) -> dict[str, Any]:
    """Fit on all that is shared out, test each of it by its fold, and test on a test split that was given."""
    examples, rows, classes = shared.examples, shared.rows, shared.examples.classes
    width = sum(column.width for column in columns)
    check_memory(head, 2 * head.bytes_needed(len(rows), width, len(classes)), len(rows))
    layers, multi_label = [column.layer for column in columns], examples.multi_label
    X, labels = table.matrix(layers=layers, classes=classes, multi_label=multi_label)
    X, labels = X[shared.among], labels[shared.among]
    y = encode(labels, classes, multi_label=multi_label, ignored=examples.left_out)
    fold = share_out(y, units_of(rows), shared.folds, getattr(head, "seed", 0))
    originals = rows.column("view").to_numpy() == 0
    tested = cross_validate(head, X, y, fold, originals, classes, progress)
    head.fit_matrix(X, y, len(X), classes)
    given = examples.count("test") > 0
    facts = _facts(table, columns, examples) | {
        "splits": {
            "fitted": shared.splits,
            "selected": shared.splits,
            "tested": ["folds", *(["test"] if given else [])],
            "folds": shared.folds,
            "rows": shared.counts(),
        },
        "notices": [
            *shared.notices,
            *untested_notice(rows, y, fold, classes),
            *examples.notices(["test"] if given else []),
        ],
    }
    metrics = evaluate_head(head, facts, y[tested.rows], tested.probabilities, tested.predicted)
    if given:
        return facts | {"metrics": {"folds": metrics, "test": evaluate_split(head, facts, table, "test")}}
    return facts | {"metrics": {"test": metrics}}


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


def _facts(table: FeatureTable, columns: Sequence[Column], examples: Examples) -> dict[str, Any]:
    """What `head.json` says of the data, however they are shared out."""
    return {
        "table": table.name,
        "table_version": table.version,
        "columns": column_facts(columns),
        "min_images": examples.min_images,
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
