"""One head, fitted and tested: on the splits of a table, or by folds of its images."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
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
from heads.folds import (
    SharedOut,
    cross_validate,
    originals_of,
    share_out,
    together,
    units_of,
    untested_notice,
)
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
        views: at most so many augmented views of each image are trained on: the number that `examples` and
            `shared_out` were found with; None for all.
    """

    table: FeatureTable
    columns: tuple[Column, ...]
    examples: Examples
    shared_out: SharedOut | None
    views: int | None = None

    @property
    def layers(self) -> list[str]:
        return [column.layer for column in self.columns]

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)

    @property
    def most_views(self) -> int:
        """The greatest number of augmented views of an image that are trained on."""
        of_table = self.table.views if self.examples.views else 0
        return of_table if self.views is None else min(self.views, of_table)


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
        of_train = functools.partial(stream, "train", views=data.views)
        on = functools.partial(stream, "validation", views=0) if validation else None
        head.fit_stream(of_train, on, classes, watch.steps, watch.callbacks)
    else:
        train += examples.views
        check_memory(head, 1, train + validation, data.width, len(classes))
        X, labels = table.matrix(["train", "validation"], classes=classes, views=data.views, **what)
        y = encode(labels, classes, multi_label=examples.multi_label, ignored=examples.left_out)
        head.fit_matrix(X, y, train, classes, watch.steps, **_belonging(data))
    training = head.training_
    assert training is not None, "fit sets it"
    facts = _facts(data) | {
        "splits": {
            "fitted": training.fitted,
            "selected": training.selected,
            "tested": ["test"],
            **_counts(data, examples.images),
        },
        "notices": [
            *_torn_groups(table),
            *_missing_views(data, examples.images),
            *examples.notices(),
            *head.notices_,
        ],
    }
    return facts | {"metrics": _measure(head, table, facts)}


def _counts(data: Data, images: Mapping[str, int]) -> dict[str, Any]:
    """What `splits` in `head.json` says of rows: how many images by split, and augmented views besides."""
    views = {"augmented_views": data.examples.views} if data.examples.views else {}
    return {"rows": images, **views}


def _missing_views(data: Data, images: Mapping[str, int]) -> list[str]:
    """A notice where an extraction was stopped before each image had its views.

    Args:
        images: by the split of the table.
    """
    wanted = data.most_views * images["train"]
    missing = wanted - data.examples.views
    if missing <= 0:
        return []
    are = "is" if missing == 1 else "are"
    return [
        f"{missing:,} of {counted(wanted, 'augmented view')} of training images {are} missing: extract again "
        f"with `views={data.table.views}`"
    ]


def _belonging(data: Data) -> dict[str, Any]:
    """The arguments `units` and `originals` of `Head.fit_matrix` for the train rows of a table."""
    groups = ["group"] if data.table.facts.groups else []
    if not groups and not data.examples.views:
        return {}
    columns = ["labels", "split", "image_id", "uri", "view", *groups]
    rows = data.table.metadata(columns, views=data.views)
    labels = read_labels(rows.column("labels"), multi_label=data.examples.multi_label)
    of_train = have_labels(labels, data.examples.classes) & pc.equal(rows.column("split"), "train").to_numpy()
    rows = rows.filter(of_train)
    return together(units_of(rows), originals_of(rows))


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
    X, labels = data.table.matrix(
        layers=data.layers, classes=classes, multi_label=examples.multi_label, views=data.views
    )
    if not shared.among.all():
        X, labels = X[shared.among], labels[shared.among]
    y = encode(labels, classes, multi_label=examples.multi_label, ignored=examples.left_out)
    units, originals = units_of(shared.rows), originals_of(shared.rows)
    fold = share_out(y, units, shared.folds, getattr(head, "seed", 0), originals)
    are_images = shared.rows.column("view").to_numpy() == 0
    tested = cross_validate(head, X, y, units, fold, are_images, classes, watch.folds, originals)
    more: dict[str, Any] = {"callbacks": watch.callbacks} if watch.callbacks else {}
    head.fit_matrix(X, y, len(X), classes, watch.steps, **together(units, originals), **more)
    given = ["test"] if examples.count("test") else []
    untested = untested_notice(shared.rows, y, units, classes)
    facts = _facts(data) | {
        "splits": {
            "fitted": shared.splits,
            "selected": shared.splits,
            "tested": ["folds", *given],
            "folds": len(tested.training),
            **_counts(data, shared.counts()),
        },
        "notices": [
            *shared.notices,
            *_missing_views(data, shared.counts()),
            *untested,
            *examples.notices(given),
            *head.notices_,
        ],
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
        **({"views": data.most_views} if data.most_views else {}),
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
