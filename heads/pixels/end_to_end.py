"""End to end: augmentation, frozen backbone and dense head in one Keras model, trained from the image files.

Use it where images are so few that augmentation pays, or to see whether it would. Otherwise train a head from
stored features: here each epoch runs the backbone over all images anew, which takes as long as an extraction.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE, get_backbone
from features.backbones.network import arrays_sha256, build_network
from features.backbones.weights import find_weights
from features.downloads import DownloadProgress
from features.inputs import list_images
from features.locations import store_path, weights_to_keep
from features.recipe import Column, FeatureRecipe
from features.splits import parse_splits
from heads.examples import Examples, count_examples
from heads.fitting import column_facts
from heads.pixels.augmentation import Strengths, parse_augmentation
from heads.pixels.epochs import (
    BATCH_SIZE,
    best_epoch,
    check_splits,
    conclude,
    facts_of_training,
    fit_epochs,
    log_of,
    measure,
)
from heads.pixels.images import Reading, crashed_images, images_of_listing, nobody
from heads.pixels.models import join, pooled_features
from heads.pixels.streams import PixelReader, PixelStream
from heads.progress import Progress, silent
from heads.promotion import check_mode, promote_head
from heads.registry import new_head
from heads.saved import SavedHead, new_id, save_head
from heads.shares import class_counts
from heads.training import seconds_since

if TYPE_CHECKING:
    import keras

    from heads.dense import DenseHead, Moments

#: What a dense head is trained with here where it is not said: an epoch takes minutes, not milliseconds.
DEFAULTS: Mapping[str, Any] = {"epochs": 20, "patience": 3}

#: The name of this way to train, in `head.json` and in the ids of heads.
WORKFLOW = "end-to-end"

#: Train images that the moments of the features are taken from.
_MOMENTS_OF = 1000


def train_end_to_end(
    store: str | Path = "store",
    features: str | None = None,
    *,
    data: str = "auto",
    splits: Mapping[str, str] | str | None = None,
    classes: str | None = None,
    backbone: str = DEFAULT_BACKBONE,
    weights: str = "auto",
    layers: str | Iterable[str] | None = None,
    exif_orientation: bool = False,
    augment: Iterable[str] | None = None,
    min_images: int = 1,
    promote: str = "evidence",
    reading: Reading = nobody,
    progress: Progress = silent,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    download: DownloadProgress | None = None,
    **parameters: Any,
) -> SavedHead:
    """Train a dense head on the frozen backbone from augmented images, and promote it.

    What is saved is the head, as `heads.train_head` saves one: on stored features it gives the probabilities
    that the model gives here. `heads.pixels.models` puts backbone and head together again.

    Args:
        store: folder of the store.
        features: name of the table that the head is kept under, which need not be there; by default the
            backbone's name.
        data, splits, classes: the images, as of `features.inputs.list_images`.
        backbone, weights, layers, exif_orientation: as of `features.Extractor`.
        augment: as of `heads.pixels.augmentation.parse_augmentation`.
        min_images: classes with fewer training images are left out.
        promote: as of `heads.train_head`; heads are compared on the stored features of the table, if there is
            one.
        reading: called with the number of images before they are read, all of them once.
        progress: called at each epoch with its number, the epochs at most, and its figures.
        callbacks: further ones of Keras.
        download: progress of downloads: see `features.downloads.fetch`.
        **parameters: of `heads.DenseHead`; `DEFAULTS` for those that are not given.

    Returns:
        The saved head; `facts["training"]["history"]` has the figures of each epoch, and `facts["notices"]`
        are sentences to show.

    Raises:
        BottleneckError: for images that can't be found or read, splits or classes without any, a wrong
            parameter, or training that diverges.
    """
    started = time.monotonic()
    check_mode(promote)
    features = features or backbone
    feature_store.check_table_name(features)
    head: Any = new_head("dense", {**DEFAULTS, **parameters})
    head.check_parameters()
    strengths = parse_augmentation(augment)
    of_network = get_backbone(backbone)
    names, folders = of_network.parse_layers(layers), parse_splits(splits)
    listing = list_images(data, splits=folders, classes=classes, progress=download)
    source = find_weights(weights, of_network, download)
    reader = PixelReader(of_network.input_size, exif_orientation)
    images = images_of_listing(listing, reader, crashed_images(store, features), reading)
    examples = count_examples(images.rows, images.name, min_images)
    check_splits(examples.images, images.name)
    streams = images.streams(
        examples.classes, reader, multi_label=examples.multi_label, ignored=examples.left_out
    )
    network = build_network(of_network, source.path)
    network.trainable = False
    pooled = pooled_features(of_network, network, names)
    measured = _fit(head, pooled, streams, examples, strengths, progress, callbacks)
    sha256 = arrays_sha256(network.get_weights())
    recipe = FeatureRecipe(source.name, sha256, exif_orientation=exif_orientation, backbone=backbone)
    facts = {
        "table": features,
        "table_version": None,
        "weights": weights_to_keep(store, source.spec),
        "columns": column_facts([Column(recipe, name) for name in names]),
        "data": {
            "source": listing.source,
            "splits": folders,
            "classes": classes,
            "sha256": images.digest(),
        },
        **facts_of_training(WORKFLOW, head, strengths, streams),
        "min_images": min_images,
        "notices": [*images.notices, *examples.notices(), *head.notices_],
        "left_out": examples.left_out,
        "majority_class": examples.majority_class,
    }
    facts["metrics"] = measure(head, facts, streams, measured)
    facts["seconds"] = seconds_since(started)
    saved = save_head(store_path(store), features, head, facts, log_of(head), new_id(WORKFLOW), current=False)
    promote_head(saved, promote)
    return saved


def _fit(
    head: DenseHead,
    features: keras.Model,
    streams: Mapping[str, PixelStream],
    examples: Examples,
    strengths: Strengths,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, np.ndarray]:
    """Train the head; probabilities of the validation and the test images."""
    train = streams["train"]
    seen = _moments(features, train, len(examples.classes), head.seed)
    head.classes_, head.n_features_in_ = np.asarray(examples.classes), len(seen.mean)
    head.multi_label_ = examples.multi_label
    head.model_ = head.build(seen)
    model = join(features, head.model_, strengths, np.sqrt(seen.variance), head.seed)
    head.compile(model, seen)
    history = fit_epochs(
        model,
        train,
        streams["validation"],
        batch_size=head.batch_size,
        epochs=head.epochs,
        patience=head.patience,
        seed=head.seed,
        progress=progress,
        callbacks=callbacks,
    )
    return conclude(head, model, streams, history, best_epoch(history))


def _moments(features: keras.Model, train: PixelStream, classes: int, seed: int) -> Moments:
    """Those of the features of some train images as they are, and the rows of each class of all of them."""
    from heads.dense import moments

    chosen = train.some(_MOMENTS_OF, seed)
    with chosen.reading():
        batches = chosen.dataset(BATCH_SIZE).as_numpy_iterator()
        seen = moments(((np.asarray(features(pixels)), y) for pixels, y in batches), classes)
    return seen._replace(counts=class_counts(train.y, classes), rows=len(train))
