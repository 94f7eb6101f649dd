"""Fine-tuning: a trained head and the last blocks of its backbone are trained on, from the image files.

The result has weights of its own, with which features can be extracted, and a head on such features. Use it
where a head on features of the published weights is not good enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features import files
from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE
from features.backbones.network import arrays_sha256, last_blocks, write_weights
from features.downloads import DownloadProgress
from features.errors import BottleneckError
from features.inputs import list_images
from features.locations import weights_path, weights_to_keep
from features.recipe import Column
from features.store.labels import encode
from features.text import some
from heads.base import Head, Progress, Training, silent
from heads.fitting import column_facts
from heads.pixels.augmentation import Strengths, parse_augmentation
from heads.pixels.epochs import (
    BATCH_SIZE,
    check_splits,
    class_counts,
    facts_of_training,
    fit_epochs,
    log_of,
    measure,
    predict_stream,
)
from heads.pixels.images import LabelledImages, PixelReader, PixelStream, images_of_listing, images_of_table
from heads.pixels.models import join, network_of, pooled_features
from heads.registry import new_head
from heads.saved import SavedHead, load_head, new_id, save_head

if TYPE_CHECKING:
    import keras

    from heads.dense import DenseHead, Moments

#: The name of this way to train, in `head.json` and in the ids of heads and weights.
WORKFLOW = "fine-tuned"

#: What `head.json` says as that of the head before says it.
_INHERITED = ("table", "table_version", "data", "min_images", "left_out", "majority_class")


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
    progress: Progress = silent,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    download: DownloadProgress | None = None,
) -> SavedHead:
    """Train a head and the last blocks of its backbone, and make the result the table's current head.

    The best epoch is chosen on the validation images. Where none is better than the start, the start is kept,
    and no weights are written.

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
        progress: called with 0 before training, then at each epoch, with the epochs at most and the figures.
        callbacks: further ones of Keras.
        download: progress of downloads: see `features.downloads.fetch`.

    Returns:
        The saved head, whose `weights` are the file that was written; `facts["training"]` has the figures of
        the start and of each epoch, and `facts["notices"]` are sentences to show.

    Raises:
        BottleneckError: for a head that is not there, or can't be put as layers of Keras, images that are not
            there, or a wrong parameter.
    """
    saved = load_head(store, features, id)
    strengths = parse_augmentation(augment)
    head = _head_to_train(
        saved, learning_rate=learning_rate, epochs=epochs, patience=patience, batch_size=batch_size, seed=seed
    )
    backbone, network, source = network_of(saved, weights, download)
    _unfreeze(network, last_blocks(backbone, network, saved.layers[-1], blocks))
    reader = PixelReader(backbone.input_size, saved.columns[0].recipe.exif_orientation)
    images = _images_of(saved, reader, download)
    unknown = sorted(set(images.labels()) - set(saved.facts["labels"]))
    streams = images.streams(head.classes_.tolist(), reader, multi_label=head.multi_label_, ignored=unknown)
    check_splits({split: len(stream) for split, stream in streams.items()}, images.name)
    _check_classes(saved, streams["train"].y, images.name)
    start, notices = _start(saved)
    head.model_ = start.keras_model()
    pooled = pooled_features(backbone, network, saved.layers)
    measured = _fit(head, pooled, streams, strengths, progress, callbacks)
    assert head.training_ is not None, "_fit sets it"
    start_is_kept = head.training_.facts["epochs"] == 0
    if start_is_kept:
        notices.append(f"no epoch was better on validation than the start, head {saved.id}, which is kept")
    if unknown:
        notices.append(f"left out the labels that head {saved.id} was not taught: {some(unknown)}")
    facts = {
        **{name: saved.facts[name] for name in _INHERITED if name in saved.facts},
        "from_head": saved.id,
        "blocks": blocks,
        **facts_of_training(WORKFLOW, head, strengths, streams),
        "notices": [*images.notices, *notices],
    }
    facts["metrics"] = measure(head, facts, streams, measured)
    return _save(saved, head, None if start_is_kept else network, source.spec, facts)


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


def _images_of(saved: SavedHead, reader: PixelReader, download: DownloadProgress | None) -> LabelledImages:
    """The images that a head was trained on: those of its version of the table, or of its input."""
    version = saved.facts["table_version"]
    if version is not None:
        return images_of_table(feature_store.open(saved.store, saved.facts["table"], version=version), reader)
    data = saved.facts["data"]
    listing = list_images(data["source"], splits=data["splits"], classes=data["classes"], progress=download)
    return images_of_listing(listing, reader)


def _check_classes(saved: SavedHead, y: np.ndarray, name: str) -> None:
    """Refuse to unlearn a class; a head that was tested by folds may know one of other splits alone."""
    labels = saved.facts["labels"]
    missing = np.array(labels)[class_counts(y, len(labels)) == 0]
    if len(missing):
        raise BottleneckError(
            f"the train split of {name} has no image of {some(missing)}, which head {saved.id} knows"
        )


def _start(saved: SavedHead) -> tuple[Head, list[str]]:
    """The head to start from, fitted on train alone: validation chooses, and test measures; notices."""
    facts = saved.facts
    others = " and ".join(split for split in facts["splits"]["fitted"] if split != "train")
    if not others:
        return saved.head, []
    table = feature_store.open(saved.store, facts["table"], version=facts["table_version"])
    how = {"classes": facts["labels"], "multi_label": facts.get("multi_label", False)}
    X, labels = table.matrix("train", layers=saved.layers, **how)
    y = encode(labels, **how, ignored=facts.get("left_out") or ())
    chosen = {name: facts["training"][name] for name in facts["parameters"] if name in facts["training"]}
    head = new_head(facts["kind"], {**facts["parameters"], **chosen})
    head.fit_matrix(X, y, len(X), facts["labels"])
    return head, [f"head {saved.id} was fitted on {others}, too: the start was fitted anew, on train alone"]


def _fit(
    head: DenseHead,
    features: keras.Model,
    streams: Mapping[str, PixelStream],
    strengths: Strengths,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, np.ndarray]:
    """Train both, and keep the best epoch or the start; probabilities of the validation and test images."""
    train, validation = streams["train"], streams["validation"]
    model = join(features, head.model_, strengths, _deviation(head.model_), head.seed)
    head.compile(model, _seen(train.y, len(head.classes_)))
    with validation.reading():
        at_start = model.evaluate(validation.dataset(BATCH_SIZE), verbose=0, return_dict=True)
    start = {f"val_{name}": float(value) for name, value in at_start.items()}
    progress(0, head.epochs, start)
    before = [variable.numpy() for variable in model.trainable_variables]
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
        for variable, value in zip(model.trainable_variables, before, strict=True):
            variable.assign(value)
    chosen, probabilities = head.choose_by((validation.y, predict_stream(model, validation)))
    facts = {"epochs": best, "epochs_run": len(history), "chosen_by": "validation"}
    facts |= {"batch_size": head.batch_size, **chosen, "start": start, "history": history}
    head.training_ = Training(facts, ["train"], ["validation"])
    return {"validation": probabilities, "test": predict_stream(model, streams["test"])}


def _seen(y: np.ndarray, classes: int) -> Moments:
    """What the loss has to know of the train images; their features are those of the moment."""
    from heads.dense import Moments

    return Moments(np.empty(0), np.empty(0), class_counts(y, classes), len(y), multi_label=y.ndim == 2)


def _deviation(head: keras.Model) -> np.ndarray:
    """That of the features, as the head normalizes them; 1 where it does not."""
    import keras

    scales = [layer for layer in head.layers if isinstance(layer, keras.layers.Normalization)]
    return np.sqrt(scales[0].variance).ravel() if scales else np.ones(head.input_shape[1])


def _save(
    saved: SavedHead, head: DenseHead, network: keras.Model | None, weights: str, facts: dict[str, Any]
) -> SavedHead:
    """Keep the head, and the weights of the network it goes with; without one, `weights` are still right."""
    recipe, head_id = dataclasses.replace(saved.columns[0].recipe, precision="float32"), new_id(WORKFLOW)
    path = weights_path(saved.store, f"{head_id}.weights.h5")
    try:
        if network is not None:
            write_weights(network, path)
            weights, sha256 = str(path), arrays_sha256(network.get_weights())
            recipe = dataclasses.replace(recipe, weights=head_id, weights_sha256=sha256)
        facts["weights"] = weights_to_keep(saved.store, weights)
        facts["columns"] = column_facts([Column(recipe, layer) for layer in saved.layers])
        return save_head(saved.store, facts["table"], head, facts, log_of(head), head_id)
    except BaseException:
        files.remove(path)
        raise
