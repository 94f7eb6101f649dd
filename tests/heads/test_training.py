from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import heads.fitting
from features.errors import BottleneckError
from features.splits import assign_split
from features.store.labels import encode
from features.store.parts import write_part
from features.store.table import FeatureTable
from heads import LogisticHead, SavedHead, evaluate, load_head, train_head
from heads.folds import find_shared_out, share_out, units_of
from heads.logistic import CANDIDATES
from tests.heads.conftest import LAYERS, RECIPE, MakeSmallTable, approximate, narrow_table
from tests.tables import add, make_rows

#: Of the images of `tests.tables.make_rows`.
IMAGE_IDS = [hashlib.sha256(f"/images/image-{number}.png".encode()).hexdigest() for number in range(20)]

#: The classes that `garden` teaches.
TAUGHT = ["daisy", "rose", "tulip"]


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """Flowers in one layer, which are easy to tell apart, and in the deeper one nothing but noise.

    Besides those, two of a class that has no training image, and one without a label.
    """
    random = np.random.default_rng(0)
    labels: list[Any] = ["rose"] * 25 + ["daisy"] * 15 + ["tulip"] * 10
    splits = ["train", "train", "train", "validation", "test"] * 10
    X = 2 * random.normal(size=(3, 48))[[TAUGHT.index(label) for label in labels] + [0, 0, 1]]
    features = {
        LAYERS[0]: X + random.normal(size=(53, 48)),
        LAYERS[1]: random.normal(size=(53, 64)),
    }
    labels += ["lotus", "lotus", []]
    splits += ["validation", "test", "train"]
    return narrow_table(tmp_path_factory.mktemp("garden"), features, labels, splits)


def known_by(saved: SavedHead) -> dict[str, Any]:
    """`head.json`, but for what differs from run to run."""
    facts = load_head(saved.directory.parents[2], id=saved.id).facts
    assert facts == saved.facts
    of_run = ("id", "created_at", "packages", "table_id", "seconds")
    return {name: value for name, value in facts.items() if name not in of_run}


def expected_metrics(saved: SavedHead, table: FeatureTable, split: str) -> dict[str, Any]:
    X, labels = table.matrix(split, layers=saved.layers, classes=TAUGHT)
    true = np.array([TAUGHT.index(label) for label in labels])
    metrics = evaluate(true, saved.head.predict_proba(X), TAUGHT, majority_class="rose")
    return metrics | {"left_out": 1}


COMMON: dict[str, Any] = {
    "table": "inception_v3",
    "table_version": 1,
    "weights": "random",
    "columns": [
        {"layer": LAYERS[0], "fingerprint": "fddf734b00f3bad0", "recipe": RECIPE.to_dict()},
    ],
    "min_images": 2,
    "notices": [
        "left out 1 image without a label",
        "left out 2 images of 1 of 4 classes, those with fewer than 2 training images: lotus (0)",
    ],
    "left_out": {"lotus": {"train": 0, "validation": 1, "test": 1}},
    "majority_class": "rose",
    "multi_label": False,
    "labels": ["daisy", "rose", "tulip"],
    "width": 48,
    "settings": {
        "revision": 1,
        "kind": "logistic",
        "parameters": {},
        "layers": [LAYERS[0]],
        "min_images": 2,
        "views": None,
        "folds": None,
        "repeats": 1,
    },
}
ROWS = {"train": 30, "validation": 10, "test": 10}


