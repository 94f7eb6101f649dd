from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from features import Extractor, files
from features.backbones.network import arrays_sha256, build_network
from features.backbones.weights import find_weights
from features.engines.graphs import _convert_here
from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import (
    DenseHead,
    Head,
    LogisticHead,
    SavedHead,
    fine_tune,
    list_heads,
    load_head,
    train_end_to_end,
    train_head,
)
from heads.pixels import fine_tuning as fine_tuning_module
from heads.pixels.augmentation import DEFAULT
from heads.pixels.epochs import predict_stream
from heads.pixels.fine_tuning import _deviation, _start, _unfreeze
from heads.pixels.models import whole_model
from heads.pixels.streams import PixelReader, PixelStream
from tests.heads.pictures import COLORS, make_photos, make_table
from tests.tables import add_views
from tests.tiny import BACKBONE, SHA256

LAYERS = ("early", "avg_pool")
#: Of a network of two convolutions with few images: it learns fast.
QUICK: dict[str, Any] = {"blocks": 2, "learning_rate": 3e-3, "epochs": 4, "augment": ["flip"]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def table(tiny: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    return make_table(photos, tmp_path_factory.mktemp("store"), LAYERS)


@pytest.fixture(scope="module")
def dense(table: FeatureTable) -> SavedHead:
    """A head that has not learned enough, on both layers."""
    return train_head(
        table.store, "tiny", kind="dense", layers=LAYERS, epochs=2, hidden=4, class_weight="balanced"
    )


@pytest.fixture(scope="module")
def tuned(dense: SavedHead) -> tuple[SavedHead, list]:
    steps: list[Any] = []
    saved = fine_tune(dense.store, "tiny", id=dense.id, progress=lambda *step: steps.append(step), **QUICK)
    return saved, steps


def of_split(photos: Path, split: str) -> tuple[list[str], np.ndarray]:
    uris = sorted(map(str, (photos / split).rglob("*.png")))
    return uris, np.array([COLORS.index(Path(uri).parent.name) for uri in uris])


def log_loss(probabilities: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(probabilities[np.arange(len(y)), y]).mean())


def test_features_with_the_new_weights_and_the_head_reach_what_fine_tuning_reached(
    tuned: tuple[SavedHead, list], photos: Path
) -> None:
    saved, (uris, y) = tuned[0], of_split(photos, "validation")
    assert saved.weights == str(saved.store / "weights" / f"{saved.id}-untrained.weights.h5")
    # Here, where the backbone is known: its own process would not know it.
    sha256 = _convert_here(BACKBONE, find_weights(saved.weights, BACKBONE), "openvino")
    assert sha256 == saved.columns[0].recipe.weights_sha256 != SHA256
    extractor = Extractor(saved.weights, backbone="tiny", layers=LAYERS, engine="openvino")
    assert extractor.recipe == saved.columns[0].recipe
    features = extractor.features(uris)
    probabilities = saved.head.predict_proba(np.concatenate([features[layer] for layer in LAYERS], axis=1))
    on_pixels = predict_stream(whole_model(saved), PixelStream(uris, y, PixelReader(32)))
    np.testing.assert_allclose(probabilities, on_pixels, atol=1e-4)
    facts = saved.facts["training"]
    assert facts["epochs"] > 0
    reached = saved.facts["metrics"]["validation"]["log_loss"]
    assert log_loss(probabilities, y) == pytest.approx(reached, abs=1e-4)
    assert reached < facts["start"]["val_loss"]


def test_head_json(tuned: tuple[SavedHead, list], dense: SavedHead) -> None:
    saved, steps = tuned
    facts = json.loads((saved.directory / "head.json").read_text())
    assert load_head(saved.store, "tiny").id == saved.id, "it is the current one"
    assert re.fullmatch(r"\d{8}-\d{6}-fine-tuned-[0-9a-f]{4}", saved.id)
    start, history = facts["training"].pop("start"), facts["training"].pop("history")
    assert steps[0] == (0, 4, start) and start.keys() == {"val_loss", "val_accuracy"}
    assert [step[:2] for step in steps[1:]] == [(number + 1, 4) for number in range(len(history))]
    lines = (saved.directory / "log.csv").read_text().splitlines()
    assert len(lines) == len(history) + 1 and lines[0].startswith("step,")
    losses = [start["val_loss"], *(figures["val_loss"] for figures in history)]
    assert facts["training"] == {
        "epochs": int(np.argmin(losses)),
        "epochs_run": len(history),
        "batch_size": 32,
        "chosen_by": "validation",
    }
    known = ("table", "table_version", "weights", "workflow", "from_head", "blocks", "augmentation", "kind")
    assert {name: facts[name] for name in known} == {
        "table": "tiny",
        "table_version": 1,
        "weights": f"weights/{saved.id}-untrained.weights.h5",
        "workflow": "fine-tuned",
        "from_head": dense.id,
        "blocks": 2,
        "augmentation": {"flip": None},
        "kind": "dense",
    }
    assert facts["splits"] == {
        "fitted": ["train"],
        "selected": ["validation"],
        "tested": ["test"],
        "rows": {"train": 18, "validation": 6, "test": 6},
    }
    taken = {"hidden": 4, "dropout": 0.2, "class_weight": "balanced"}
    asked = {
        "learning_rate": 3e-3,
        "epochs": 4,
        "patience": 3,
        "batch_size": 32,
        "seed": 0,
        "weight_decay": 0.0,
    }
    assert facts["parameters"].items() >= (taken | asked).items()
    assert facts["labels"] == list(COLORS) and facts["metrics"]["test"]["count"] == 6
    for name in ("min_images", "left_out", "majority_class"):
        assert facts[name] == dense.facts[name]
    assert facts["notices"] == []


def test_a_fine_tuned_head_can_be_fine_tuned_again_also_where_the_store_was_moved(
    tuned: tuple[SavedHead, list], tmp_path: Path
) -> None:
    before = tuned[0]
    shutil.copytree(before.store, tmp_path / "moved")
    saved = fine_tune(tmp_path / "moved", "tiny", id=before.id, **QUICK | {"blocks": 1})
    assert (saved.facts["from_head"], saved.facts["table_version"]) == (before.id, 1)
    assert saved.facts["training"]["start"]["val_loss"] == pytest.approx(
        before.facts["metrics"]["validation"]["log_loss"], rel=1e-3
    )
    assert saved.store == tmp_path / "moved" and saved.weights != before.weights


def files_of(store: Path) -> list[Path]:
    """All heads and weights of a store."""
    return sorted(path for folder in ("heads", "weights") for path in (store / folder).rglob("*"))


@pytest.mark.parametrize("learning_rate", [100.0, 1e38])
def test_where_no_epoch_is_better_than_the_start_nothing_is_saved(
    table: FeatureTable, dense: SavedHead, logistic: SavedHead, learning_rate: float
) -> None:
    """Above all no start that was fitted on less than the head itself."""
    there, current = files_of(table.store), load_head(table.store, "tiny").id
    for head in (dense, logistic):
        saved = fine_tune(table.store, "tiny", id=head.id, **QUICK | {"learning_rate": learning_rate})
        assert saved == head and files_of(table.store) == there
    assert load_head(table.store, "tiny").id == current


def test_a_head_that_has_diverged_is_nothing_to_start_from(dense: SavedHead, tmp_path: Path) -> None:
    shutil.copytree(dense.store, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "heads" / "tiny" / dense.id / "head.keras"
    model = keras.saving.load_model(path, compile=False)
    model.layers[-1].set_weights([np.full_like(array, np.nan) for array in model.layers[-1].get_weights()])
    model.save(path)
    with pytest.raises(BottleneckError, match="is no number: its training diverged"):
        fine_tune(tmp_path, "tiny", id=dense.id, **QUICK)


@pytest.mark.parametrize(("blocks", "trained"), [(1, {"late"}), (2, {"early", "late"})])
def test_the_last_blocks_are_trained_and_the_others_stay(
    dense: SavedHead, blocks: int, trained: set[str]
) -> None:
    saved = fine_tune(dense.store, "tiny", id=dense.id, **QUICK | {"blocks": blocks, "epochs": 1})
    assert saved.facts["training"]["epochs"] == 1 and saved.weights
    before, after = build_network(BACKBONE, None), build_network(BACKBONE, Path(saved.weights))
    changed = {
        layer.name
        for layer in before.layers[1:]
        for one, other in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True)
        if not np.array_equal(one, other)
    }
    assert changed == trained
    assert arrays_sha256(after.get_weights()) == saved.columns[0].recipe.weights_sha256


def test_batch_normalization_is_never_trained() -> None:
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(2, 1, name="conv")(inputs))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="last")(x))
    _unfreeze(network, network.layers[1:3])
    assert {layer.name for layer in network.layers if layer.trainable and layer.weights} == {"conv"}


