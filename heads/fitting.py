"""One head, fitted and tested: on the splits of a table, or by folds of its images."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.compute as pc

from features import store as feature_store
from features.conflicting_images import count_groups
from features.errors import BottleneckError
from features.machine import available_memory
from features.recipe import Column
from features.store.labels import encode, have_labels, read_labels
from features.text import counted
from heads.examples import Examples
from heads.folds import SharedOut, cross_validate, share_out, together, units_of, untested_notice
from heads.metrics import evaluate_head, evaluate_split
from heads.progress import Progress

if TYPE_CHECKING:
    import keras

    from features.store.table import FeatureTable
    from heads.base import Head


class Data(NamedTuple):
    """What heads are fitted on.

    Attributes:
        table: of features.
        columns: of it, which feed a head together.
        examples: what there is to learn.
        shared_out: the images that folds are made of, or None where the splits are kept to.
    """

    table: FeatureTable
    columns: tuple[Column, ...]
    examples: Examples
    shared_out: SharedOut | None

    @property
    def layers(self) -> list[str]:
        return [column.layer for column in self.columns]

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)


class Watch(NamedTuple):
    """Who is told of what while a head is fitted.

    Attributes:
        steps: called at each step of the head that is kept, see `heads.progress.Progress`.
        folds: called at each fold.
        callbacks: of Keras, for the head that is kept.
    """

    steps: Progress
    folds: Progress
    callbacks: Sequence[keras.callbacks.Callback] = ()


def fit_and_test(head: Head, data: Data, watch: Watch) -> dict[str, Any]:
    """Fit a head and test it; what `head.json` is to say of the data, how they were shared out, and metrics.

    Raises:
        BottleneckError: where the features do not fit in memory, or there is nothing to test.
    """
    fit = _fit_on_splits if data.shared_out is None else _fit_by_folds
    return fit(head, data, watch)


def _fit_on_splits(head: Head, data: Data, watch: Watch) -> dict[str, Any]:
    """Fit on train, choose on validation, test on test: as a stream where the head can."""
    table, examples = data.table, data.examples
    classes, train, validation = examples.classes, examples.count("train"), examples.count("validation")
    what: dict[str, Any] = {"layers": data.layers, "multi_label": examples.multi_label}
    if hasattr(head, "fit_stream"):
        stream = functools.partial(
            feature_store.dataset, table, labels=classes, ignored=examples.left_out, **what
        )
        on = functools.partial(stream, "validation") if validation else None
        head.fit_stream(functools.partial(stream, "train"), on, classes, watch.steps, watch.callbacks)
    else:
        check_memory(head, 1, train + validation, data.width, len(classes))
        X, labels = table.matrix(["train", "validation"], classes=classes, **what)
        y = encode(labels, classes, multi_label=examples.multi_label, ignored=examples.left_out)
        head.fit_matrix(X, y, train, classes, watch.steps, **_groups_of_train(data))
    training = head.training_
    assert training is not None, "fit sets it"
    facts = _facts(data) | {
        "splits": {
            "fitted": training.fitted,
            "selected": training.selected,
            "tested": ["test"],
            "rows": examples.images,
        },
        "notices": [*_torn_groups(table), *examples.notices(), *head.notices_],
    }
    return facts | {"metrics": _measure(head, table, facts)}


def _groups_of_train(data: Data) -> dict[str, Any]:
    """The argument `units` of `Head.fit_matrix` for the train rows of a table that has groups."""
    if not data.table.facts.groups:
        return {}
    rows = data.table.metadata(["labels", "split", "image_id", "group"])
    labels = read_labels(rows.column("labels"), multi_label=data.examples.multi_label)
    of_train = have_labels(labels, data.examples.classes) & pc.equal(rows.column("split"), "train").to_numpy()
    return together(units_of(rows.filter(of_train)))


def _torn_groups(table: FeatureTable) -> list[str]:
    """A notice where images of a group are trained on, and others of it tested."""
    if not table.facts.groups:
        return []
    _, torn = count_groups(table.metadata(["group", "split"]))
    groups = counted(torn, "group is", "groups are")
    return [f"{groups} torn apart by the given splits, so that figures may be too good"] if torn else []


def _measure(head: Head, table: FeatureTable, facts: dict[str, Any]) -> dict[str, Any]:
    """Metrics on test, and on validation by a model that was not fitted on it, where there is one."""
    assert head.training_ is not None, "fit sets it"
    metrics = {}
    if head.training_.validation is not None:
        metrics["validation"] = evaluate_head(head, facts, *head.training_.validation)
    elif "validation" in facts["splits"]["selected"]:
        metrics["validation"] = evaluate_split(head, facts, table, "validation")
    return metrics | {"test": evaluate_split(head, facts, table, "test")}


def _fit_by_folds(head: Head, data: Data, watch: Watch) -> dict[str, Any]:
    """Fit on all that is shared out, test each of it by its fold, and test on a test split that was given."""
    shared, examples, classes = data.shared_out, data.examples, data.examples.classes
    assert shared is not None
    check_memory(head, 2, len(shared.among), data.width, len(classes))
    X, labels = data.table.matrix(layers=data.layers, classes=classes, multi_label=examples.multi_label)
    if not shared.among.all():
        X, labels = X[shared.among], labels[shared.among]
    y = encode(labels, classes, multi_label=examples.multi_label, ignored=examples.left_out)
    units = units_of(shared.rows)
    fold = share_out(y, units, shared.folds, getattr(head, "seed", 0))
    originals = shared.rows.column("view").to_numpy() == 0
    tested = cross_validate(head, X, y, units, fold, originals, classes, watch.folds)
    more: dict[str, Any] = {**together(units), **({"callbacks": watch.callbacks} if watch.callbacks else {})}
    head.fit_matrix(X, y, len(X), classes, watch.steps, **more)
    given = ["test"] if examples.count("test") else []
    untested = untested_notice(shared.rows, y, units, classes)
    facts = _facts(data) | {
        "splits": {
            "fitted": shared.splits,
            "selected": shared.splits,
            "tested": ["folds", *given],
            "folds": len(tested.training),
            "rows": shared.counts(),
        },
        "notices": [*shared.notices, *untested, *examples.notices(given), *head.notices_],
        "folds": tested.training,
    }
    by_folds = evaluate_head(head, facts, y[tested.rows], tested.probabilities, tested.predicted)
    if given:
        return facts | {
            "metrics": {"folds": by_folds, "test": evaluate_split(head, facts, data.table, "test")}
        }
    return facts | {"metrics": {"test": by_folds}}


def check_memory(head: Head, times: int, rows: int, width: int, classes: int) -> None:
    """Refuse what would not fit in memory, before it is read.

    Args:
        times: how often what a head needs is there at once: twice, with folds.
    """
    needed, available = times * head.bytes_needed(rows, width, classes), available_memory()
    if available is not None and needed > available:
        remedy = "train with `kind=dense`, which streams the features" if times == 1 else "keep to `folds=0`"
        raise BottleneckError(
            f"a {head.kind} head on {rows:,} rows needs about {needed / 1e9:,.1f} GB of memory, and "
            f"{available / 1e9:,.1f} GB are available: {remedy}"
        )


def _facts(data: Data) -> dict[str, Any]:
    """What `head.json` says of the data, however they are shared out."""
    return {
        "table": data.table.name,
        "table_id": str(data.table.delta.metadata().id),
        "table_version": data.table.version,
        "weights": data.table.facts.weights,
        "columns": column_facts(data.columns),
        "min_images": data.examples.min_images,
        "left_out": data.examples.left_out,
        "majority_class": data.examples.majority_class,
    }


def column_facts(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """What `head.json` says of the feature columns that a head was trained on."""
    return [
        {"layer": column.layer, "fingerprint": column.fingerprint, "recipe": column.recipe.to_dict()}
        for column in columns
    ]