def test_head_json_of_a_logistic_head(garden: FeatureTable) -> None:
    """All that is needed to train it again, and how good it is."""
    steps: list[tuple[int, int, dict[str, float]]] = []
    saved = train_head(
        garden.store, layers=LAYERS[0], min_images=2, progress=lambda *step: steps.append(step)
    )
    facts = known_by(saved)
    assert [step[:2] for step in steps] == [(n + 1, len(CANDIDATES)) for n in range(len(steps))]
    assert facts["training"].pop("log_loss") == [figures for *_, figures in steps]
    assert facts["training"].pop("iterations") > 1
    validation = facts["metrics"].pop("validation")
    assert validation["log_loss"] == pytest.approx(min(figures["log_loss"] for *_, figures in steps))
    assert validation["confusion_matrix"] == [[3, 0, 0], [0, 5, 0], [0, 0, 2]]
    assert facts == COMMON | {
        "splits": {
            "fitted": ["train", "validation"],
            "selected": ["validation"],
            "tested": ["test"],
            "rows": ROWS,
        },
        "metrics": {"test": expected_metrics(saved, garden, "test")},
        "kind": "logistic",
        "parameters": {"C": None, "seed": 0, "class_weight": None, "calibration": None},
        "training": {"C": 10.0, "chosen_by": "validation"},
        "seed": 0,
    }
    assert facts["metrics"]["test"]["accuracy"] == 1


def test_head_json_of_a_dense_head(garden: FeatureTable) -> None:
    steps: list[tuple[int, int, dict[str, float]]] = []
    parameters: dict[str, Any] = {"epochs": 4, "learning_rate": 0.1, "seed": 3}
    saved = train_head(
        garden.store,
        kind="dense",
        layers=LAYERS[0],
        min_images=2,
        progress=lambda *step: steps.append(step),
        **parameters,
    )
    facts = known_by(saved)
    assert [step[:2] for step in steps] == [(n + 1, 4) for n in range(4)]
    best = min(steps, key=lambda step: step[2]["val_loss"])
    assert facts["metrics"]["validation"]["log_loss"] == pytest.approx(best[2]["val_loss"], rel=1e-4)
    assert facts == COMMON | {
        "settings": COMMON["settings"] | {"kind": "dense", "parameters": parameters},
        "splits": {"fitted": ["train"], "selected": ["validation"], "tested": ["test"], "rows": ROWS},
        "metrics": approximate(
            {split: expected_metrics(saved, garden, split) for split in ("validation", "test")}
        ),
        "kind": "dense",
        "parameters": {
            "hidden": 0,
            "dropout": 0.2,
            "learning_rate": 0.1,
            "weight_decay": 1.0,
            "batch_size": None,
            "epochs": 4,
            "patience": 5,
            "seed": 3,
            "class_weight": None,
            "calibration": None,
        },
        "training": {"epochs": best[0], "epochs_run": 4, "batch_size": 32, "chosen_by": "validation"},
        "seed": 3,
    }
    assert facts["metrics"]["test"]["accuracy"] == 1


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"C": 0.1}, "step,C,log_loss"),
        ({}, "step,C,log_loss"),
        ({"kind": "dense", "epochs": 3}, "step,accuracy,loss,val_accuracy,val_loss"),
    ],
)
def test_the_steps_of_training_are_kept_in_log_csv(
    garden: FeatureTable, parameters: dict[str, Any], names: str
) -> None:
    """Whether anybody watches or not."""
    steps: list[tuple[int, int, dict[str, float]]] = []
    watched = train_head(garden.store, progress=lambda *step: steps.append(step), **parameters)
    lines = [",".join(map(repr, (step, *figures.values()))) for step, _, figures in steps]
    assert (watched.directory / "log.csv").read_text().splitlines() == [names, *lines]
    alone = (train_head(garden.store, **parameters).directory / "log.csv").read_text().splitlines()
    assert (alone[0], len(alone)) == (names, len(lines) + 1)


def test_a_dense_head_takes_callbacks_of_keras(garden: FeatureTable) -> None:
    from keras.callbacks import LambdaCallback

    losses: list[float] = []
    callback = LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["val_loss"]))
    steps: list[dict[str, float]] = []
    train_head(
        garden.store,
        kind="dense",
        epochs=2,
        callbacks=[callback],
        progress=lambda step, of, figures: steps.append(figures),
    )
    assert losses == [figures["val_loss"] for figures in steps] and len(losses) == 2