@pytest.fixture
def logistic(table: FeatureTable) -> SavedHead:
    return train_head(table.store, "tiny", C=0.3)


def test_a_head_that_was_fitted_on_validation_starts_anew_from_train_alone(
    logistic: SavedHead, table: FeatureTable
) -> None:
    start, notices = _start(logistic, table)
    assert notices == [
        f"head {logistic.id} was fitted on validation, too: the start was fitted anew, on train alone"
    ]
    X, labels = table.matrix("train")
    expected = LogisticHead(C=0.3).fit(X, labels)
    others = table.matrix("validation")[0]
    np.testing.assert_allclose(start.predict_proba(others), expected.predict_proba(others), atol=1e-6)
    assert not np.allclose(start.predict_proba(others), logistic.head.predict_proba(others), atol=1e-3)


def test_views_are_nothing_to_start_from(logistic: SavedHead, table: FeatureTable) -> None:
    viewed = add_views(table)
    saved = train_head(table.store, "tiny", C=0.3)
    assert saved.facts["views"] == 1 and saved.facts["splits"]["rows"] == logistic.facts["splits"]["rows"]
    others = table.matrix("validation")[0]
    first, second = (_start(*of)[0].predict_proba(others) for of in ((logistic, table), (saved, viewed)))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(saved.head.predict_proba(others), logistic.head.predict_proba(others), atol=1e-3)


