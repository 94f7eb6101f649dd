"""From a feature table to a tested head in the store, in one call."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE
from features.errors import BottleneckError
from heads.examples import find_examples
from heads.fitting import Data, Watch, fit_and_test
from heads.folds import find_shared_out
from heads.progress import Progress, silent
from heads.promotion import check_mode, promote_head
from heads.registry import head_class, new_head
from heads.repeats import main_figures, spread
from heads.saved import SavedHead, save_head
from heads.settings import settings_to_keep, training_settings

if TYPE_CHECKING:
    import keras

    from features.store.table import FeatureTable
    from heads.base import Head


def train_head(
    store: str | Path = "store",
    features: str = DEFAULT_BACKBONE,
    *,
    kind: str = "logistic",
    layers: str | Iterable[str] | None = None,
    version: int | None = None,
    min_images: int = 1,
    views: int | None = None,
    folds: int | None = None,
    repeats: int = 1,
    promote: str = "evidence",
    progress: Progress | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **parameters: Any,
) -> SavedHead:
    """Train a head, test it on the test split, and make it the table's current head if it is no worse.

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
        views: at most so many augmented views of each image are trained on; all by default. They are never
            tested on, and nothing is chosen on them.
        folds: of a cross-validation; 0 for none. By default 5 where no image is for testing, or the hash has
            cut the splits and left less than 10.
        repeats: trainings with the seeds from `seed` on, whose figures are compared; the first head is kept.
        promote: whether it becomes the current head: one of `heads.promotion.MODES`. Other heads stay there.
        progress: called at each step of training with its number, the steps at most, and its figures; of
            several trainings, each is a step. `log.csv` keeps those of the head itself.
        callbacks: further ones of Keras, for a head that Keras trains.
        **parameters: of the head: the arguments of `LogisticHead` or `DenseHead`.

    Returns:
        The saved head, current or not: `heads.read_promotion` says why. Its `facts["metrics"]["test"]` are
        for `heads.format_metrics`, and `facts["notices"]` are sentences to show.

    Raises:
        BottleneckError: where there is no table, nothing to learn or test from, or a parameter is wrong.
    """
    check_mode(promote)
    heads = _new_heads(kind, parameters, repeats)
    if callbacks:
        check_callbacks(kind)
    table = feature_store.open(store, features, version=version)
    columns = table.columns(layers)
    _check_views(table, views)
    shared_out = find_shared_out(table, min_images, folds, views)
    examples = shared_out.examples if shared_out else find_examples(table, min_images, views)
    data = Data(table, columns, examples, shared_out, views)
    _check_data(heads[0], data)
    progress = progress or silent
    log: list[dict[str, float]] = []

    def note(step: int, steps: int, figures: dict[str, float]) -> None:
        log.append({"step": step, **figures})
        if repeats == 1 and shared_out is None:
            progress(step, steps, figures)

    several = repeats > 1
    watch = Watch(note, silent if several else progress, callbacks)
    results = []
    for number, head in enumerate(heads, start=1):
        started = time.monotonic()
        results.append(fit_and_test(head, data, watch) | {"seconds": seconds_since(started)})
        watch = Watch(silent, silent)  # the first is kept
        if several:
            progress(number, repeats, main_figures(results[-1]["metrics"]["test"]))
    facts = results[0]
    if several:
        seeds = [head.get_params()["seed"] for head in heads]
        facts["metrics"]["repeats"] = spread(seeds, [of["metrics"]["test"] for of in results])
        facts["repeats"] = [head.training_.facts for head in heads if head.training_]
    settings = training_settings(
        kind, parameters, data.layers, min_images=min_images, views=views, folds=folds, repeats=repeats
    )
    facts["settings"] = settings_to_keep(settings, head_class(kind)().get_params(), table.views)
    saved = save_head(table.store, table.name, heads[0], facts, log, current=False)
    promote_head(saved, promote)
    return saved


def seconds_since(started: float) -> float:
    """How long a training took, for `head.json`: reading, choosing and testing included.

    Args:
        started: by `time.monotonic`.
    """
    return round(time.monotonic() - started, 2)


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


def _check_views(table: FeatureTable, views: int | None) -> None:
    """Refuse more augmented views than the images of a table have."""
    if views is None or 0 <= views <= table.views:
        return
    if views < 0:
        raise BottleneckError(f"`views={views}`: expected 0 or more")
    has = f"{table.views:,} augmented views of each image" if table.views else "no augmented views"
    raise BottleneckError(
        f"`views={views}`: table {table.name!r} has {has}; extract again with `views={views}`, or train with "
        f"fewer"
    )


def _check_data(head: Head, data: Data) -> None:
    """Refuse what a head can't learn, or not be tested on."""
    name = data.table.name
    if data.examples.multi_label and not head.takes_multi_label:
        raise BottleneckError(
            f"a {head.kind} head learns one label an image, and images of table {name!r} have several"
        )
    if data.shared_out is None and not data.examples.count("test"):
        raise BottleneckError(
            f"the test split of table {name!r} has no labelled image of a class with training images, "
            f"so that a head can't be tested: extract more images (about 1 of 10 goes to test), "
            f"give the splits with the images, or leave out `folds=0`"
        )