def test_callbacks_of_keras_are_refused_by_a_head_that_keras_does_not_train(tmp_path: Path) -> None:
    """Before the table is opened, which is not there."""
    message = "a logistic head is not trained by Keras, and takes no callbacks, .*: train with `kind=dense`$"
    callback: Any = object()
    with pytest.raises(BottleneckError, match=message):
        train_head(tmp_path, callbacks=[callback])


def test_the_deepest_layer_is_the_default(garden: FeatureTable) -> None:
    saved = train_head(garden.store, C=0.01)
    assert (saved.layers, saved.facts["width"]) == ((LAYERS[1],), 64)
    assert saved.facts["metrics"]["test"]["accuracy"] < 1, "it is noise"
    assert saved.evaluate(garden) == saved.facts["metrics"]["test"]


def test_each_kind_learns_to_read_digits(tmp_path: Path) -> None:
    pixels, numbers = load_digits(return_X_y=True)
    narrow_table(tmp_path, {LAYERS[1]: pixels[:500]}, [str(number) for number in numbers[:500]])
    logistic = train_head(tmp_path, C=0.1)
    dense = train_head(tmp_path, kind="dense", learning_rate=0.03, epochs=8, batch_size=64)
    accuracies = [saved.facts["metrics"]["test"]["accuracy"] for saved in (logistic, dense)]
    assert min(accuracies) > 0.9 and accuracies[1] > accuracies[0] - 0.05


@pytest.fixture
def two_classes(small_table: MakeSmallTable) -> FeatureTable:
    """Without validation, so that folds of train are made up."""
    return small_table(["daisy", "rose"] * 15, ["train"] * 24 + ["test"] * 6)


def test_the_same_version_and_seed_give_the_same_head(two_classes: FeatureTable) -> None:
    first = train_head(two_classes.store, seed=3)
    add_images(two_classes)
    grown = train_head(two_classes.store, seed=3)
    again = train_head(two_classes.store, seed=3, version=first.facts["table_version"])
    other = train_head(two_classes.store, seed=4, version=first.facts["table_version"])
    assert known_by(again) == known_by(first)
    np.testing.assert_array_equal(coefficients(first), coefficients(again))
    assert (first.facts["seed"], first.facts["parameters"]) == (
        3,
        {"C": None, "seed": 3, "class_weight": None, "calibration": None},
    )
    assert other.facts["training"]["log_loss"] != first.facts["training"]["log_loss"]
    assert (grown.facts["table_version"], first.facts["table_version"]) == (2, 1)
    assert grown.facts["splits"]["rows"] == {"train": 48, "validation": 0, "test": 6}
    assert (coefficients(first) != coefficients(grown)).any()


def coefficients(saved: SavedHead) -> np.ndarray:
    assert isinstance(saved.head, LogisticHead)
    return saved.head.pipeline_[-1].coef_


def add_images(table: FeatureTable) -> None:
    X, labels = table.matrix("train")
    rows = make_rows(table.facts, X + 1, labels.tolist(), ["train"] * len(X), prefix="more", run_id="run-2")
    add(table, write_part(table.folder, [rows], table.facts.schema))


def test_without_validation_nothing_is_measured_on_it(two_classes: FeatureTable) -> None:
    logistic = train_head(two_classes.store)
    dense = train_head(two_classes.store, kind="dense", epochs=2, patience=1)
    for saved, selected in ((logistic, ["train"]), (dense, [])):
        assert saved.facts["metrics"].keys() == {"test"}
        assert (saved.facts["splits"]["fitted"], saved.facts["splits"]["selected"]) == (["train"], selected)
    assert dense.facts["training"]["epochs"] == dense.facts["training"]["epochs_run"] == 2


def test_without_features(tmp_path: Path) -> None:
    with pytest.raises(BottleneckError, match="extract features first"):
        train_head(tmp_path)
    with pytest.raises(BottleneckError, match="'mine'"):
        train_head(tmp_path, "mine")