def test_what_was_chosen_for_a_head_is_not_chosen_again(table: FeatureTable) -> None:
    saved = train_head(table.store, "tiny")
    start = _start(saved, table)[0]
    assert start.get_params()["C"] == saved.facts["training"]["C"]


def test_what_was_chosen_on_test_images_is_chosen_anew(table: FeatureTable) -> None:
    """Else the figures of the fine-tuned head would be of images that had a say in it."""
    saved = train_head(table.store, "tiny", folds=2)
    saved.facts["splits"] |= {"fitted": ["train", "validation", "test"]}
    for selected, C in (["train", "validation", "test"], None), (["train", "validation"], 123.0):
        saved.facts["splits"]["selected"] = selected
        saved.facts["training"]["C"] = 123.0
        assert _start(saved, table)[0].get_params()["C"] == C


def test_a_start_that_does_not_fit_in_memory_is_refused(
    logistic: SavedHead, table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heads.fitting.available_memory", lambda: 10)
    with pytest.raises(BottleneckError, match="^a logistic head on 18 rows needs about "):
        _start(logistic, table)


def test_a_logistic_head_becomes_a_dense_one(table: FeatureTable) -> None:
    logistic = train_head(table.store, "tiny", C=0.01)  # which has not learned enough
    saved = fine_tune(logistic.store, "tiny", id=logistic.id, **QUICK)
    assert (saved.facts["kind"], saved.facts["from_head"]) == ("dense", logistic.id)
    assert saved.facts["parameters"].items() >= {"hidden": 0, "dropout": 0.0}.items()
    y = of_split(Path(table.source), "validation")[1]
    start = _start(logistic, table)[0].predict_proba(table.matrix("validation")[0])
    assert saved.facts["training"]["start"]["val_loss"] == pytest.approx(log_loss(start, y), rel=1e-3)


def test_an_end_to_end_head_is_tuned_on_its_input(tiny: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    first = train_end_to_end(
        tmp_path / "store", data=str(photos), backbone="tiny", weights="random", epochs=1, min_images=3
    )
    saved = fine_tune(tmp_path / "store", "tiny", **QUICK)
    assert (saved.facts["from_head"], saved.facts["table_version"]) == (first.id, None)
    assert saved.facts["data"] == first.facts["data"] and saved.facts["min_images"] == 3
    assert saved.facts["training"]["start"]["val_loss"] == pytest.approx(
        first.facts["metrics"]["validation"]["log_loss"], rel=1e-3
    )
    assert fine_tune(tmp_path / "store", "tiny", **QUICK).facts["from_head"] == saved.id, "the current one"


def test_labels_that_the_head_was_not_taught_are_left_out(tiny: str, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    shutil.copytree(photos / "train" / "red", photos / "validation" / "white")
    first = train_end_to_end(tmp_path, data=str(photos), backbone="tiny", weights="random", epochs=1)
    saved = fine_tune(tmp_path, "tiny", **QUICK | {"epochs": 1})
    assert saved.facts["labels"] == list(COLORS)
    assert saved.facts["splits"]["rows"] == {"train": 18, "validation": 6, "test": 6}
    assert saved.facts["notices"][-1] == f"left out the labels that head {first.id} was not taught: white"
    assert saved.facts["metrics"]["validation"]["left_out"] == 6


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How epochs are asked for; none is made."""
    asked: list[dict[str, Any]] = []

    def fit(model: Any, train: PixelStream, validation: PixelStream, **how: Any) -> list[dict[str, float]]:
        asked.append({"model": model, "train": train, "validation": validation, **how})
        return [{"loss": 1.0, "val_loss": 0.0}]

    monkeypatch.setattr(fine_tuning_module, "fit_epochs", fit)
    return asked


def test_what_is_asked_for_is_what_is_done(dense: SavedHead, fitted: list[dict[str, Any]]) -> None:
    asked: dict[str, Any] = {"epochs": 7, "patience": 5, "batch_size": 6, "seed": 9}
    saved = fine_tune(dense.store, "tiny", id=dense.id, learning_rate=0.25, **asked)
    (how,) = fitted
    assert {name: how[name] for name in asked} == asked
    assert float(how["model"].optimizer.learning_rate) == 0.25
    assert how["model"].optimizer.weight_decay == 0
    assert (len(how["train"]), len(how["validation"])) == (18, 6)
    assert saved.facts["augmentation"] == DEFAULT and saved.facts["blocks"] == 1
    assert [layer for layer in how["model"].layers if "random_flip" in layer.name]


def test_photos_are_turned_as_those_were_that_the_head_was_trained_on(
    tiny: str, photos: Path, fitted: list[dict[str, Any]], tmp_path: Path
) -> None:
    how: dict[str, Any] = {"backbone": "tiny", "weights": "random", "epochs": 1}
    train_end_to_end(tmp_path, data=str(photos), exif_orientation=True, **how)
    saved = fine_tune(tmp_path, "tiny")
    assert fitted[0]["train"]._reader == PixelReader(32, exif_orientation=True)
    assert saved.columns[0].recipe.exif_orientation


def test_features_are_noised_in_proportion_to_their_deviation() -> None:
    normalization = keras.layers.Normalization(mean=[0.0, 1.0], variance=[4.0, 9.0])
    head = keras.Sequential([keras.Input((2,)), normalization])
    assert _deviation(head).tolist() == [2, 3]
    assert _deviation(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])).tolist() == [1, 1]


def test_a_head_on_bfloat16_features_becomes_one_on_float32_ones(
    dense: SavedHead, fitted: list[dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(dense.store, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "heads" / "tiny" / dense.id / "head.json"
    path.write_text(path.read_text().replace('"precision": "float32"', '"precision": "bfloat16"'))
    saved = fine_tune(tmp_path, "tiny", id=dense.id)
    assert [column.recipe.precision for column in saved.columns] == ["float32", "float32"]
    assert saved.facts["notices"] == [
        f"head {dense.id} was built on bfloat16 features and is given float32 ones: close, but not the same "
        f"numbers"
    ], "the table is as it was made for the test"


def test_images_with_several_labels(tiny: str, photos: Path, tmp_path: Path) -> None:
    lines = ["uri,label,split"]
    for split in ("train", "validation", "test"):
        for uri, number in zip(*of_split(photos, split), strict=True):
            lines.append(f"{uri},{COLORS[number]}{'|cold' if number < 2 else ''},{split}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    how: dict[str, Any] = {"backbone": "tiny", "weights": "random", "epochs": 2, "learning_rate": 0.02}
    train_end_to_end(tmp_path / "store", data=str(tmp_path / "list.csv"), **how)
    saved = fine_tune(tmp_path / "store", "tiny", **QUICK)
    assert saved.facts["multi_label"] and saved.facts["labels"] == ["blue", "cold", "green", "red"]
    assert len(saved.head.thresholds_) == 4 and saved.facts["training"]["epochs"] > 0
    assert "average_precision" in saved.facts["metrics"]["test"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"id": "2001"}, "there is no head '2001' in "),
        ({"features": "mine", "id": None}, "there is no head for table 'mine' in "),
        ({"blocks": 3}, "`blocks=3`: expected a number from 1 to 2, for Tiny has 2 blocks up to avg_pool"),
        ({"augment": ["blur"]}, "there is no augmentation 'blur'"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"epochs": 0}, "epochs is 0, and a dense head expects 1 or more"),
        ({"weights": "/none.h5"}, "there is no weights file /none.h5"),
    ],
)
def test_what_can_not_be_tuned_is_refused_in_a_sentence(
    dense: SavedHead, asked: dict[str, Any], message: str
) -> None:
    heads = sorted((dense.store / "heads" / "tiny").iterdir())
    with pytest.raises(BottleneckError, match=re.escape(message)):
        fine_tune(dense.store, **{"features": "tiny", "id": dense.id, **QUICK, **asked})
    assert sorted((dense.store / "heads" / "tiny").iterdir()) == heads


def test_a_head_whose_images_are_gone_is_refused(tiny: str, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    table = make_table(photos, tmp_path / "store")
    train_head(table.store, "tiny", C=1.0)
    shutil.rmtree(photos)
    with pytest.raises(
        BottleneckError, match="needs the files of table 'tiny', version 1, and 30 of 30 are not"
    ):
        fine_tune(table.store, "tiny", **QUICK)


def test_a_head_that_keras_can_not_hold_is_refused(dense: SavedHead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseHead, "keras_model", Head.keras_model)
    with pytest.raises(BottleneckError, match="a dense head can't be put as layers of Keras"):
        fine_tune(dense.store, "tiny", id=dense.id, **QUICK)


def test_where_the_head_can_not_be_saved_no_weights_stay(
    dense: SavedHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = sorted((dense.store / "weights").glob("*"))

    def stop(*_: Any, **__: Any) -> Any:
        assert len(list((dense.store / "weights").glob("*"))) == len(there) + 1
        raise KeyboardInterrupt

    monkeypatch.setattr(fine_tuning_module, "save_head", stop)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(dense.store, "tiny", id=dense.id, **QUICK)
    assert sorted((dense.store / "weights").glob("*")) == there


def test_where_a_head_is_saved_and_can_not_be_made_the_current_one_its_weights_stay(
    dense: SavedHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(dense.store, tmp_path, dirs_exist_ok=True)
    before, write = {facts["id"] for facts in list_heads(tmp_path, "tiny")}, files.write

    def stop(path: Path, content: str) -> None:
        if path.name == "current.json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(files, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(tmp_path, "tiny", id=dense.id, **QUICK)
    (head_id,) = {facts["id"] for facts in list_heads(tmp_path, "tiny")} - before
    assert whole_model(load_head(tmp_path, "tiny", head_id))


def test_further_callbacks_of_keras_are_called(dense: SavedHead) -> None:
    epochs: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    fine_tune(dense.store, "tiny", id=dense.id, callbacks=[callback], **QUICK | {"epochs": 1})
    assert epochs == [0]
