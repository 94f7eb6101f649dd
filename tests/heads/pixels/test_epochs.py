from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from features.backbones.network import build_network
from features.errors import BottleneckError
from heads.pixels.epochs import best_epoch, check_splits, fit_epochs, predict_stream
from heads.pixels.models import join, pooled_features
from heads.pixels.streams import PixelReader, PixelStream
from tests.heads.pictures import make_photos
from tests.tiny import BACKBONE


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> PixelStream:
    uris = sorted(map(str, make_photos(tmp_path_factory.mktemp("photos"), 4).rglob("*.png")))
    return PixelStream(uris, np.arange(len(uris)) % 3, PixelReader(32))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build_network(BACKBONE, None)


def fit(images: PixelStream, network: keras.Model, **how: Any) -> tuple[keras.Model, list, list]:
    """A softmax layer on features, trained so fast that it gets worse again."""
    features = pooled_features(BACKBONE, network, ["avg_pool"])
    features.trainable = False
    softmax = keras.layers.Dense(3, "softmax", kernel_initializer="zeros")
    model = join(features, keras.Sequential([keras.Input((16,)), softmax]), {}, np.ones(16), 0)
    model.compile(
        keras.optimizers.SGD(how.pop("rate", 0.5)), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    steps: list[Any] = []
    how = {"batch_size": 4, "epochs": 6, "patience": 2, "seed": 0, **how}
    validation = images.some(6)
    history = fit_epochs(model, images, validation, progress=lambda *step: steps.append(step), **how)
    return model, history, steps


def test_the_best_epoch_is_kept_and_all_that_were_tried_are_told(
    images: PixelStream, network: keras.Model
) -> None:
    model, history, steps = fit(images, network, rate=20.0)
    losses = [figures["val_loss"] for figures in history]
    best = int(np.argmin(losses))
    assert len(history) == min(6, best + 3) and best < len(history) - 1
    assert [step[:2] for step in steps] == [(number + 1, 6) for number in range(len(history))]
    assert [
        step[2] | {"seconds": figures["seconds"]} for step, figures in zip(steps, history, strict=True)
    ] == history
    assert history[0].keys() == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    validation = images.some(6)
    loss = model.evaluate(validation.dataset(6), verbose=0)[0]
    assert loss == pytest.approx(losses[best], rel=1e-4)


def test_an_epoch_without_a_number_is_not_the_best_one() -> None:
    nan, inf = float("nan"), float("inf")
    assert best_epoch([{"val_loss": loss} for loss in (2.0, 1.0, nan)]) == 2
    assert best_epoch([{"val_loss": loss} for loss in (inf, 3.0)]) == 2
    with pytest.raises(BottleneckError, match="^training diverged: .* lower the `learning_rate`$"):
        best_epoch([{"val_loss": nan}, {"val_loss": inf}])


def test_the_seed_decides_the_order_and_the_batch_size_the_steps(
    images: PixelStream, network: keras.Model
) -> None:
    def losses(**how: Any) -> list[float]:
        return [figures["loss"] for figures in fit(images, network, epochs=2, **how)[1]]

    first = losses()
    assert losses() == pytest.approx(first, rel=1e-5)
    assert losses(seed=1) != pytest.approx(first, rel=1e-4)
    assert losses(batch_size=12) != pytest.approx(first, rel=1e-4)
    assert losses(batch_size=None) == pytest.approx(losses(batch_size=32), rel=1e-5)


def test_a_file_that_goes_away_is_told_in_a_sentence(network: keras.Model, tmp_path: Path) -> None:
    uris = sorted(map(str, make_photos(tmp_path, 2).rglob("*.png")))
    images = PixelStream(uris, np.arange(6) % 3, PixelReader(32))
    Path(uris[3]).unlink()
    with pytest.raises(BottleneckError, match="an image can't be read any more: .* missing"):
        fit(images, network)
    model = pooled_features(BACKBONE, network, ["avg_pool"])
    with pytest.raises(BottleneckError, match="an image can't be read any more: .* missing"):
        predict_stream(model, images)


def test_splits_without_images_are_refused() -> None:
    check_splits({"train": 0, "validation": 1, "test": 1}, "this")
    for split in ("validation", "test"):
        with pytest.raises(BottleneckError, match=f"^the {split} split of this has no labelled image"):
            check_splits({"train": 1, "validation": 1, "test": 1, split: 0}, "this")
