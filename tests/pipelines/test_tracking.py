from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from features.errors import BottleneckError
from heads.tracking import MlflowRun
from pipelines import tracking as module
from pipelines.options import TrainOptions
from pipelines.tracking import NotLogged, Tracking

SAVED: Any = SimpleNamespace(id="head-1")


class Said(list):
    """A screen that remembers what it showed."""

    def say(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def screen() -> Any:
    return Said()


def test_what_was_not_asked_for_does_nothing(
    screen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("check_mlflow", "log_to_mlflow", "tensorboard_callback"):
        monkeypatch.setattr(module, name, None)
    tracking = Tracking(TrainOptions(store=str(tmp_path)), "run-1", screen)
    assert (tracking.callbacks, tracking.log(SAVED), tracking.finish("done")) == ([], [], "done")
    assert screen == []


def test_tensorboard_gets_a_folder_of_the_run(
    screen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "tensorboard_callback", lambda folder: folder)
    store = tmp_path / "my store"
    tracking = Tracking(TrainOptions(store=str(store), tensorboard=True), "run-1", screen)
    folder = store / "logs" / "tensorboard" / "run-1"
    assert tracking.callbacks == [folder]
    assert screen == [f"To watch: tensorboard --logdir '{folder}'"]


def test_mlflow_is_looked_for_at_once_and_told_at_the_end(
    screen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "check_mlflow", lambda: "http://here")
    monkeypatch.setattr(module, "log_to_mlflow", lambda saved: MlflowRun(saved.id, "tiny", "http://there"))
    tracking = Tracking(TrainOptions(store=str(tmp_path), mlflow=True), "run-1", screen)
    assert tracking.log(SAVED) == ["MLflow: run head-1 of experiment 'tiny' at http://there"]
    assert screen == ["Logging head head-1 to MLflow at http://here …"]
    assert tracking.finish("done") == "done"

    def missing() -> str:
        raise BottleneckError("no MLflow")

    monkeypatch.setattr(module, "check_mlflow", missing)
    with pytest.raises(BottleneckError, match="no MLflow"):
        Tracking(TrainOptions(store=str(tmp_path), mlflow=True), "run-1", screen)


def test_a_server_that_fails_is_told_after_the_summary(
    screen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(saved: Any) -> MlflowRun:
        raise BottleneckError("the server is down")

    monkeypatch.setattr(module, "check_mlflow", lambda: "http://here")
    monkeypatch.setattr(module, "log_to_mlflow", down)
    tracking = Tracking(TrainOptions(store=str(tmp_path), mlflow=True), "run-1", screen)
    assert tracking.log(SAVED) == []
    with pytest.raises(NotLogged) as error:
        tracking.finish("the summary")
    assert str(error.value) == "the head is saved, but the server is down"
    assert error.value.summary == "the summary"
