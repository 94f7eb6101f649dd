"""Training as a command: what reaches the head, and what is said."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.errors import BottleneckError
from features.locations import features_path
from features.recipe import FeatureRecipe
from features.store.parts import write_part
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads import SavedHead, current_head, format_metrics, list_heads, load_head
from heads.tracking import MlflowRun
from pipelines import cli
from pipelines import tracking as tracking_module
from pipelines import train as train_module
from pipelines.options import TrainOptions
from pipelines.tracking import NotLogged
from pipelines.train import train
from tests.tables import add, add_views, make_rows
from tests.tiny import ROOT

LABELS = ["daisy", "rose"] * 10 + ["tulip", "none"]
SPLITS = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4 + ["train"] * 2


def make_table(store: Path, weights: str) -> FeatureTable:
    """A table of two layers: the early one knows the classes, the deep one does not."""
    recipe = FeatureRecipe(weights=weights, weights_sha256="0" * 64, backbone="tiny")
    facts = TableFacts("digits", weights, ("early", "avg_pool"), recipe)
    table = feature_store.create(store, "tiny", facts)
    random = np.random.default_rng(0)
    layers = {"early": random.normal(scale=0.1, size=(22, 8)), "avg_pool": random.normal(size=(22, 16))}
    layers["early"][:, 0] += np.arange(22) % 2
    one = TableFacts("digits", weights, ("early",), recipe)
    rows = make_rows(one, layers["early"], [[] if label == "none" else label for label in LABELS], SPLITS)
    deep = pa.array(list(layers["avg_pool"].astype(np.float32)), pa.list_(pa.float32()))
    both = pa.RecordBatch.from_arrays(
        [*rows.columns, deep.cast(facts.schema.field(-1).type)], schema=facts.schema
    )
    add(table, write_part(features_path(store, "tiny"), [both], facts.schema))
    return feature_store.open(store, "tiny")


@pytest.fixture(scope="module")
def table(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    return make_table(tmp_path_factory.mktemp("train"), "random")


def options(table: FeatureTable, **values: object) -> TrainOptions:
    """Options of a training, which is not left out where it was done before."""
    return TrainOptions(**{"store": str(table.store), "backbone": "tiny", "retrain": True, **values})


def test_what_is_said_while_a_head_is_trained_and_afterwards(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    table = make_table(tmp_path, "random")
    times = iter([9.0, 10.0, 12.25])
    monkeypatch.setattr(train_module, "time", types.SimpleNamespace(monotonic=lambda: next(times)))
    said = train(options(table, layers="avg_pool,early", min_images=2))
    out, err = capfd.readouterr()
    saved = load_head(table.store, "tiny")
    assert out == ""
    first, *steps = (line for line in err.splitlines() if line.startswith("  "))
    assert err.splitlines()[: -len(steps) - 1] == [UNTRAINED, "Training a logistic head …"]
    assert re.fullmatch(r"  1 of at most 11: C 0\.0001, log_loss 0\.\d{1,4}", first)
    assert steps[0].startswith("  2 of at most 11: C 0.0003, log_loss ")
    assert said == (
        f"{format_metrics(saved.facts['metrics']['test'])}\n"
        "\n"
        f"chosen by validation: C {saved.facts['training']['C']:.4g}\n"
        "left out 1 image without a label\n"
        "left out 1 image of 1 of 3 classes, those with fewer than 2 training images: tulip (1)\n"
        "trained in 2.2 s from early, avg_pool of table 'tiny', version 1\n"
        "promoted: table 'tiny' had no current head\n"
        f"head: {saved.directory} (now the current one)\n"
        f"next: make predict IMAGES=… STORE={table.store} BACKBONE=tiny\n"
        f"{UNTRAINED}"
    )


def test_features_of_trained_weights_are_not_called_untrained(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    said = train(options(make_table(tmp_path, "imagenet"), head="logistic", set=["C=1"]))
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "Training a logistic head …"
    assert UNTRAINED not in said


def test_what_was_asked_for_is_what_is_trained(table: FeatureTable, capfd: pytest.CaptureFixture[str]):
    asked = options(
        table, backbone=None, features="tiny", head="dense", layers="early", hidden=3, seed=7,
        set=["epochs=2", "learning_rate=0.01"],
    )  # fmt: skip
    train(asked)
    facts = load_head(table.store, "tiny").facts
    assert (facts["kind"], facts["seed"], facts["columns"][0]["layer"]) == ("dense", 7, "early")
    assert facts["parameters"].items() >= {"hidden": 3, "epochs": 2, "learning_rate": 0.01}.items()
    assert facts["min_images"] == 1 and facts["labels"] == ["daisy", "rose", "tulip"]
    err = capfd.readouterr().err
    assert re.search(r"Training a dense head …\n  1 of at most 2: accuracy 0\.\d+, loss ", err)
    assert "of the layers" not in err


def test_a_head_of_the_early_layer_alone_knows_the_classes(table: FeatureTable):
    train(options(table, layers="early", min_images=2))
    early = load_head(table.store, "tiny").facts
    train(options(table, min_images=2))
    deep = load_head(table.store, "tiny").facts
    assert (early["columns"][0]["layer"], deep["columns"][0]["layer"]) == ("early", "avg_pool")
    assert early["metrics"]["test"]["accuracy"] == 1 > deep["metrics"]["test"]["accuracy"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"layers": "early,mixed8"}, "unknown layer 'mixed8': Tiny has early, avg_pool, late"),
        ({"features": "tiny", "backbone": "resnet50"}, "made with `backbone=tiny`, not resnet50"),
        ({"hidden": 3}, "a logistic head has no parameter 'hidden'"),
        ({"head": "dense", "seed": 1, "set": ["seed=2"]}, "'seed' is set twice, to 1 and to 2"),
        ({"backbone": "resnet50"}, "there are no features named 'resnet50'"),
    ],
)
def test_what_can_not_be_trained_is_refused_before_anything_is_said(
    table: FeatureTable, asked: dict, message: str, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(BottleneckError, match=message):
        train(options(table, **asked))
    assert capfd.readouterr().err == ""


def test_a_layer_that_the_table_does_not_have_is_refused(tiny: str, tmp_path: Path):
    from tests.tables import make_table as make_table_of_one_layer

    recipe = FeatureRecipe(weights="random", weights_sha256="0" * 64, backbone="tiny")
    table = make_table_of_one_layer(tmp_path, np.zeros((0, 16)), [], name="tiny", recipe=recipe)
    with pytest.raises(BottleneckError, match="table 'tiny' has no layer 'early': it has avg_pool"):
        train(options(table, layers="early,avg_pool"))


def test_with_debug_what_libraries_say_is_shown_and_no_log_is_written(tiny: str, tmp_path: Path):
    table = make_table(tmp_path, "random")
    train(options(table), debug=True)
    assert not (tmp_path / "logs").exists()
    train(options(table))
    (log,) = (tmp_path / "logs").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}-train-head\.log", log.name)


URI = "http://mlflow.example"


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> list[SavedHead]:
    """An MLflow that takes every head, and can't be told from the real one here: those that it has."""
    logged: list[SavedHead] = []

    def log(saved: SavedHead) -> MlflowRun:
        logged.append(saved)
        return MlflowRun("0a1b", "tiny", URI)

    monkeypatch.setattr(tracking_module, "check_mlflow", lambda: URI)
    monkeypatch.setattr(tracking_module, "log_to_mlflow", log)
    return logged


