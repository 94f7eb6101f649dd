"""Heads in MLflow, by a real store in a folder, and TensorBoard's callback.

What needs MLflow or TensorBoard is skipped where it is not installed: `make test-tracking` installs both.
"""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads import SavedHead, train_head
from heads import tracking as tracking_module
from heads.tracking import (
    MlflowRun,
    check_mlflow,
    log_to_mlflow,
    mlflow_metrics,
    mlflow_params,
    mlflow_tags,
    tensorboard_callback,
)
from tests.heads.conftest import LAYERS, RECIPE

#: What `head.json` says, as far as it is logged.
FACTS: dict[str, Any] = {
    "table": "mine",
    "table_version": 7,
    "columns": [
        {"layer": LAYERS[0], "fingerprint": "aaaa", "recipe": RECIPE.to_dict()},
        {"layer": LAYERS[1], "fingerprint": "bbbb", "recipe": RECIPE.to_dict()},
    ],
    "kind": "logistic",
    "parameters": {"C": None, "seed": 3},
    "training": {"C": 0.1, "chosen_by": "validation", "log_loss": [{"C": 0.1, "log_loss": 0.5}]},
    "packages": {"python": "3.11.7", "numpy": "2.4.6"},
    "metrics": {
        "validation": {"log_loss": 0.25},
        "test": {
            "count": 12,
            "accuracy": 0.75,
            "accuracy_interval": [0.5, 1.0],
            "majority_class": "rose",
            "calibrated": True,
            "per_class": {"rose": {"f1": 1.0}},
            "confusion_matrix": [[1, 2], [3, 4]],
            "thresholds": [0.1, 0.2, 0.3],
        },
    },
}


@pytest.fixture
def saved(three_classes: FeatureTable) -> SavedHead:
    return train_head(three_classes.store, seed=3)


