from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from features import Extractor
from features.backbones.network import arrays_sha256, build_network, write_weights
from features.errors import BottleneckError
from features.inputs import list_images
from features.recipe import Column, FeatureRecipe
from heads import SavedHead, evaluate, load_head, train_end_to_end, whole_model
from heads.pixels import end_to_end as end_to_end_module
from heads.pixels.epochs import predict_stream
from heads.pixels.images import images_of_listing
from heads.pixels.streams import PixelReader, PixelStream
from tests.heads.pictures import COLORS, colored, make_photos
from tests.tables import Rejected, add, make_table
from tests.tiny import BACKBONE, SHA256

LAYERS = ("early", "avg_pool")
#: Of a network of two convolutions with few images: it learns fast.
QUICK: dict[str, Any] = {"backbone": "tiny", "weights": "random", "learning_rate": 0.02, "epochs": 4}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten of each class, and one of a fourth class that is not in train, and one that can't be read."""
    folder = make_photos(tmp_path_factory.mktemp("photos"))
    (folder / "test" / "white").mkdir()
    colored(99, "red").save(folder / "test" / "white" / "99.png")
    (folder / "train" / "red" / "bad.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def trained(tiny: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SavedHead, list]:
    steps: list[Any] = []
    store = tmp_path_factory.mktemp("store")
    saved = train_end_to_end(
        store,
        "mine",
        data=str(photos),
        layers=LAYERS,
        augment=["flip", "feature_noise=0.2"],
        seed=3,
        progress=lambda *step: steps.append(step),
        **QUICK,
    )
    return saved, steps


def of_split(photos: Path, split: str) -> tuple[list[str], np.ndarray]:
    uris = sorted(str(path) for color in COLORS for path in (photos / split / color).glob("[0-9]*.png"))
    return uris, np.array([COLORS.index(Path(uri).parent.name) for uri in uris])


def test_the_head_gives_for_stored_features_what_the_whole_model_gives_for_pixels(
    trained: tuple[SavedHead, list], photos: Path
) -> None:
    """It is the one that was trained: its metrics are those of the model that was."""
    saved, (uris, y) = trained[0], of_split(photos, "test")
    features = Extractor("random", backbone="tiny", layers=LAYERS, engine="openvino").features(uris)
    on_features = saved.head.predict_proba(np.concatenate([features[layer] for layer in LAYERS], axis=1))
    on_pixels = predict_stream(whole_model(saved), PixelStream(uris, y, PixelReader(32)))
    np.testing.assert_allclose(on_features, on_pixels, atol=1e-4)
    expected = evaluate(y, on_pixels, COLORS, majority_class="blue")
    assert saved.facts["metrics"]["test"]["confusion_matrix"] == expected["confusion_matrix"]
    assert saved.facts["metrics"]["test"]["log_loss"] == pytest.approx(expected["log_loss"], abs=1e-4)
    assert expected["accuracy"] > 0.8


def test_head_json(trained: tuple[SavedHead, list], photos: Path) -> None:
    saved, steps = trained
    facts = json.loads((saved.directory / "head.json").read_text())
    assert load_head(saved.store, "mine").id == saved.id, "it is the current one"
    assert re.fullmatch(r"\d{8}-\d{6}-end-to-end-[0-9a-f]{4}", saved.id)
    recipe = FeatureRecipe(weights="random", weights_sha256=SHA256, backbone="tiny")
    assert saved.columns == tuple(Column(recipe, layer) for layer in LAYERS)
    history = facts["training"].pop("history")
    assert [step[:2] for step in steps] == [(number + 1, 4) for number in range(len(history))]
    assert [{**step[2], "seconds": of["seconds"]} for step, of in zip(steps, history, strict=True)] == history
    lines = (saved.directory / "log.csv").read_text().splitlines()
    assert (
        len(lines) == 5 and lines[0].startswith("step,") and [line[0] for line in lines[1:]] == list("1234")
    )
    losses = [figures["val_loss"] for figures in history]
    assert facts["training"] == {
        "epochs": int(np.argmin(losses)) + 1,
        "epochs_run": 4,
        "batch_size": 32,
        "chosen_by": "validation",
    }
    assert facts["metrics"]["validation"]["log_loss"] == pytest.approx(min(losses), rel=1e-3)
    assert facts["metrics"]["test"]["count"] == facts["metrics"]["validation"]["count"] == 6
    digest = images_of_listing(list_images(str(photos)), PixelReader(32)).digest()
    known = (
        "table",
        "table_version",
        "weights",
        "workflow",
        "data",
        "augmentation",
        "kind",
        "labels",
        "splits",
    )
    assert {name: facts[name] for name in known} == {
        "table": "mine",
        "table_version": None,
        "weights": "random",
        "workflow": "end-to-end",
        "data": {"source": str(photos), "splits": {}, "classes": None, "sha256": digest},
        "augmentation": {"flip": None, "feature_noise": 0.2},
        "kind": "dense",
        "labels": list(COLORS),
        "splits": {
            "fitted": ["train"],
            "selected": ["validation"],
            "tested": ["test"],
            "rows": {"train": 18, "validation": 6, "test": 6},
        },
    }
    assert (
        facts["parameters"].items() >= {"epochs": 4, "patience": 3, "learning_rate": 0.02, "seed": 3}.items()
    )
    assert (facts["min_images"], facts["majority_class"]) == (1, "blue")
    assert facts["left_out"] == {"white": {"train": 0, "validation": 0, "test": 1}}
    assert facts["metrics"]["test"]["left_out"] == 1 and "left_out" not in facts["metrics"]["validation"]
    assert facts["notices"] == [
        f"left out 1 image that can't be read: {photos}/train/red/bad.png: not_an_image (unknown format; it "
        f"begins with b'no image')",
        "left out 1 image of 1 of 4 classes, those with no training image: white (0)",
    ]


def test_the_backbone_is_not_changed(
    tiny: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = []

    def build(*arguments: Any) -> Any:
        networks.append(build_network(*arguments))
        return networks[-1]

    monkeypatch.setattr(end_to_end_module, "build_network", build)
    train_end_to_end(tmp_path, data=str(photos), **QUICK | {"epochs": 1, "weight_decay": 100.0})
    for before, after in zip(
        build_network(BACKBONE, None).get_weights(), networks[0].get_weights(), strict=True
    ):
        np.testing.assert_array_equal(before, after)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How epochs are asked for; none is made."""
    asked: list[dict[str, Any]] = []

    def fit(model: Any, train: PixelStream, validation: PixelStream, **how: Any) -> list[dict[str, float]]:
        asked.append({"model": model, "train": train, "validation": validation, **how})
        return [{"loss": 1.0, "val_loss": 2.0}]

    monkeypatch.setattr(end_to_end_module, "fit_epochs", fit)
    return asked


def test_parameters_of_the_head_are_those_of_training(
    tiny: str, photos: Path, tmp_path: Path, fitted: list[dict[str, Any]]
) -> None:
    parameters = {"epochs": 7, "patience": 5, "batch_size": 6, "seed": 9, "hidden": 3}
    saved = train_end_to_end(tmp_path, data=str(photos), **QUICK | parameters)
    (how,) = fitted
    assert {name: how[name] for name in ("epochs", "patience", "batch_size", "seed")} == {
        "epochs": 7, "patience": 5, "batch_size": 6, "seed": 9
    }  # fmt: skip
    assert (len(how["train"]), len(how["validation"])) == (18, 6)
    assert saved.facts["training"]["batch_size"] == 6 and saved.facts["table"] == "tiny"
    assert [layer.name for layer in saved.head.keras_model().layers if "dense" in layer.name][1:]
    assert [layer for layer in how["model"].layers if "random_" in layer.name], "augmented by default"
    train_end_to_end(tmp_path, data=str(photos), augment=["none"], **QUICK)
    assert not [layer for layer in fitted[1]["model"].layers if "random_" in layer.name]


def test_moments_are_those_of_train_images_as_they_are(
    tiny: str, photos: Path, tmp_path: Path, fitted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uris, _ = of_split(photos, "train")
    X = Extractor("random", backbone="tiny", engine="openvino").features(uris)["avg_pool"]

    def scale() -> tuple[np.ndarray, np.ndarray]:
        layer = train_end_to_end(tmp_path, data=str(photos), **QUICK).head.keras_model().layers[0]
        return np.ravel(layer.mean), np.ravel(layer.variance)

    mean, variance = scale()
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, X.var(axis=0), rtol=1e-3)
    monkeypatch.setattr(end_to_end_module, "_MOMENTS_OF", 5)
    assert not np.allclose(scale()[0], mean, rtol=1e-3), "of some of many"


def test_weights_of_the_store_are_named_relative_to_it(
    tiny: str, photos: Path, tmp_path: Path, fitted: list[dict[str, Any]]
) -> None:
    network = build_network(BACKBONE, None)
    network.set_weights([array + 0.01 for array in network.get_weights()])
    write_weights(network, tmp_path / "weights" / "x.weights.h5")
    given = QUICK | {"weights": str(tmp_path / "weights" / "x.weights.h5")}
    saved = train_end_to_end(tmp_path, data=str(photos), exif_orientation=True, **given)
    assert saved.facts["weights"] == "weights/x.weights.h5"
    recipe = FeatureRecipe("x", arrays_sha256(network.get_weights()), exif_orientation=True, backbone="tiny")
    assert saved.columns == (Column(recipe, "avg_pool"),)
    assert fitted[0]["train"]._reader == PixelReader(32, exif_orientation=True)


def test_rare_classes_weigh_more_where_that_is_asked_for(
    tiny: str, photos: Path, tmp_path: Path, fitted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the counts of all train images, not of those whose moments are taken."""
    monkeypatch.setattr(end_to_end_module, "_MOMENTS_OF", 2)
    for path in sorted((photos / "train" / "blue").iterdir())[:3]:
        (tmp_path / "data" / "train" / "blue").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "train" / "blue" / path.name).symlink_to(path)
    for place in ("train/red", "validation/red", "test/red"):
        (tmp_path / "data" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / place).symlink_to(photos / place)
    train_end_to_end(tmp_path, data=str(tmp_path / "data"), class_weight="balanced", **QUICK)
    loss = fitted[0]["model"].loss
    losses = np.asarray(loss(np.array([0, 1]), np.full((2, 2), 0.5, np.float32)))
    np.testing.assert_allclose(losses, np.log(2) * np.array([9 / 6, 9 / 12]), rtol=1e-5)


def test_images_with_several_labels(tiny: str, tmp_path: Path) -> None:
    lines = ["uri,label,split"]
    for number in range(24):
        color = ("red", "blue")[number % 2]
        colored(number, color).save(tmp_path / f"{number}.png")
        split = ("train", "train", "validation", "test")[number // 2 % 4]
        lines.append(f"{number}.png,{color}{'|warm' if color == 'red' else ''},{split}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    saved = train_end_to_end(
        tmp_path / "store", data=str(tmp_path / "list.csv"), calibration="temperature", **QUICK
    )
    assert saved.facts["multi_label"] and saved.facts["labels"] == ["blue", "red", "warm"]
    assert saved.facts["metrics"]["test"]["average_precision"]["macro"] > 0.8
    assert len(saved.facts["thresholds"]) == 3
    said = [notice for notice in saved.facts["notices"] if notice.startswith("not calibrated: the 6 images")]
    assert (saved.facts["training"]["temperature"] is None) == bool(said)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"augment": ["blur"]}, "there is no augmentation 'blur'"),
        ({"data": "/none"}, "`data=/none` does not exist: expected "),
        ({"layers": "late,mixed3"}, "unknown layer 'mixed3': Tiny has early, avg_pool, late"),
        ({"backbone": "vgg16"}, "there is no backbone 'vgg16': choose from "),
        ({"weights": "/none.h5"}, "there is no weights file /none.h5"),
        ({"units": 3}, "a dense head has no parameter 'units'"),
        ({"epochs": 0}, "epochs is 0, and a dense head expects 1 or more"),
        ({"min_images": 7}, "0 classes of 4 in `data=.*` have 7 training images or more"),
        ({"splits": "test=test"}, "in `data=.*` have 1 training image or more"),
    ],
)
def test_what_can_not_be_trained_is_refused_in_a_sentence(
    tiny: str, photos: Path, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(BottleneckError, match=message):
        train_end_to_end(tmp_path, **{"data": str(photos), **QUICK, **asked})
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_images_is_refused(tiny: str, tmp_path: Path) -> None:
    for number, color in enumerate(("red", "blue") * 2):
        place = tmp_path / "data" / ("train" if number < 2 else "test") / color
        place.mkdir(parents=True)
        colored(number, color).save(place / f"{number}.png")
    (tmp_path / "list.csv").write_text(
        "uri,label,split\ndata/train/red/0.png,a,train\ndata/train/blue/1.png,b,train\n"
        "data/test/red/2.png,a,test\ndata/test/blue/3.png,c,validation\n"
    )
    with pytest.raises(BottleneckError) as error:
        train_end_to_end(tmp_path / "store", data=str(tmp_path / "list.csv"), **QUICK)
    assert str(error.value) == (
        f"the validation split of `data={tmp_path}/list.csv` has no labelled image of a class with training "
        f"images: add images (about 1 of 10 goes to validation), or give the splits with the images"
    )


def test_a_stop_leaves_nothing(tiny: str, photos: Path, tmp_path: Path) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_end_to_end(tmp_path / "store", data=str(photos), progress=stop, **QUICK)
    assert not (tmp_path / "store").exists()


def test_training_that_diverges_gives_no_head(tiny: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BottleneckError, match="^training diverged: "):
        train_end_to_end(tmp_path / "store", data=str(photos), **QUICK | {"learning_rate": 1e38})
    assert not (tmp_path / "store").exists()


def test_the_name_is_checked_before_the_images_are_looked_for(tmp_path: Path) -> None:
    for name in ("a/b", "../out", ".hid"):
        with pytest.raises(BottleneckError, match=f"^'{name}' can't name a table: "):
            train_end_to_end(tmp_path / "store", name, data="/none", weights="/none.h5")


def test_images_that_crashed_when_features_were_extracted_are_left_out(tiny: str, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    table = make_table(tmp_path, np.zeros((0, 2048)), [], name="mine")
    (image,) = (row for row in list_images(str(photos)).images.to_pylist() if row["uri"].endswith("/0.png"))
    modified_at = round(image["modified_at"].timestamp() * 1e6)
    add(table, rejected=[Rejected(image["uri"], "crashed", "", image["size"], modified_at)], run_id="run-2")
    counts: list[int] = []
    saved = train_end_to_end(
        tmp_path, "mine", data=str(photos), reading=counts.append, **QUICK | {"epochs": 1}
    )
    assert saved.facts["splits"]["rows"]["train"] == 17 and counts == [29]
    assert saved.facts["notices"][0] == (
        f"left out 1 image that extraction rejected as crashed: {image['uri']}"
    )


def test_further_callbacks_of_keras_are_called(tiny: str, photos: Path, tmp_path: Path) -> None:
    epochs: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    options = QUICK | {"epochs": 2}
    train_end_to_end(tmp_path, data=str(photos), callbacks=[callback], **options)
    assert epochs == [0, 1]
