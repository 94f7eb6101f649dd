"""Runs the DAG of deploy/ in a real Airflow, night by night, on small images. For `make test-airflow`.

Airflow is the one in `.venv-airflow`; the command that its tasks call is that of the Python that runs this.
Airflow's home, the images and the store are in a folder that goes at the end.
"""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[2]
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
TASKS = ("extract", "train-head", "promote")


class Night(NamedTuple):
    """What one run of the DAG left in Airflow's database.

    Attributes:
        state: of the run.
        states: of each task.
        tries: of each task.
        xcoms: what each task returned.
    """

    state: str
    states: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, Any]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        photos, store = home / "photos", home / "store"
        environment = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "deploy" / "airflow" / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "BOTTLENECKS_COMMAND": str(Path(sys.executable).with_name("bottlenecks")),
            "BOTTLENECKS_STORE": str(store),
            "BOTTLENECKS_DATA": str(photos),
            "BOTTLENECKS_WEIGHTS": "random",
            "BOTTLENECKS_TRAIN_ARGS": "--folds 0",
        }
        _airflow(home, environment, "db", "migrate")

        _write_digits(photos, range(0, 60))
        first = _night(home, environment, "60 images")
        _check_success(first)
        head = _current(store)
        _check(bool(head), f"no head is current: {_heads(store)}")
        version = _version(store)

        idle = _night(home, environment, "nothing new")
        _check_success(idle)
        _check(_version(store) == version, "a night with nothing new made a version of the table")
        _check(_heads(store) == {head}, "a night with nothing new trained a head")
        _check(idle.xcoms["promote"]["status"] == "nothing to do", str(idle))

        _write_digits(photos, range(60, 90))
        grown = _night(home, environment, "30 more images")
        _check_success(grown)
        _check(_version(store) > version, "a night with new images made no version of the table")
        _check(len(_heads(store)) == 2, "a night with new images trained no head")
        _check(grown.xcoms["promote"]["head"] == grown.xcoms["train-head"]["head"], str(grown))
        _check(_current(store) in _heads(store), "the current head is none of those that are there")

        photos.rename(home / "unplugged")
        photos.mkdir()
        version, heads = _version(store), _heads(store)
        failed = _night(home, environment, "the images are gone")
        _check(failed.state == "failed", f"the run is {failed.state}")
        _check(failed.states["extract"] == "failed" and failed.tries["extract"] == 1, str(failed))
        _check(failed.states["promote"] == "upstream_failed", str(failed))
        _check((_version(store), _heads(store)) == (version, heads), "a failed night changed the store")
    print("4 passed, 0 failed")


def _write_digits(folder: Path, numbers: range) -> None:
    """Pictures of the digits 0, 1 and 2, in a folder for each."""
    digits = load_digits(n_class=3)
    for number in numbers:
        of_class = folder / str(digits.target[number])
        of_class.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[number] / 16 * 255).astype("uint8")
        Image.fromarray(pixels).resize((64, 64)).save(of_class / f"{number}.png")


def _night(home: Path, environment: dict[str, str], what: str) -> Night:
    """Run the DAG once; what it left."""
    log = _airflow(home, environment, "dags", "test", "bottlenecks", check=False)
    with contextlib.closing(sqlite3.connect(home / "airflow.db")) as database:
        run_id, state = database.execute(
            "SELECT run_id, state FROM dag_run ORDER BY start_date DESC LIMIT 1"
        ).fetchone()
        tasks = database.execute(
            "SELECT task_id, state, try_number FROM task_instance WHERE run_id = ?", (run_id,)
        ).fetchall()
        xcoms = database.execute(
            "SELECT task_id, value FROM xcom WHERE run_id = ? AND key = 'return_value'", (run_id,)
        ).fetchall()
    _check({task for task, _, _ in tasks} == set(TASKS), f"the run has the tasks {tasks}\n{log}")
    night = Night(
        state,
        {task: state for task, state, _ in tasks},
        {task: tries for task, _, tries in tasks},
        {task: json.loads(value) for task, value in xcoms},
    )
    print(f"{what}: {night.state}; " + ", ".join(f"{task} {night.states[task]}" for task in TASKS))
    for task, value in night.xcoms.items():
        print(f"  {task}: {json.dumps(value)}")
    sys.stdout.flush()
    if night.state not in ("success", "failed"):
        print(log)
    return night


def _airflow(home: Path, environment: dict[str, str], *arguments: str, check: bool = True) -> str:
    """What it prints. A task that would be tried again fails the test: the next try is minutes away."""
    words = [str(AIRFLOW), *arguments]
    lines = []
    with subprocess.Popen(
        words,
        cwd=home,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "new_state=up_for_retry" in line:
                process.kill()
                sys.exit("".join(lines) + "a task failed in a way that is tried again")
    _check(not check or process.returncode == 0, "".join(lines))
    return "".join(lines)


def _check_success(night: Night) -> None:
    _check(night.state == "success" and set(night.states.values()) == {"success"}, str(night))
    _check(night.xcoms.keys() == set(TASKS), f"a task returned nothing: {night.xcoms}")


def _version(store: Path) -> int:
    """Of the table: the number of its newest commit."""
    return max(int(path.stem) for path in store.glob("features/inception_v3/_delta_log/*.json"))


def _heads(store: Path) -> set[str]:
    return {path.parent.name for path in store.glob("heads/inception_v3/*/head.json")}


def _current(store: Path) -> str:
    return json.loads((store / "heads" / "inception_v3" / "current.json").read_text())["id"]


def _check(condition: bool, message: str) -> None:
    if not condition:
        sys.exit(message)


if __name__ == "__main__":
    warnings.simplefilter("error", DeprecationWarning)
    main()