@pytest.fixture
def local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an MLflow store in a folder, which is the tracking server of the test."""
    uri = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    pytest.importorskip("mlflow")
    return uri


@pytest.fixture
def no_server(local_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server that is down, without the credentials that the environment has for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@{place}?token=secret")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return f"http://{place}"


def runs(experiment: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def artifacts(run_id: str) -> dict[str, int | None]:
    from mlflow.tracking import MlflowClient

    return {file.path: file.file_size for file in MlflowClient().list_artifacts(run_id)}


def test_parameters() -> None:
    assert mlflow_params(FACTS) == {
        "kind": "logistic",
        "layers": "block2d_add,block3d_add",
        "weights": "random",
        "C": "None",
        "seed": "3",
        "training.C": "0.1",
        "training.chosen_by": "validation",
    }
    assert mlflow_params(FACTS | {"training": None}).keys() == {"kind", "layers", "weights", "C", "seed"}


def test_metrics_are_those_that_are_numbers() -> None:
    assert mlflow_metrics(FACTS) == {
        "validation.log_loss": 0.25,
        "test.count": 12,
        "test.accuracy": 0.75,
        "test.accuracy_interval_low": 0.5,
        "test.accuracy_interval_high": 1.0,
    }


def test_metrics_of_several_labels_and_of_repeats() -> None:
    test = {"f1": {"micro": 0.5, "macro": 0.25}, "per_class": {"a": {"f1": 1.0}}}
    repeats = {"seeds": [0, 1], "accuracy": {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}}
    assert mlflow_metrics({"metrics": {"test": test, "repeats": repeats}}) == {
        "test.f1.micro": 0.5,
        "test.f1.macro": 0.25,
        "repeats.accuracy.mean": 0.5,
        "repeats.accuracy.std": 0.1,
    }


def test_a_head_trained_on_pixels_says_how() -> None:
    of_pixels = {"workflow": "fine-tuned", "blocks": 2, "augmentation": {"flip": None, "crop": 0.1}}
    params = mlflow_params(FACTS | of_pixels | {"from_head": "one"})
    assert {name: params[name] for name in ("workflow", "blocks", "from_head", "augment.flip")} == {
        "workflow": "fine-tuned",
        "blocks": "2",
        "from_head": "one",
        "augment.flip": "None",
    }
    assert params["augment.crop"] == "0.1"
    assert "table_version" not in mlflow_tags(FACTS | {"table_version": None})


def test_tags() -> None:
    assert mlflow_tags(FACTS) == {
        "table": "mine",
        "table_version": "7",
        "backbone": "efficientnet_v2_s",
        "weights_sha256": "0" * 64,
        "precision": "float32",
        "fingerprint.block2d_add": "aaaa",
        "fingerprint.block3d_add": "bbbb",
        "package.python": "3.11.7",
        "package.numpy": "2.4.6",
    }


def test_a_head_is_a_run(saved: SavedHead, local_store: str, capfd: pytest.CaptureFixture[str]) -> None:
    (saved.directory / "report.html").write_text("<p>")
    assert check_mlflow() == local_store
    logged = log_to_mlflow(saved)
    assert capfd.readouterr() == ("", "")
    (run,) = runs("inception_v3")
    assert logged == MlflowRun(run.info.run_id, "inception_v3", local_store)
    assert (run.info.run_name, run.info.status) == (saved.id, "FINISHED")
    assert run.info.end_time >= run.info.start_time
    assert run.data.params == mlflow_params(saved.facts)
    assert run.data.metrics == mlflow_metrics(saved.facts)
    assert run.data.metrics.keys() >= {"test.accuracy", "test.macro_f1", "validation.log_loss"}
    tags = mlflow_tags(saved.facts)
    assert {name: value for name, value in run.data.tags.items() if name in tags} == tags
    assert artifacts(logged.id) == {path.name: path.stat().st_size for path in saved.directory.iterdir()}
    assert artifacts(logged.id).keys() == {
        *("head.json", "head.skops", "log.csv", "promotion.json", "report.html")
    }


def test_a_large_model_stays_in_the_store(
    saved: SavedHead, local_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (saved.directory / "head.skops").stat().st_size
    (saved.directory / "report.html").write_bytes(bytes(size + 1))
    monkeypatch.setattr(tracking_module, "_LARGEST_MODEL", size)
    assert "head.skops" in artifacts(log_to_mlflow(saved).id)
    monkeypatch.setattr(tracking_module, "_LARGEST_MODEL", size - 1)
    assert artifacts(log_to_mlflow(saved).id).keys() == {
        *("head.json", "log.csv", "promotion.json", "report.html")
    }


def test_heads_of_a_table_share_an_experiment_unless_another_is_named(
    saved: SavedHead, local_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = log_to_mlflow(saved), log_to_mlflow(saved)
    assert {run.info.run_id for run in runs("inception_v3")} == {first.id, second.id}
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the environment")
    assert log_to_mlflow(saved).experiment == "of the environment"
    assert log_to_mlflow(saved, experiment="given").experiment == "given"
    assert [len(runs(name)) for name in ("inception_v3", "of the environment", "given")] == [2, 1, 1]


def test_an_experiment_that_somebody_else_has_just_made_is_taken(
    saved: SavedHead, local_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    log_to_mlflow(saved)
    look_up, looked = MlflowClient.get_experiment_by_name, []

    def late(client: MlflowClient, name: str) -> Any:
        looked.append(name)
        return look_up(client, name) if looked[1:] else None

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "get_experiment_by_name", late)
        log_to_mlflow(saved)
    assert len(runs("inception_v3")) == 2 == len(looked)


def test_mlflow_that_is_not_installed(saved: SavedHead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    message = (
        r"MLflow can't be imported \(.*mlflow.*\): `pip install mlflow-skinny`, or mlflow with all it has$"
    )
    with pytest.raises(BottleneckError, match=message):
        check_mlflow()
    with pytest.raises(BottleneckError, match=message):
        log_to_mlflow(saved)


def test_a_store_that_mlflow_does_not_take(local_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://ann:secret@somewhere")
    with pytest.raises(BottleneckError) as caught:
        check_mlflow()
    said = "MLflow can't use the tracking store ftp://somewhere: set MLFLOW_TRACKING_URI to a server, or "
    assert str(caught.value).startswith(
        f"{said}install sqlalchemy and alembic for a database on this machine, or set MLFLOW_ALLOW"
    )
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_server_that_is_down(saved: SavedHead, no_server: str) -> None:
    assert check_mlflow() == no_server, "it is asked when there is something to log"
    with pytest.raises(BottleneckError) as caught:
        log_to_mlflow(saved)
    message = str(caught.value)
    assert message.startswith(f"head {saved.id} could not be logged to MLflow at {no_server}: ")
    assert "Connection refused" in message
    assert "secret" not in message and "\n" not in message


def test_a_run_that_could_not_be_filled_is_marked_as_failed(
    saved: SavedHead, local_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    def full(*_: object) -> None:
        raise OSError("the disk\nis full.")

    monkeypatch.setattr(MlflowClient, "log_artifact", full)
    with pytest.raises(BottleneckError, match=r"could not be logged to MLflow at .*: the disk is full$"):
        log_to_mlflow(saved)
    assert [run.info.status for run in runs("inception_v3")] == ["FAILED"]


def test_what_mlflow_prints_is_not_shown_and_what_it_logs_goes_where_all_logs_go(
    saved: SavedHead,
    local_store: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a server it prints the run's URL as it ends the run; with a database it logs as it begins."""
    from mlflow.tracking import MlflowClient

    end = MlflowClient.set_terminated

    def loud(client: MlflowClient, *arguments: Any) -> None:
        print("View run at http://ann:secret@server")
        logging.getLogger("mlflow.store").warning("Creating tables")
        end(client, *arguments)

    logger = logging.getLogger("mlflow")
    before = (logger.handlers, logger.propagate)
    monkeypatch.setattr(MlflowClient, "set_terminated", loud)
    log_to_mlflow(saved)
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == ["Creating tables"]
    assert (logger.handlers, logger.propagate) == before and before[0]


def test_credentials_are_left_out_of_urls() -> None:
    texts = {
        "http://ann:p@ss@host:80/a?token=1 or": "http://host:80/a or",
        "postgresql+psycopg://ann@host/db": "postgresql+psycopg://host/db",
        "sqlite:////home/ann@work/a.db": "sqlite:////home/ann@work/a.db",
        "a@b, http://host": "a@b, http://host",
    }
    assert {text: tracking_module._without_credentials(text) for text in texts} == texts


def test_an_error_without_a_text_is_told_by_its_name() -> None:
    assert tracking_module._message(TimeoutError()) == "TimeoutError"


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(BottleneckError, match="TensorBoard is not installed.*: `pip install tensorboard`$"):
        tensorboard_callback(tmp_path)


def test_the_curves_of_a_training_are_in_tensorboard(three_classes: FeatureTable, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    callback = tensorboard_callback(tmp_path / "logs")
    saved = train_head(three_classes.store, kind="dense", epochs=3, callbacks=[callback])
    assert saved.facts["training"]["epochs_run"] == 3
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["train", "validation"]
    for part in ("train", "validation"):
        events = EventAccumulator(str(tmp_path / "logs" / part)).Reload()
        assert {"epoch_loss", "epoch_accuracy"} <= set(events.Tags()["tensors"])
        assert [event.step for event in events.Tensors("epoch_loss")] == [0, 1, 2]