@pytest.mark.parametrize("labels", [["daisy", "rose"] * 4, ["daisy"] * 3 + ["rose"] * 3 + [[], "lotus"]])
def test_where_nothing_is_there_to_test_on_folds_are(small_table: MakeSmallTable, labels: list) -> None:
    """An image without a label, or of a class that is not taught, is nothing to test on."""
    splits = ["train"] * 6 + (["validation"] if labels[-1] == "rose" else ["test"]) * 2
    table = small_table(labels, splits)
    with pytest.raises(BottleneckError) as caught:
        train_head(table.store, folds=0)
    assert str(caught.value) == (
        "the test split of table 'inception_v3' has no labelled image of a class with training images, "
        "so that a head can't be tested: extract more images (about 1 of 10 goes to test), "
        "give the splits with the images, or leave out `folds=0`"
    )
    assert not (table.store / "heads").exists()
    facts = train_head(table.store).facts
    learned = sum(label in ("daisy", "rose") for label in labels)
    assert facts["metrics"].keys() == {"test"} and facts["metrics"]["test"]["count"] == learned
    assert facts["splits"]["tested"] == ["folds"] and facts["splits"]["folds"] == 5


def test_a_head_by_folds_learns_all_and_is_tested_on_each_once(small_table: MakeSmallTable) -> None:
    """Ten images of two classes, and one of a third."""
    labels = ["daisy", "rose"] * 5 + ["lotus"]
    table = small_table(labels, [assign_split(image_id, None) for image_id in IMAGE_IDS[: len(labels)]])
    steps: list[Any] = []
    saved = train_head(table.store, C=0.1, progress=lambda *step: steps.append(step))
    assert [step[:2] for step in steps] == [(n + 1, 5) for n in range(5)]
    facts = saved.facts
    assert facts["labels"] == ["daisy", "lotus", "rose"]
    test = facts["metrics"]["test"]
    assert test["count"] == 10 and test["per_class"]["lotus"]["support"] == 0
    low, high = test["accuracy_interval"]
    assert high - low > 0.25
    assert facts["splits"] == {
        "fitted": ["train", "validation", "test"],
        "selected": ["train", "validation", "test"],
        "tested": ["folds"],
        "folds": 5,
        "rows": facts["splits"]["rows"],
    }
    assert sum(facts["splits"]["rows"].values()) == 11
    assert len(facts["notices"]) == 2 and "too few to say much" in facts["notices"][0]
    assert facts["notices"][1] == "1 class has a single image, learned from and never tested: lotus"
    X, y = table.matrix()
    alone = LogisticHead(C=0.1).fit(X, y.astype(str))
    np.testing.assert_allclose(saved.head.predict_proba(X), alone.predict_proba(X), atol=1e-5)


def test_a_test_split_that_was_given_is_tested_on_besides_the_folds(three_classes: FeatureTable) -> None:
    saved = train_head(three_classes.store, C=0.1, folds=4)
    metrics = saved.facts["metrics"]
    assert metrics["folds"]["count"] == 48 and metrics["test"]["count"] == 12
    assert saved.facts["splits"]["fitted"] == ["train", "validation"]
    assert saved.facts["splits"]["tested"] == ["folds", "test"]
    assert saved.evaluate(three_classes) == approximate(metrics["test"])


def test_several_labels_are_tested_by_folds_with_the_thresholds_of_each_fold(tmp_path: Path) -> None:
    """Each image gets labels by the thresholds that were chosen without it."""
    random = np.random.default_rng(0)
    has = random.random((60, 2)) < (0.5, 0.3)
    has[:, 0] |= ~has.any(axis=1)
    labels = [[label for label, there in zip("ab", of_image, strict=True) if there] for of_image in has]
    X = has @ random.normal(size=(2, 48)) + random.normal(scale=4, size=(60, 48))
    table = narrow_table(tmp_path, {LAYERS[0]: X}, labels, ["train"] * 48 + ["test"] * 12)
    facts = train_head(table.store, folds=3, C=0.01).facts
    shared = find_shared_out(table, 1, 3)
    assert shared is not None
    X, names = table.matrix("train", multi_label=True)
    y = encode(names, ["a", "b"], multi_label=True)
    fold, right = share_out(y, units_of(shared.rows), 3, 0), 0
    for number in range(3):
        head = LogisticHead(C=0.01).fit(X[fold != number], y[fold != number])
        assert head.thresholds_.tolist() != [0.5, 0.5]
        right += (head.predict(X[fold == number]) == y[fold == number]).all(axis=1).sum()
    assert facts["metrics"]["folds"]["accuracy"] == right / 48
    assert [of_fold["C"] for of_fold in facts["folds"]] == [0.01] * 3
    assert not [notice for notice in facts["notices"] if "validation" in notice]