def test_a_head_is_logged_to_mlflow_where_that_is_asked_for(
    table: FeatureTable, mlflow: list[SavedHead], capfd: pytest.CaptureFixture[str]
):
    assert "MLflow" not in train(options(table))
    assert not mlflow and "MLflow" not in capfd.readouterr().err
    lines = train(options(table, mlflow=True)).splitlines()
    saved = load_head(table.store, "tiny")
    assert [logged.id for logged in mlflow] == [saved.id]
    at = lines.index(f"head: {saved.directory} (now the current one)")
    assert lines[at + 1] == f"MLflow: run 0a1b of experiment 'tiny' at {URI}"
    assert capfd.readouterr().err.endswith(f"Logging head {saved.id} to MLflow at {URI} …\n")


def test_without_mlflow_nothing_is_trained(table: FeatureTable, monkeypatch: pytest.MonkeyPatch):
    def missing() -> str:
        raise BottleneckError("MLflow can't be imported")

    monkeypatch.setattr(tracking_module, "check_mlflow", missing)
    monkeypatch.setattr(train_module, "train_head", None)
    with pytest.raises(BottleneckError, match="MLflow can't be imported"):
        train(options(table, mlflow=True))


def test_a_head_that_mlflow_does_not_get_is_kept(
    table: FeatureTable,
    mlflow: list[SavedHead],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    def down(saved: SavedHead) -> MlflowRun:
        raise BottleneckError(f"head {saved.id} could not be logged")

    monkeypatch.setattr(tracking_module, "log_to_mlflow", down)
    before = load_head(table.store, "tiny").id if (table.store / "heads").exists() else None
    with pytest.raises(NotLogged):
        train(options(table, mlflow=True))
    capfd.readouterr()
    arguments = ["train-head", f"--store={table.store}", "--backbone=tiny", "--mlflow", "--retrain"]
    assert cli.main(arguments) == 1
    out, err = capfd.readouterr()
    saved = load_head(table.store, "tiny")
    assert saved.id != before
    assert f"head: {saved.directory} (now the current one)" in out.splitlines()
    assert format_metrics(saved.facts["metrics"]["test"]) in out and "MLflow:" not in out
    assert err.splitlines()[-1] == (
        f"bottlenecks train-head: the head is saved, but head {saved.id} could not be logged"
    )


def test_the_training_is_logged_for_tensorboard(table: FeatureTable, capfd: pytest.CaptureFixture[str]):
    pytest.importorskip("tensorboard")
    train(options(table, head="dense", set=["epochs=1"], tensorboard=True))
    (folder,) = (table.store / "logs" / "tensorboard").iterdir()
    assert f"To watch: tensorboard --logdir {folder}" in capfd.readouterr().err.splitlines()
    assert (table.store / "logs" / f"{folder.name}-train-head.log").exists(), "named after the run"
    assert sorted(path.name for path in folder.iterdir()) == ["train", "validation"]


def test_tensorboard_is_given_to_the_head(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    from keras.callbacks import LambdaCallback

    folders: list[Path] = []

    def callback(folder: Path) -> LambdaCallback:
        return LambdaCallback(on_train_end=lambda logs: folders.append(folder))

    monkeypatch.setattr(tracking_module, "tensorboard_callback", callback)
    train(options(table, head="dense", set=["epochs=1"], tensorboard=True))
    assert [folder.parent for folder in folders] == [table.store / "logs" / "tensorboard"]


def test_tensorboard_is_for_heads_that_keras_trains(table: FeatureTable, capfd: pytest.CaptureFixture[str]):
    arguments = ["train-head", "--store", str(table.store), "--backbone", "tiny", "--tensorboard"]
    assert cli.main(arguments) == 1
    assert capfd.readouterr().err == (
        "bottlenecks train-head: a logistic head is not trained by Keras, and takes no callbacks, "
        "such as that of TensorBoard: train with HEAD=dense\n"
    )


def test_it_is_said_that_figures_are_by_folds(table: FeatureTable, capfd: pytest.CaptureFixture[str]):
    text = train(options(table, folds=2, set=["C=1"]))
    (line,) = [line for line in text.splitlines() if "folds" in line]
    saved = load_head(table.store, "tiny")
    if saved.facts["splits"]["tested"] == ["folds"]:
        assert line == "tested by 2 folds, each image once; the head is trained on all of them"
    else:
        accuracy = saved.facts["metrics"]["folds"]["accuracy"]
        assert line.startswith(f"by folds, of all but the test split: accuracy {accuracy:.1%} (")


def test_it_is_said_how_many_views_were_trained_on(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    table = add_views(make_table(tmp_path, "random"))
    asked = options(table, layers="early", min_images=2)
    assert "\ntrained on 16 images and 12 augmented views of them\n" in train(asked)
    assert "augmented views" not in train(asked.replace(views=0))
    assert load_head(table.store, "tiny").facts["splits"]["rows"] == {"train": 12, "validation": 4, "test": 4}


def test_a_training_that_would_repeat_one_is_left_out(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    table = make_table(tmp_path, "random")
    train(options(table, set=["C=1"]))
    first = load_head(table.store, "tiny")
    capfd.readouterr()
    logs = sorted((tmp_path / "logs").iterdir())
    assert train(options(table, set=["C=1"], retrain=False)) == (
        f"nothing to do: head {first.id} was trained from version 1 of table 'tiny' with the same settings; "
        f"it is the current one (--retrain trains anyway)\n{UNTRAINED}"
    )
    assert capfd.readouterr() == ("", "") and sorted((tmp_path / "logs").iterdir()) == logs
    assert len(list_heads(table.store, "tiny")) == 1
    said = train(options(table, set=["C=1"], retrain=False, mlflow=True))
    assert "; it is the current one; nothing is logged (--retrain" in said
    train(options(table, set=["C=2"], retrain=False, promote="always"))
    other = load_head(table.store, "tiny")
    assert other.id != first.id
    said = train(options(table, set=["C=1"], retrain=False))
    assert f"; the current one is {other.id} (--retrain" in said, "another head in between changes nothing"
    said = train(options(table, set=["C=1"], retrain=False, promote="never"))
    assert f"; the current one is {other.id} (--retrain" in said
    said = train(options(table, set=["C=1"], retrain=False, promote="always"))
    assert "; it is the current one (--retrain" in said, "what is asked for is done"
    assert current_head(table.store, "tiny") == first.id and len(list_heads(table.store, "tiny")) == 2


@pytest.mark.parametrize("damage", ["current.json", "head.json", "folder"])
def test_where_no_current_head_can_be_used_it_is_decided_again(tiny: str, tmp_path: Path, damage: str):
    table = make_table(tmp_path, "imagenet")
    train(options(table, set=["C=1"]))
    first = load_head(table.store, "tiny")
    train(options(table, set=["C=2"], promote="always"))
    second = load_head(table.store, "tiny")
    if damage == "current.json":
        (second.directory.parent / damage).unlink()
    elif damage == "head.json":
        (second.directory / damage).write_text("{")
    else:
        shutil.rmtree(second.directory)
    said = train(options(table, set=["C=1"], retrain=False))
    assert said.startswith("nothing to do: ") and "; it is the current one (" in said
    assert current_head(table.store, "tiny") == first.id


def test_a_head_that_was_skipped_and_is_not_current_has_both_facts(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    table = make_table(tmp_path, "imagenet")
    train(options(table, set=["C=1"]))
    first = load_head(table.store, "tiny")
    train(options(table, set=["C=2"], promote="always"))
    capfd.readouterr()
    facts = json.loads(train(options(table, set=["C=1"], retrain=False, json=True)))
    assert (facts["status"], facts["head"], facts["promoted"]) == ("skipped", first.id, True)
    assert facts["why"].startswith("promoted: ") and facts["is_current"] is False
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "changed",
    [{"layers": "early"}, {"min_images": 2}, {"folds": 2}, {"repeats": 2}, {"seed": 1}],
)
def test_any_other_setting_is_trained(tiny: str, tmp_path: Path, changed: dict[str, object]):
    table = make_table(tmp_path, "imagenet")
    train(options(table, set=["C=1"], retrain=False))
    train(options(table, set=["C=1"], retrain=False, **changed))
    assert len(list_heads(table.store, "tiny")) == 2


def test_a_head_of_which_nothing_was_decided_is_decided_on(tiny: str, tmp_path: Path):
    """The run that trained it left that open, or was stopped before."""
    table = make_table(tmp_path, "imagenet")
    said = train(options(table, promote="never", retrain=False))
    saved = load_head(table.store, "tiny", list_heads(table.store, "tiny")[0]["id"])
    assert said.splitlines()[-3:] == [
        "not promoted, as was asked for",
        f"head: {saved.directory} (no head is the current one)",
        f"next: make promote HEAD_ID={saved.id} STORE={table.store} BACKBONE=tiny",
    ]
    said = train(options(table, promote="never", retrain=False))
    assert "; the current one is none (" in said and current_head(table.store, "tiny") is None
    said = train(options(table, retrain=False))
    assert "; it is the current one (" in said and current_head(table.store, "tiny") == saved.id


def test_looking_whether_there_is_anything_to_do_imports_nothing_that_trains(tiny: str, tmp_path: Path):
    table = make_table(tmp_path, "imagenet")
    train(options(table, layers="early"))
    code = (
        "import sys; from tests.tiny import make_known; make_known(); from pipelines.cli import main;"
        f"main(['train-head', '--store={table.store}', '--backbone=tiny', '--layers=early']);"
        "loaded = {'sklearn', 'tensorflow', 'keras', 'apache_beam', 'scipy'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("nothing to do: head ")


def grow(table: FeatureTable, labels: list[str]) -> FeatureTable:
    """Add images to train: the early layer has the numbers of those that are there, the deep one others."""
    random = np.random.default_rng(1)
    one = TableFacts("digits", table.facts.weights, ("early",), table.recipe)
    early = random.normal(scale=0.1, size=(len(labels), 8))
    early[:, 0] += [label == "rose" for label in labels]
    rows = make_rows(one, early, labels, ["train"] * len(labels), prefix="more", run_id="run-3")
    deep = pa.array(list(random.normal(size=(len(labels), 16)).astype(np.float32)), pa.list_(pa.float32()))
    both = pa.RecordBatch.from_arrays(
        [*rows.columns, deep.cast(table.facts.schema.field(-1).type)], schema=table.facts.schema
    )
    add(table, write_part(features_path(table.store, "tiny"), [both], table.facts.schema), run_id="run-3")
    return feature_store.open(table.store, "tiny")


def test_drift_is_said_before_training_and_can_fail_the_run(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    table = make_table(tmp_path, "imagenet")
    train(options(table))
    first = load_head(table.store, "tiny")
    assert "drift" not in capfd.readouterr().err
    grow(table, ["rose"] * 30)
    arguments = ["train-head", f"--store={table.store}", "--backbone=tiny", "--max-class-drift=0.2"]
    assert cli.main(arguments) == 6
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 4
    assert lines[0] == (
        f"drift: since version 1, which head {first.id} was trained on: 30 new images, 0 gone, 0 with other "
        f"labels"
    )
    assert lines[1].startswith("drift: classes: their shares have moved by 31.5% of the images (p = ")
    assert lines[2].startswith("drift: features: new images told from old ones, AUC ")
    assert lines[3].startswith(
        "bottlenecks train-head: the shares of the classes have moved by 0.315 since version 1, which the "
        f"current head {first.id} was trained on, more than --max-class-drift 0.2 allows; "
    )
    assert len(list_heads(table.store, "tiny")) == 1
    assert cli.main([*arguments[:-1], "--max-class-drift=0.4", "--max-feature-drift=0.99"]) == 0
    assert capfd.readouterr().err.splitlines()[3] == "Training a logistic head …"
    assert len(list_heads(table.store, "tiny")) == 2


def test_where_drift_can_not_be_measured_it_is_said_and_trained(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    table = make_table(tmp_path, "imagenet")
    train(options(table))
    saved = load_head(table.store, "tiny")
    (saved.directory / "head.json").write_text(json.dumps(saved.facts | {"table_id": "another"}))
    capfd.readouterr()
    said = json.loads(train(options(table, json=True)))
    assert said["drift"]["error"].startswith(f"head {saved.id} was trained on another table of the name ")
    line = capfd.readouterr().err.splitlines()[0]
    assert line.startswith(
        f"drift: can't be measured, since head {saved.id} was trained on another table of "
    )
    assert load_head(table.store, "tiny").id != saved.id


def test_a_limit_of_drift_that_can_not_be_checked_fails_the_run(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    table = make_table(tmp_path, "imagenet")
    train(options(table))
    saved = load_head(table.store, "tiny")
    (saved.directory / "head.json").write_text(json.dumps(saved.facts | {"table_id": "another"}))
    capfd.readouterr()
    arguments = ["train-head", f"--store={table.store}", "--backbone=tiny", "--json"]
    assert cli.main([*arguments, "--max-class-drift=0.9"]) == 6
    out, err = capfd.readouterr()
    sentence = "drift can't be measured, so that --max-class-drift can't be checked: head "
    assert err.splitlines()[-1].startswith(f"bottlenecks train-head: {sentence}")
    facts = json.loads(out)
    assert facts["error"].startswith(sentence) and facts["drift"]["error"].startswith(f"head {saved.id} ")
    assert len(list_heads(table.store, "tiny")) == 1


def test_drift_that_fails_the_run_is_in_the_line(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    table = make_table(tmp_path, "imagenet")
    train(options(table))
    grow(table, ["rose"] * 30)
    capfd.readouterr()
    arguments = ["train-head", f"--store={table.store}", "--backbone=tiny", "--json", "--max-class-drift=0.2"]
    assert cli.main(arguments) == 6
    out, err = capfd.readouterr()
    facts = json.loads(out)
    assert (facts["command"], facts["status"], facts["exit_code"]) == ("train-head", "failed", 6)
    assert err.endswith(f"bottlenecks train-head: {facts['error']}\n")
    assert facts["drift"]["new"] == 30 and facts["drift"]["classes"] > 0.2


def test_a_head_that_mlflow_does_not_get_is_in_the_line_too(
    table: FeatureTable,
    mlflow: list[SavedHead],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    def down(saved: SavedHead) -> MlflowRun:
        raise BottleneckError("down")

    monkeypatch.setattr(tracking_module, "log_to_mlflow", down)
    arguments = ["train-head", f"--store={table.store}", "--backbone=tiny", "--mlflow", "--retrain", "--json"]
    assert cli.main(arguments) == 1
    facts = json.loads(capfd.readouterr().out)
    assert facts["status"] == "failed" and facts["error"] == "the head is saved, but down"
    assert facts["head"] == load_head(table.store, "tiny").id


def test_a_scheduler_reads_one_line(tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    table = make_table(tmp_path, "random")
    arguments = ["train-head", f"--store={table.store}", "--backbone=tiny", "--json"]
    assert cli.main(arguments) == 0
    out, err = capfd.readouterr()
    saved = load_head(table.store, "tiny")
    assert len(out.splitlines()) == 1 and "Training a logistic head …" in err
    facts = json.loads(out)
    assert facts.pop("seconds") > 0
    metrics = saved.facts["metrics"]["test"]
    assert facts == {
        "command": "train-head",
        "status": "trained",
        "table": "tiny",
        "table_version": 1,
        "head": saved.id,
        "current_head": saved.id,
        "is_current": True,
        "promoted": True,
        "why": "promoted: table 'tiny' had no current head",
        "comparisons": [],
        "metrics": {name: metrics[name] for name in ("accuracy", "macro_f1", "log_loss")},
        "untrained": True,
        "drift": None,
    }
    assert cli.main(arguments) == 0
    out, err = capfd.readouterr()
    skipped = json.loads(out)
    assert err == "" and skipped.pop("seconds") >= 0
    assert skipped == facts | {"status": "skipped"}
    grow(table, ["rose"] * 30)
    assert cli.main(arguments) == 0
    facts = json.loads(capfd.readouterr().out)
    assert (facts["status"], facts["table_version"]) == ("trained", 2)
    drift = facts["drift"]
    assert (drift["head"], drift["since"], drift["version"], drift["new"]) == (saved.id, 1, 2, 30)
    assert drift["classes_p_value"] < 0.05 and 0 <= drift["features"]["auc"] <= 1
