"""The smaller measurements, on tables of a few rows."""

import json
from pathlib import Path

import pytest

from benchmarks.processes import run_task
from benchmarks.tasks import make_table, read_table, train
from features import store as feature_store
from features.inputs import list_images
from pipelines.planning import make_plan


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and the `store` of its 300 made-up rows."""
    folder = tmp_path_factory.mktemp("made-up")
    make_table.make_files(folder / "data", 300)
    assert make_table.make_table(folder / "store", folder / "data") == 300
    return folder


def test_nothing_is_left_to_do_for_a_made_up_table(made_up: Path) -> None:
    plan = make_plan(list_images(str(made_up / "data")).images, feature_store.open(made_up / "store"))
    assert (plan.todo, plan.stored) == (0, 300)


def test_a_made_up_table_of_several_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_table, "_CHUNK", 20)
    make_table.make_files(tmp_path / "data", 50)
    make_table.make_table(tmp_path / "store", tmp_path / "data")
    table = feature_store.open(tmp_path / "store")
    assert len(table.paths) == 3 and len(table.metadata(["uri"])) == 50


@pytest.mark.parametrize("way", read_table.WAYS)
def test_every_way_of_reading_reads_all_rows(made_up: Path, way: str) -> None:
    table = feature_store.open(made_up / "store")
    train_rows = table.metadata(["split"]).column("split").to_pylist().count("train")
    assert read_table.WAYS[way](table) == (train_rows if way == "our-stream" else 300)


@pytest.mark.parametrize("way", train.WAYS)
def test_every_way_of_training_is_tested_on_the_same_rows(made_up: Path, way: str) -> None:
    table = feature_store.open(made_up / "store")
    by_epochs = way in ("ours-dense", "keras")
    result = train.WAYS[way](str(made_up / "store"), {"epochs": 2} if by_epochs else {})
    assert result["tested"] == table.metadata(["split"]).column("split").to_pylist().count("test")
    assert result["accuracy"] > 0.3 or by_epochs  # two epochs teach nothing
    assert ("seconds_per_epoch" in result) == by_epochs
    json.dumps(result)


@pytest.mark.parametrize("task", [path.stem for path in Path(make_table.__file__).parent.glob("[!_]*.py")])
def test_every_task_is_a_program(task: str) -> None:
    text = Path(make_table.__file__).with_name(f"{task}.py").read_text()
    assert ('if __name__ == "__main__":' in text) == (task != "common")


def test_tasks_in_processes_of_their_own(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    job = {"data": str(tmp_path / "data"), "store": store, "rows": 50}
    assert run_task("make_table", job, tmp_path / "log")["rows"] == 50
    result = run_task("read_table", {"store": store, "way": "pyarrow-stream"}, tmp_path / "log")
    assert result["rows"] == 50
    assert 0 < result["seconds"] < result["process_seconds"]
