"""From a feature table to a tested head in the store, in one call."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from features import store as feature_store
from features.errors import BottleneckError
from features.store.table import FeatureTable
from features.text import counted, some
from heads.base import Head, Progress
from heads.examples import Examples, find_examples
from heads.registry import SavedHead, head_class, save_head

#: Classes named in a notice.
_SHOWN = 5


def train_head(
    store: str | Path = "store",
    features: str = "inception_v3",
    *,
    kind: str = "logistic",
    layer: str | None = None,
    version: int | None = None,
    min_images: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
    **parameters: Any,
) -> SavedHead:
    """Train a head, test it on the test split, and make it the table's current head.

    What stands in the way of training is found before any feature is loaded. The version of the table
    that was read is kept in `head.json`: the same version, parameters and seed give the same head.

    Args:
        store: folder of the store.
        features: name of the table.
        kind: `logistic` or `dense`.
        layer: the feature column; by default the one deepest in the network.
        version: of the table; the newest by default.
        min_images: classes with fewer training images are left out, of training and of testing.
        seed: of all that is random.
        progress: called at each step of training with its number, the steps at most, and its figures.
        **parameters: of `LogisticHead` or `DenseHead`.

    Returns:
        The saved head; its `facts["metrics"]["test"]` are for `heads.format_metrics`, and
        `facts["notices"]` are sentences to show.

    Raises:
        BottleneckError: where there is no table, nothing to learn or test from, or a parameter is wrong.
    """
    head = _new_head(kind, {"seed": seed, **parameters})
    table = feature_store.open(store, features, version=version)
    column = table.column(layer)
    examples = find_examples(table, min_images)
    if not examples.count("test"):
        raise BottleneckError(
            f"the test split of table {features!r} has no labelled image of a class with training images, "
            f"so that a head can't be tested: extract more images (about 1 of 10 goes to test), "
            f"or give the splits in DATA"
        )
    head.fit(table, layer=column.layer, min_images=min_images, progress=progress)
    test = head.evaluate(table, "test", layer=column.layer)
    facts = _facts(table, column.layer, head, examples, min_images, test)
    return save_head(table.store, table.name, head, facts)


def _new_head(kind: str, parameters: dict[str, Any]) -> Head:
    cls = head_class(kind)
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(parameters.keys() - set(known))
    if unknown:
        raise BottleneckError(
            f"a {kind} head has no parameter {', '.join(map(repr, unknown))}: it takes {', '.join(known)}"
        )
    return cls(**parameters)


def _facts(
    table: FeatureTable, layer: str, head: Head, examples: Examples, min_images: int, test: dict[str, Any]
) -> dict[str, Any]:
    training = head.training_
    assert training is not None, "fit sets it"
    column = table.column(layer)
    metrics = {"validation": training.validation} if training.validation else {}
    return {
        "table": table.name,
        "table_version": table.version,
        "columns": [
            {"layer": layer, "fingerprint": column.fingerprint, "recipe": column.recipe.to_dict()},
        ],
        "splits": {
            "fitted": training.fitted,
            "selected": training.selected,
            "tested": ["test"],
            "rows": {split: examples.count(split) for split in examples.rows},
        },
        "metrics": {**metrics, "test": test},
        "min_images": min_images,
        "notices": _notices(examples, min_images),
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
