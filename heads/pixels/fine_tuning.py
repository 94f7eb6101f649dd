"""Fine-tuning: a trained head and the last blocks of its backbone are trained on, from the image files.

The result has weights of its own, with which features can be extracted, and a head on such features. Use it
where a head on features of the published weights is not good enough.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features import files
from features.backbones import DEFAULT_BACKBONE
from features.backbones.network import arrays_sha256, last_blocks, write_weights
from features.backbones.weights import UNTRAINED_SUFFIX, is_untrained
from features.downloads import DownloadProgress
from features.errors import BottleneckError
from features.locations import heads_path, weights_path, weights_to_keep
from features.recipe import Column
from features.store.labels import encode
from features.text import some
from heads.base import Head
from heads.fitting import check_memory, column_facts
from heads.pixels.augmentation import Strengths, parse_augmentation
from heads.pixels.epochs import (
    BATCH_SIZE,
    check_splits,
    conclude,
    facts_of_training,
    fit_epochs,
    log_of,
    measure,
)
from heads.pixels.images import Reading, nobody
from heads.pixels.models import join, network_of, pooled_features
from heads.pixels.origin import check_classes, images_of, table_of
from heads.pixels.streams import PixelReader, PixelStream
from heads.progress import Progress, silent
from heads.promotion import check_mode, promote_head
from heads.registry import new_head
from heads.saved import SavedHead, load_head, new_id, save_head
from heads.shares import class_counts
from heads.training import seconds_since

if TYPE_CHECKING:
    import keras

    from features.store.table import FeatureTable
    from heads.dense import DenseHead, Moments

#: The name of this way to train, in `head.json` and in the ids of heads and weights.
WORKFLOW = "fine-tuned"

#: What `head.json` says as that of the head before says it.
_INHERITED = ("table", "table_id", "table_version", "data", "min_images", "left_out", "majority_class")


def fine_tune(
    store: str | Path = "store",
    features: str = DEFAULT_BACKBONE,
    *,
    id: str | None = None,
    blocks: int = 1,
    learning_rate: float = 3e-5,
    epochs: int = 10,
    patience: int = 3,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    augment: Iterable[str] | None = None,
    weights: str | None = None,
    promote: str = "always",
    reading: Reading = nobody,
    progress: Progress = silent,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    download: DownloadProgress | None = None,
) -> SavedHead:
    """Train a head and the last blocks of its backbone on, and promote the result.

    The best epoch is chosen on the validation images. Where none is better than the start, nothing is saved.

    Args:
        store: folder of the store.
        features: name of the table that the head is kept under.
        id: the head to start from; by default the current one.
        blocks: how many blocks of the backbone are trained, as of `features.backbones.network.last_blocks`;
            their BatchNormalization stays as it is.
        learning_rate: of Adam.
        epochs, patience, batch_size, seed: as of `heads.DenseHead`.
        augment: as of `heads.pixels.augmentation.parse_augmentation`.
        weights: those of the head, where they are not found by themselves.
        promote: as of `heads.train_head`. No table has features of the new weights yet, so that by `evidence`
            the head is left aside.
        reading: called with the number of images before they are read, all of them once.
        progress: called with 0 before training, then at each epoch, with the epochs at most and the figures.
        callbacks: further ones of Keras.
        download: progress of downloads: see `features.downloads.fetch`.

    Returns:
        The saved head, whose `weights` are the file that was written; `facts["training"]` has the figures of
        the start and of each epoch, and `facts["notices"]` are sentences to show. Where no epoch was better
        than the start: the head that was given, which stays as it is.

    Raises:
        BottleneckError: for a head that is not there, or can't be put as layers of Keras, images that are not
            there or not those that it was trained on, or a wrong parameter.
    """
    started = time.monotonic()
    check_mode(promote)
    saved = load_head(store, features, id)
    strengths = parse_augmentation(augment)
    head = _head_to_train(
        saved, learning_rate=learning_rate, epochs=epochs, patience=patience, batch_size=batch_size, seed=seed
    )
    table, notices = table_of(saved)
    backbone, network, _ = network_of(saved, weights, download)
    _unfreeze(network, last_blocks(backbone, network, saved.layers[-1], blocks))
    reader = PixelReader(backbone.input_size, saved.columns[0].recipe.exif_orientation)
    images = images_of(saved, table, reader, reading, download)
    unknown = sorted(set(images.labels()) - set(saved.facts["labels"]))
    streams = images.streams(head.classes_.tolist(), reader, multi_label=head.multi_label_, ignored=unknown)
    check_splits({split: len(stream) for split, stream in streams.items()}, images.name)
    check_classes(saved, streams["train"].y, images.name)
    start, refitted = _start(saved, table)
    head.model_ = start.keras_model()
    pooled = pooled_features(backbone, network, saved.layers)
    measured = _fit(head, pooled, streams, strengths, progress, callbacks)
    if measured is None:
        return saved
    if unknown:
        notices.append(f"left out the labels that head {saved.id} was not taught: {some(unknown)}")
    facts = {
        **{name: saved.facts[name] for name in _INHERITED if name in saved.facts},
        "from_head": saved.id,
        "blocks": blocks,
        **facts_of_training(WORKFLOW, head, strengths, streams),
        "notices": [*images.notices, *notices, *refitted, *head.notices_],
    }
    facts["metrics"] = measure(head, facts, streams, measured)
    facts["seconds"] = seconds_since(started)
    tuned = _save(saved, head, network, facts)
    promote_head(tuned, promote)
    return tuned


def _head_to_train(saved: SavedHead, **training: Any) -> DenseHead:
    """A dense head of the same classes, whose layers are yet to come; what it is made of is taken over."""
    known = saved.facts["parameters"]
    taken = {name: known[name] for name in ("hidden", "class_weight", "calibration") if name in known}
    dropout = known.get("dropout", 0.0)
    head: Any = new_head("dense", {**taken, "dropout": dropout, "weight_decay": 0.0, **training})
    head.check_parameters()
    head.classes_, head.n_features_in_ = np.array(saved.facts["labels"]), saved.facts["width"]
    head.multi_label_ = saved.facts.get("multi_label", False)
    return head


def _unfreeze(network: keras.Model, layers: list[keras.Layer]) -> None:
    """Let `layers` be trained, but their BatchNormalization, and nothing else."""
    import keras

    for layer in network.layers:
        wanted = any(layer is one for one in layers)
        layer.trainable = wanted and not isinstance(layer, keras.layers.BatchNormalization)


def _start(saved: SavedHead, table: FeatureTable | None) -> tuple[Head, list[str]]:
    """The head to start from, fitted on train alone: validation chooses, and test measures; notices."""
    facts = saved.facts
    others = " and ".join(split for split in facts["splits"]["fitted"] if split != "train")
    if not others:
        return saved.head, []
    assert table is not None, "a head on an input is fitted on train alone"
    chosen = {}
    if "test" not in facts["splits"]["selected"]:
        chosen = {name: facts["training"][name] for name in facts["parameters"] if name in facts["training"]}
    head = new_head(facts["kind"], {**facts["parameters"], **chosen})
    labels = facts["labels"]
    check_memory(head, 1, facts["splits"]["rows"]["train"], facts["width"], len(labels))
    how = {"classes": labels, "multi_label": facts.get("multi_label", False)}
    X, of_rows = table.matrix("train", layers=saved.layers, views=0, **how)
    head.fit_matrix(X, encode(of_rows, **how, ignored=facts.get("left_out") or ()), len(X), labels)
    return head, [f"head {saved.id} was fitted on {others}, too: the start was fitted anew, on train alone"]


def _fit(
    head: DenseHead,
    features: keras.Model,
    streams: Mapping[str, PixelStream],
    strengths: Strengths,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, np.ndarray] | None:
    """Train both, and keep the best epoch: probabilities of the validation and test images.

    Returns:
        None where no epoch was better than the start.
    """
    train, validation = streams["train"], streams["validation"]
    model = join(features, head.model_, strengths, _deviation(head.model_), head.seed)
    head.compile(model, _seen(train.y, len(head.classes_)))
    with validation.reading():
        at_start = model.evaluate(validation.dataset(BATCH_SIZE), verbose=0, return_dict=True)
    start = {f"val_{name}": float(value) for name, value in at_start.items()}
    if not np.isfinite(start["val_loss"]):
        raise BottleneckError(
            "the validation loss of the head to start from is no number: its training diverged; train it "
            "again with a lower `learning_rate`"
        )
    progress(0, head.epochs, start)
    history = fit_epochs(
        model,
        train,
        validation,
        batch_size=head.batch_size,
        epochs=head.epochs,
        patience=head.patience,
        seed=head.seed,
        progress=progress,
        callbacks=callbacks,
    )
    best = int(np.nanargmin([start["val_loss"], *(figures["val_loss"] for figures in history)]))
    if best == 0:
        return None
    return conclude(head, model, streams, history, best, start=start)


def _seen(y: np.ndarray, classes: int) -> Moments:
    """What the loss has to know of the train images; their features are those of the moment."""
    from heads.dense import Moments

    return Moments(np.empty(0), np.empty(0), class_counts(y, classes), len(y), multi_label=y.ndim == 2)


def _deviation(head: keras.Model) -> np.ndarray:
    """That of the features, as the head normalizes them; 1 where it does not."""
    import keras

    scales = [layer for layer in head.layers if isinstance(layer, keras.layers.Normalization)]
    return np.sqrt(scales[0].variance).ravel() if scales else np.ones(head.input_shape[1])


def _save(saved: SavedHead, head: DenseHead, network: keras.Model, facts: dict[str, Any]) -> SavedHead:
    """Keep the head, and the weights of the network that it goes with: both or none."""
    head_id, before = new_id(WORKFLOW), saved.columns[0].recipe
    name = head_id + (UNTRAINED_SUFFIX if is_untrained(before.weights) else "")
    path = weights_path(saved.store, f"{name}.weights.h5")
    sha256 = arrays_sha256(network.get_weights())
    recipe = dataclasses.replace(before, precision="float32", weights=name, weights_sha256=sha256)
    facts["weights"] = weights_to_keep(saved.store, str(path))
    facts["columns"] = column_facts([Column(recipe, layer) for layer in saved.layers])
    try:
        write_weights(network, path)
        return save_head(saved.store, facts["table"], head, facts, log_of(head), head_id, current=False)
    except BaseException:
        if not files.is_folder(heads_path(saved.store, facts["table"], head_id)):
            files.remove(path)
        raise