def test_repeats_are_trainings_with_seeds_and_the_first_is_kept(three_classes: FeatureTable) -> None:
    steps: list[Any] = []
    parameters: dict[str, Any] = {"kind": "dense", "epochs": 1, "layers": LAYERS[1]}
    saved = train_head(
        three_classes.store, seed=4, repeats=3, progress=lambda *step: steps.append(step), **parameters
    )
    assert [step[:2] for step in steps] == [(1, 3), (2, 3), (3, 3)]
    repeats = saved.facts["metrics"]["repeats"]
    assert repeats["seeds"] == [4, 5, 6] and saved.facts["seed"] == 4
    alone = [
        train_head(three_classes.store, seed=seed, **parameters).facts["metrics"]["test"]
        for seed in (4, 5, 6)
    ]
    losses = [metrics["log_loss"] for metrics in alone]
    assert repeats["log_loss"]["values"] == pytest.approx(losses) and len(set(losses)) == 3
    assert saved.facts["metrics"]["test"]["log_loss"] == pytest.approx(losses[0])
    assert steps[2][2]["log_loss"] == pytest.approx(losses[2])
    assert [of_seed["epochs_run"] for of_seed in saved.facts["repeats"]] == [1] * 3


def test_repeats_that_make_no_sense_are_refused(three_classes: FeatureTable) -> None:
    with pytest.raises(BottleneckError, match="`repeats=0`: expected 1 or more"):
        train_head(three_classes.store, repeats=0)


MULTI_LABEL: list[Any] = [["a"], ["b"], ["a", "b"], ["b", "c"], ["c"], ["a", "d"]]


@pytest.fixture
def multi_label(tmp_path: Path) -> FeatureTable:
    """180 images (108, 36 and 36) of four labels, each easy to see in one of two layers."""
    random = np.random.default_rng(0)
    labels = MULTI_LABEL * 30
    has = np.array([[label in of_image for label in "abcd"] for of_image in labels])
    X = {}
    for layer, width, columns in ((LAYERS[0], 48, slice(2)), (LAYERS[1], 64, slice(2, 4))):
        centers = random.normal(size=(4, width))
        X[layer] = has[:, columns] @ centers[columns] + random.normal(scale=0.5, size=(len(labels), width))
    splits = [("train", "train", "train", "validation", "test")[n // 6 % 5] for n in range(len(labels))]
    return narrow_table(tmp_path / "several", X, labels, splits)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"kind": "dense", "learning_rate": 0.05, "epochs": 30}],
    ids=["logistic", "dense"],
)
def test_a_head_of_several_labels_and_layers(multi_label: FeatureTable, parameters: dict[str, Any]) -> None:
    """What each layer shows of the labels is known to it, and the table's labels, beyond one."""
    alone = train_head(multi_label.store, layers=LAYERS[1], **parameters)
    saved = train_head(multi_label.store, layers=f"{LAYERS[1]},{LAYERS[0]}", **parameters)
    assert [column["layer"] for column in saved.facts["columns"]] == list(LAYERS) == list(saved.layers)
    assert len({column["fingerprint"] for column in saved.facts["columns"]}) == 2
    assert saved.facts["width"] == 48 + 64
    assert saved.facts["multi_label"] and saved.facts["labels"] == list("abcd")
    test = saved.facts["metrics"]["test"]
    assert test["average_precision"]["macro"] > 0.98 > 0.95 > alone.facts["metrics"]["test"]["f1"]["macro"]
    assert test["f1"]["macro"] > 0.95 and test["count"] == 36
    assert saved.facts["metrics"]["validation"]["count"] == 36
    assert saved.facts["splits"]["rows"] == {"train": 108, "validation": 36, "test": 36}
    again = load_head(multi_label.store)
    X, labels = multi_label.matrix("test", layers=LAYERS, multi_label=True)
    assert again.head.predict(X).shape == (36, 4)
    assert again.evaluate(multi_label) == approximate(test)
    assert {label: of["threshold"] for label, of in test["per_class"].items()} == dict(
        zip("abcd", again.facts["thresholds"], strict=True)
    )
    assert [tuple(np.array(list("abcd"))[row == 1]) for row in again.head.predict(X)].count(("a",)) == 6
    assert sum(of_image == ("a",) for of_image in labels) == 6


