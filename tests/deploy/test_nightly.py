"""The script for cron, run with a command that only notes how it was called."""

import fcntl
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy import schedules

SCRIPT = schedules.DEPLOY / "cron" / "nightly.sh"
COMMAND = """#!/bin/sh
printf '<%s>' "$@"
echo
echo "on the error stream" >&2
[ "$1" != "$FAILS" ] || exit 4
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    command = tmp_path / "bottlenecks"
    command.write_text(COMMAND)
    command.chmod(0o755)
    return tmp_path / "the store"


def night(store: Path, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "PATH": os.environ["PATH"],
        "BOTTLENECKS": str(store.with_name("bottlenecks")),
        "STORE": str(store),
        "DATA": "/the photos/100%",
    }
    return subprocess.run([SCRIPT], env=settings | more, capture_output=True, text=True)


def log(store: Path) -> str:
    (path,) = store.glob("logs/nightly-*.log")
    return path.read_text()


def test_a_good_night_prints_nothing_and_is_logged(store: Path) -> None:
    result = night(store, EXTRACT_ARGS="--remove-gone --max-rejected=0.2", TRAIN_ARGS="--head dense")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    lines = log(store).splitlines()
    assert [line for line in lines if line.startswith("<")] == [
        f"<extract><--store={store}><--data=/the photos/100%><--remove-gone><--max-rejected=0.2>",
        f"<train-head><--store={store}><--head><dense>",
    ]
    assert lines.count("on the error stream") == 2
    assert f"extract --store={store} --data=/the photos/100%" in lines[0]


def test_nights_of_one_day_share_a_log(store: Path) -> None:
    night(store)
    night(store)
    assert log(store).count("<extract>") == 2


@pytest.mark.parametrize(("fails", "ran"), [("extract", 1), ("train-head", 2)])
def test_what_fails_ends_the_night_with_its_exit_code(store: Path, fails: str, ran: int) -> None:
    result = night(store, FAILS=fails)
    assert result.returncode == 4
    assert "on the error stream" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"bottlenecks: {fails} failed (exit code 4, log {store}")
    assert log(store).count("on the error stream") == ran


def test_a_night_is_left_out_while_an_earlier_one_is_at_work(store: Path) -> None:
    store.mkdir()
    with (store / "nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = night(store)
        assert result.returncode == 75
        assert "an earlier night is still at work" in result.stdout
        assert not list(store.glob("logs/nightly-*.log"))
    assert night(store).returncode == 0


def test_logs_of_a_quarter_ago_are_removed(store: Path) -> None:
    (store / "logs").mkdir(parents=True)
    names = {"nightly-2026-01-01.log": 100, "nightly-2026-03-01.log": 30, "20260101-extract.log": 100}
    for name, days in names.items():
        path = store / "logs" / name
        path.touch()
        then = time.time() - days * 86_400
        os.utime(path, (then, then))
    night(store)
    left = {path.name for path in (store / "logs").iterdir()} & names.keys()
    assert left == {"nightly-2026-03-01.log", "20260101-extract.log"}


@pytest.mark.parametrize("setting", ["STORE", "DATA"])
def test_it_says_what_is_not_set(store: Path, setting: str) -> None:
    result = night(store, **{setting: ""})
    assert result.returncode != 0 and f"{setting} is not set" in result.stderr
    assert not store.exists()
