from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import heads.training
from features.errors import BottleneckError
from features.store.parts import write_part
from features.store.table import FeatureTable
from heads import LogisticHead, SavedHead, evaluate, load_head, train_head
from heads.examples import Examples
from heads.logistic import CANDIDATES
from heads.training import _check_memory, _notices
from tests.heads.conftest import LAYERS, RECIPE, MakeSmallTable, approximate, narrow_table
from tests.tables import add, make_rows

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
    return {name: value for name, value in facts.items() if name not in ("id", "created_at", "packages")}


def expected_metrics(saved: SavedHead, table: FeatureTable, split: str) -> dict[str, Any]:
    X, labels = table.matrix(split, layer=saved.column.layer, classes=TAUGHT)
    true = np.array([TAUGHT.index(label) for label in labels])
    metrics = evaluate(true, saved.head.predict_proba(X), TAUGHT, majority_class="rose")
    return metrics | {"left_out": 1}


COMMON: dict[str, Any] = {
    "table": "inception_v3",
    "table_version": 1,
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
    "labels": ["daisy", "rose", "tulip"],
    "width": 48,
}
ROWS = {"train": 30, "validation": 10, "test": 10}


def test_head_json_of_a_logistic_head(garden: FeatureTable) -> None:
    """All that is needed to train it again, and how good it is."""
    steps: list[tuple[int, int, dict[str, float]]] = []
    saved = train_head(garden.store, layer=LAYERS[0], min_images=2, progress=lambda *step: steps.append(step))
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
        "parameters": {"C": None, "seed": 0},
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
        layer=LAYERS[0],
        min_images=2,
        progress=lambda *step: steps.append(step),
        **parameters,
    )
    facts = known_by(saved)
    assert [step[:2] for step in steps] == [(n + 1, 4) for n in range(4)]
    best = min(steps, key=lambda step: step[2]["val_loss"])
    assert facts["metrics"]["validation"]["log_loss"] == pytest.approx(best[2]["val_loss"], rel=1e-4)
    assert facts == COMMON | {
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
    assert (saved.column.layer, saved.facts["width"]) == (LAYERS[1], 64)
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
    assert (first.facts["seed"], first.facts["parameters"]) == (3, {"C": None, "seed": 3})
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
def test_nothing_to_test_on_is_refused(small_table: MakeSmallTable, labels: list) -> None:
    """An image without a label, or of a class that is not taught, is nothing to test on."""
    splits = ["train"] * 6 + (["validation"] if labels[-1] == "rose" else ["test"]) * 2
    table = small_table(labels, splits)
    with pytest.raises(BottleneckError) as caught:
        train_head(table.store)
    assert str(caught.value) == (
        "the test split of table 'inception_v3' has no labelled image of a class with training images, "
        "so that a head can't be tested: extract more images (about 1 of 10 goes to test), "
        "or give the splits with the images"
    )
    assert not (table.store / "heads").exists()


def test_multi_label_data_is_refused_in_plain_words(small_table: MakeSmallTable) -> None:
    table = small_table(["daisy", "rose", ["daisy", "rose"]] * 2, ["train"] * 3 + ["test"] * 3)
    with pytest.raises(BottleneckError, match="multi-label data is not there yet: 2 of 6 images"):
        train_head(table.store)


def test_parameters_are_refused_before_the_table_is_opened(tmp_path: Path) -> None:
    message = "a logistic head has no parameter 'hidden': it takes C, seed"
    with pytest.raises(BottleneckError, match=re.escape(message)):
        train_head(tmp_path, hidden=3)
    with pytest.raises(BottleneckError, match="C is -1"):
        train_head(tmp_path, C=-1.0)


def test_an_unknown_layer_is_refused(two_classes: FeatureTable) -> None:
    with pytest.raises(BottleneckError, match="has no layer 'block6o_add'"):
        train_head(two_classes.store, layer="block6o_add")


def test_a_table_that_does_not_fit_is_refused_before_it_is_read(
    garden: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads.training, "available_memory", lambda: 10**8)
    monkeypatch.setattr(FeatureTable, "matrix", None)
    message = (
        "a logistic head on 40 rows needs about 0.4 GB of memory, and 0.1 GB are available: "
        "train with `kind=dense`, which streams the features"
    )
    with pytest.raises(BottleneckError, match=re.escape(message)):
        train_head(garden.store)


def test_what_just_fits_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = LogisticHead.bytes_needed(1000, 2048, 10)
    for available in (needed, None):
        monkeypatch.setattr(heads.training, "available_memory", lambda available=available: available)
        _check_memory(LogisticHead(), 1000, 2048, 10)
    monkeypatch.setattr(heads.training, "available_memory", lambda: needed - 1)
    with pytest.raises(BottleneckError, match="on 1,000 rows needs about 0.4 GB"):
        _check_memory(LogisticHead(), 1000, 2048, 10)


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


def examples(
    taught: dict[str, tuple[int, int]], left_out: dict[str, tuple[int, int]], unlabelled: int = 0
) -> Examples:
    """By label, rows of train and of test; those that are left out have one row more, for validation."""
    rows = {
        split: {label: counts[number] for label, counts in taught.items()}
        for number, split in enumerate(("train", "test"))
    }
    others = {label: {"train": n, "validation": 1, "test": m} for label, (n, m) in left_out.items()}
    return Examples(tuple(taught), rows | {"validation": {}}, unlabelled, others)


def test_of_nothing_that_is_left_out_nothing_is_said() -> None:
    assert _notices(examples({"a": (1, 1), "b": (1, 1)}, {}), min_images=9) == []


def test_what_is_left_out_is_said() -> None:
    of_few = {label: (number, 2) for number, label in enumerate("cdefgh")}
    taught = {"a": (1200, 1), "b": (9, 0)}
    assert _notices(examples(taught, of_few, unlabelled=1200), min_images=1000) == [
        "left out 1,200 images without a label",
        "left out 33 images of 6 of 8 classes, those with fewer than 1,000 training images: "
        "c (0), d (1), e (2), f (3), g (4) and 1 more",
        "1 of 2 classes have no test image: b",
    ]
    untested = {label: (1, 0) for label in "abcdefg"}
    for min_images in (0, 1):
        assert _notices(examples(untested, {"poppy": (0, 0)}, unlabelled=1), min_images) == [
            "left out 1 image without a label",
            "left out 1 image of 1 of 8 classes, those with no training image: poppy (0)",
            "7 of 7 classes have no test image: a, b, c, d, e and 2 more",
        ]


@pytest.mark.parametrize(
    "parameters", [{"C": 0.1}, {"kind": "dense", "epochs": 1}], ids=["logistic", "dense"]
)
def test_rows_of_classes_that_are_left_out_teach_nothing(
    garden: FeatureTable, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    """The same head as from a table without them, and without what has no label."""
    X, labels = garden.matrix(layer=LAYERS[0])
    splits = garden.metadata(["split"]).column("split").to_pylist()
    kept = [number for number, label in enumerate(labels) if label in TAUGHT]
    narrow_table(tmp_path, {LAYERS[0]: X[kept]}, [labels[n] for n in kept], [splits[n] for n in kept])
    head = train_head(garden.store, layer=LAYERS[0], **parameters).head
    alone = train_head(tmp_path, **parameters).head
    np.testing.assert_allclose(alone.predict_proba(X), head.predict_proba(X), atol=1e-6)


def test_a_label_that_the_head_never_saw_is_an_error(garden: FeatureTable, tmp_path: Path) -> None:
    head = train_head(garden.store, layer=LAYERS[0], C=0.1)
    other = narrow_table(tmp_path, {LAYERS[0]: np.zeros((2, 48))}, ["daisy", "cactus"], ["test", "test"])
    with pytest.raises(BottleneckError, match="this head was not taught the labels 'cactus'"):
        head.evaluate(other)