def test_a_table_without_one_of_its_layers_is_refused_by_a_head(
    multi_label: FeatureTable, tmp_path: Path
) -> None:
    saved = train_head(multi_label.store, layers=LAYERS, C=0.1)
    assert saved.check(multi_label) is None
    other = narrow_table(tmp_path, {LAYERS[1]: np.ones((1, 64))}, ["a"], ["test"])
    with pytest.raises(BottleneckError, match=f"has no layer '{LAYERS[0]}': it has {LAYERS[1]};"):
        saved.check(other)
    with pytest.raises(BottleneckError, match=f"layer was {LAYERS[0]} and is now {LAYERS[1]}"):
        saved.check([*saved.columns[1:], *saved.columns[:1]])


def test_rare_labels_are_left_out_and_images_with_others_stay(multi_label: FeatureTable) -> None:
    saved = train_head(multi_label.store, C=0.1, min_images=20)
    assert saved.facts["labels"] == ["a", "b", "c"]
    assert saved.facts["left_out"] == {"d": {"train": 18, "validation": 6, "test": 6}}
    assert saved.facts["metrics"]["test"]["count"] == 36, "those of d have another label, too"
    assert (
        "left out 1 of 4 labels, those with fewer than 20 training images: d (18)" in saved.facts["notices"]
    )


def test_a_kind_that_learns_one_label_refuses_several(
    multi_label: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogisticHead, "takes_multi_label", False)
    with pytest.raises(
        BottleneckError, match="a logistic head learns one label an image, and images of table"
    ):
        train_head(multi_label.store)


def test_parameters_are_refused_before_the_table_is_opened(tmp_path: Path) -> None:
    message = "a logistic head has no parameter 'hidden': it takes C, calibration, class_weight, seed"
    with pytest.raises(BottleneckError, match=re.escape(message)):
        train_head(tmp_path, hidden=3)
    with pytest.raises(BottleneckError, match="C is -1"):
        train_head(tmp_path, C=-1.0)


def test_an_unknown_layer_is_refused(two_classes: FeatureTable) -> None:
    with pytest.raises(BottleneckError, match="has no layer 'block6o_add'"):
        train_head(two_classes.store, layers="block6o_add")


def test_a_table_that_does_not_fit_is_refused_before_it_is_read(
    garden: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: 10**8)
    monkeypatch.setattr(FeatureTable, "matrix", None)
    message = (
        "a logistic head on 40 rows needs about 0.4 GB of memory, and 0.1 GB are available: "
        "train with `kind=dense`, which streams the features"
    )
    with pytest.raises(BottleneckError, match=re.escape(message)):
        train_head(garden.store)


