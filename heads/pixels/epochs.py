"""Training on pixels: the epochs, and what is checked before and measured after them.

What `heads.pixels.end_to_end` and `heads.pixels.fine_tuning` have in common.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import BottleneckError
from heads.base import Training
from heads.metrics import evaluate_head
from heads.pixels.augmentation import Strengths
from heads.pixels.streams import PixelStream
from heads.progress import Progress

if TYPE_CHECKING:
    import keras

    from heads.dense import DenseHead

#: Images in a step, of training too where not said: what all layers compute of so many is in memory.
BATCH_SIZE = 32


def predict_stream(model: keras.Model, images: PixelStream) -> np.ndarray:
    """What a model gives for each image, float32 ndarray of shape (n, n_outputs)."""
    with images.reading():
        return np.concatenate(
            [np.asarray(model(pixels, training=False)) for pixels, _ in images.dataset(BATCH_SIZE)]
        )


def fit_epochs(
    model: keras.Model,
    train: PixelStream,
    validation: PixelStream,
    *,
    batch_size: int | None,
    epochs: int,
    patience: int,
    seed: int,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> list[dict[str, float]]:
    """Train a compiled model until the validation loss no longer falls, and keep the best epoch's weights.

    Args:
        batch_size: images in a step; None for `BATCH_SIZE`.
        epochs: passes over the train images, at most.
        patience: epochs without a lower validation loss until training stops.
        seed: of the order of the images.
        progress: called at each epoch.
        callbacks: further ones of Keras.

    Returns:
        The figures of each epoch: `loss`, `val_loss`, the model's metrics likewise, and `seconds`.
    """
    from keras.callbacks import EarlyStopping, LambdaCallback

    history: list[dict[str, float]] = []
    started = time.monotonic()

    def note(epoch: int, logs: dict[str, Any]) -> None:
        nonlocal started
        ended = time.monotonic()
        figures = {name: float(value) for name, value in logs.items()}
        history.append({**figures, "seconds": round(ended - started, 1)})
        started = ended
        progress(epoch + 1, epochs, figures)

    with train.reading(), validation.reading():
        model.fit(
            train.dataset(batch_size or BATCH_SIZE, shuffle=True, seed=seed),
            validation_data=validation.dataset(BATCH_SIZE),
            epochs=epochs,
            callbacks=[
                LambdaCallback(on_epoch_end=note),
                EarlyStopping("val_loss", patience=patience, restore_best_weights=True),
                *callbacks,
            ],
            shuffle=False,  # the stream shuffles, with another order at each epoch
            verbose=0,
        )
    return history


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """The number, from 1, of the epoch whose weights `fit_epochs` has kept.

    Raises:
        BottleneckError: where no epoch has a validation loss that is a number.
    """
    losses = np.array([figures["val_loss"] for figures in history])
    if not np.isfinite(losses).any():
        raise BottleneckError(
            "training diverged: the validation loss of no epoch is a number, and no head is saved; lower the "
            "`learning_rate`"
        )
    return int(np.nanargmin(losses)) + 1


def conclude(
    head: DenseHead,
    model: keras.Model,
    streams: Mapping[str, PixelStream],
    history: Sequence[Mapping[str, float]],
    epoch: int,
    **more: Any,
) -> dict[str, np.ndarray]:
    """Choose by the validation images, and note in the head how it was trained.

    Args:
        head: whose model is a part of `model`.
        history: as `fit_epochs` gives it.
        epoch: whose weights the model has.
        more: further facts, for `head.json`.

    Returns:
        Probabilities of the validation and the test images.
    """
    validation = streams["validation"]
    chosen, probabilities = head.choose_by((validation.y, predict_stream(model, validation)))
    facts = {"epochs": epoch, "epochs_run": len(history), "chosen_by": "validation"}
    facts |= {"batch_size": head.batch_size or BATCH_SIZE, **chosen, **more, "history": history}
    head.training_ = Training(facts, ["train"], ["validation"])
    return {"validation": probabilities, "test": predict_stream(model, streams["test"])}


def check_splits(images: Mapping[str, int], name: str) -> None:
    """Refuse splits without images: the epoch is chosen on validation, and the head is tested on test."""
    for split in ("validation", "test"):
        if not images[split]:
            raise BottleneckError(
                f"the {split} split of {name} has no labelled image of a class with training images: add "
                f"images (about 1 of 10 goes to {split}), or give the splits with the images"
            )


def facts_of_training(
    workflow: str, head: DenseHead, strengths: Strengths, streams: Mapping[str, PixelStream]
) -> dict[str, Any]:
    """What `head.json` says of how a head was trained on pixels."""
    assert head.training_ is not None, "fit sets it"
    return {
        "workflow": workflow,
        "augmentation": dict(strengths),
        "splits": {
            "fitted": head.training_.fitted,
            "selected": head.training_.selected,
            "tested": ["test"],
            "rows": {split: len(stream) for split, stream in streams.items()},
        },
    }


def log_of(head: DenseHead) -> list[dict[str, float]]:
    """The figures of each epoch, for `log.csv`."""
    assert head.training_ is not None, "fit sets it"
    return [
        {"step": step, **figures} for step, figures in enumerate(head.training_.facts["history"], start=1)
    ]


def measure(
    head: DenseHead,
    facts: Mapping[str, Any],
    streams: Mapping[str, PixelStream],
    probabilities: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Metrics of what the whole model answered, by split."""
    metrics = {}
    for split, of_split in probabilities.items():
        stream = streams[split]
        left_out = {"left_out": stream.left_out} if stream.left_out else {}
        metrics[split] = evaluate_head(head, facts, stream.y, of_split) | left_out
    return metrics