def test_training_a_logistic_head_imports_no_tensorflow(two_classes: FeatureTable) -> None:
    program = (
        "import sys, heads; from heads import train_head; from heads.registry import HEADS; "
        f"heads.list_heads({str(two_classes.store)!r}); list(HEADS); "
        "heavy = {'sklearn', 'tensorflow', 'keras'} & sys.modules.keys(); assert not heavy, heavy; "
        "from heads import DenseHead, Head, LogisticHead; "
        f"train_head({str(two_classes.store)!r}, C=0.1); "
        "heavy = {'tensorflow', 'keras', 'apache_beam', 'openvino'} & sys.modules.keys(); "
        "assert not heavy, heavy"
    )
    command: Sequence[str] = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "parameters", [{"C": 0.1}, {"kind": "dense", "epochs": 1}], ids=["logistic", "dense"]
)
def test_rows_of_classes_that_are_left_out_teach_nothing(
    garden: FeatureTable, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    """The same head as from a table without them, and without what has no label."""
    X, labels = garden.matrix(layers=LAYERS[0])
    splits = garden.metadata(["split"]).column("split").to_pylist()
    kept = [number for number, label in enumerate(labels) if label in TAUGHT]
    narrow_table(tmp_path, {LAYERS[0]: X[kept]}, [labels[n] for n in kept], [splits[n] for n in kept])
    head = train_head(garden.store, layers=LAYERS[0], **parameters).head
    alone = train_head(tmp_path, **parameters).head
    np.testing.assert_allclose(alone.predict_proba(X), head.predict_proba(X), atol=1e-6)


def test_a_label_that_the_head_never_saw_is_an_error(garden: FeatureTable, tmp_path: Path) -> None:
    head = train_head(garden.store, layers=LAYERS[0], C=0.1)
    other = narrow_table(tmp_path, {LAYERS[0]: np.zeros((2, 48))}, ["daisy", "cactus"], ["test", "test"])
    with pytest.raises(BottleneckError, match="this head was not taught the labels 'cactus'"):
        head.evaluate(other)


def viewed(store: Path, most: int, labels: Sequence[str], scale: float = 1.0) -> FeatureTable:
    """60 images, and so many views of each of the 36 in train, of which those from the second on mislead."""
    random = np.random.default_rng(0)
    splits = [("train", "train", "train", "validation", "test")[number // 3 % 5] for number in range(60)]
    centers = scale * random.normal(size=(3, 48))
    X = centers[[TAUGHT.index(label) for label in labels]] + random.normal(size=(60, 48))
    of_train = [number for number, split in enumerate(splits) if split == "train"]
    looks = [X + random.normal(scale=0.1, size=X.shape), -X, -2 * X][:most]
    shown = [*range(60), *of_train * most]
    return narrow_table(
        store,
        {LAYERS[0]: np.concatenate([X, *(look[of_train] for look in looks)])},
        [labels[number] for number in shown],
        [splits[number] for number in shown],
        [0] * 60 + [view for view in range(1, most + 1) for _ in of_train],
        shown,
    )


@pytest.mark.parametrize(
    ("parameters", "folds", "views"),
    [({}, 0, 0), ({}, 3, 1), ({"kind": "dense", "epochs": 2}, 0, 1), ({"kind": "dense", "epochs": 2}, 2, 0)],
)
def test_no_more_views_are_trained_on_than_asked_for(
    tmp_path: Path, parameters: dict[str, Any], folds: int, views: int
) -> None:
    """The same head as from a table that has no more."""
    fewer = viewed(tmp_path / "fewer", views, TAUGHT * 20)
    saved = train_head(
        viewed(tmp_path / "more", 3, TAUGHT * 20).store, views=views, folds=folds, **parameters
    )
    expected = train_head(fewer.store, folds=folds, **parameters)
    known, other = known_by(saved), known_by(expected)
    assert (known.pop("settings")["views"], other.pop("settings")["views"]) == (views, None)
    assert known == other
    X, _ = fewer.matrix()
    np.testing.assert_array_equal(saved.head.predict_proba(X), expected.head.predict_proba(X))


@pytest.mark.parametrize(
    "parameters", [{}, {"kind": "dense", "epochs": 6, "learning_rate": 0.03}], ids=["logistic", "dense"]
)
def test_views_are_trained_on_and_counted_apart_from_images(
    tmp_path: Path, parameters: dict[str, Any]
) -> None:
    """Most of them show the opposite of their image here, and so does the head then."""
    table = viewed(tmp_path, 3, TAUGHT * 20)
    saved, without = train_head(tmp_path, **parameters), train_head(tmp_path, views=0, **parameters)
    facts = saved.facts
    assert (
        facts["splits"]["rows"]
        == without.facts["splits"]["rows"]
        == {"train": 36, "validation": 12, "test": 12}
    )
    assert (facts["views"], facts["splits"]["augmented_views"]) == (3, 108)
    assert "views" not in without.facts and "augmented_views" not in without.facts["splits"]
    assert facts["metrics"]["test"]["count"] == facts["metrics"]["validation"]["count"] == 12
    assert without.facts["metrics"]["test"]["accuracy"] == 1
    X = table.matrix("test")[0]
    sure = [head.head.predict_proba(X).max(axis=1).mean() for head in (saved, without)]
    assert sure[0] < sure[1] - 0.1
    assert saved.evaluate(table, "train")["count"] == 36


@pytest.mark.parametrize(
    "parameters", [{"C": 10.0}, {"kind": "dense", "epochs": 20}], ids=["logistic", "dense"]
)
def test_views_of_an_image_are_in_its_fold(tmp_path: Path, parameters: dict[str, Any]) -> None:
    """Of noise nothing can be learned; who has seen a view of an image would know its label."""
    table = viewed(tmp_path, 1, TAUGHT * 20, scale=0.0)
    facts = train_head(tmp_path, folds=4, **parameters).facts
    assert facts["metrics"]["folds"]["count"] == 48
    assert facts["metrics"]["folds"]["accuracy"] < 0.55
    assert facts["splits"]["rows"] == {"train": 36, "validation": 12} and facts["views"] == 1
    assert len(table.metadata(["uri"])) == 60 + 36


def test_views_that_an_extraction_has_not_come_to_are_told(tmp_path: Path) -> None:
    labels, views = ["daisy", "rose"] * 10, [0, 1] * 4 + [0] * 12
    X = np.random.default_rng(0).normal(size=(20, 48))
    splits = ["train"] * 16 + ["test"] * 4
    labels[:8] = ["daisy"] * 4 + ["rose"] * 4
    table = narrow_table(tmp_path, {LAYERS[0]: X}, labels, splits, views)
    notice = "8 of 12 augmented views of training images are missing: extract again with `views=1`"
    for folds in (0, 2):
        assert notice in train_head(table.store, C=1.0, folds=folds).facts["notices"]
    assert not any("missing" in of for of in train_head(table.store, C=1.0, views=0).facts["notices"])


@pytest.mark.parametrize(
    ("most", "views", "message"),
    [
        (
            2,
            3,
            "`views=3`: table 'inception_v3' has 2 augmented views of each image; extract again with "
            "`views=3`, or train with fewer",
        ),
        (
            0,
            1,
            "`views=1`: table 'inception_v3' has no augmented views; extract again with `views=1`, "
            "or train with fewer",
        ),
        (2, -1, "`views=-1`: expected 0 or more"),
    ],
)
def test_more_views_than_there_are_are_refused(tmp_path: Path, most: int, views: int, message: str) -> None:
    table = viewed(tmp_path, most, TAUGHT * 20)
    with pytest.raises(BottleneckError) as refusal:
        train_head(table.store, views=views)
    assert str(refusal.value) == message


def test_memory_is_needed_for_views_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = viewed(tmp_path, 3, TAUGHT * 20)
    needed = LogisticHead.bytes_needed(36 * 4 + 12, 48, 3)
    monkeypatch.setattr(heads.fitting, "available_memory", lambda: needed - 1)
    with pytest.raises(BottleneckError, match="a logistic head on 156 rows needs about"):
        train_head(table.store)
    assert train_head(table.store, views=2)
