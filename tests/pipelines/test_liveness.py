"""The mark by which others see that a run is alive."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import liveness
from pipelines.liveness import AliveMark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run-1" / "alive"


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("local", [True, False])
def test_a_mark_says_who_is_at_work_on_what_and_goes_with_a_local_run(path: Path, local: bool):
    with AliveMark(path).kept("flowers", local=local):
        assert json.loads(path.read_text()) == {
            "table": "flowers",
            "host": socket.gethostname(),
            "locked": local,
        }
        assert AliveMark(path).living_on() == "flowers"
        assert os.listdir(path.parent) == ["alive"]
    assert path.exists() is not local
    assert AliveMark(path).living_on() == (None if local else "flowers")


@pytest.mark.parametrize(
    ("host", "locked", "old", "alive"),
    [
        ("elsewhere", True, 0, True),
        ("elsewhere", True, 100, True),
        ("elsewhere", True, 121, False),
        ("here", False, 100, True),
        ("here", False, 121, False),
        ("here", True, 0, False),  # nobody holds the lock: its process has ended
    ],
)
def test_a_run_is_dead_when_its_mark_is_old_or_its_lock_is_free(
    path: Path, host: str, locked: bool, old: float, alive: bool
):
    path.parent.mkdir(parents=True)
    host = socket.gethostname() if host == "here" else host
    path.write_text(json.dumps({"table": "flowers", "host": host, "locked": locked}))
    age(path, old)
    assert AliveMark(path).living_on() == ("flowers" if alive else None)


@pytest.mark.parametrize(("old", "alive"), [(100, True), (121, False)])
def test_a_local_run_that_hangs_is_dead_when_its_mark_is_old(path: Path, old: float, alive: bool):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"table": "flowers", "host": socket.gethostname(), "locked": True}))
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        age(path, old)
        assert AliveMark(path).living_on() == ("flowers" if alive else None)


@pytest.mark.parametrize("content", [None, "", '{"table": '])
def test_no_mark_or_half_of_one_is_nobodys(path: Path, content: str | None):
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_text(content)
    assert AliveMark(path).living_on() is None


def test_where_files_cannot_be_locked_the_time_alone_tells(path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_locks(file: object, kind: int) -> None:
        raise OSError

    monkeypatch.setattr("fcntl.flock", no_locks)
    with AliveMark(path).kept("flowers", local=True):
        assert json.loads(path.read_text())["locked"] is False
        assert AliveMark(path).living_on() == "flowers"


def test_a_mark_is_renewed_until_the_end_also_when_it_is_away_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(liveness, "RENEWED_EVERY", 0.01)
    path.parent.mkdir(parents=True)
    before = set(threading.enumerate())
    with AliveMark(path).renewing():
        (thread,) = set(threading.enumerate()) - before
        assert thread.daemon, "a process that ends does not wait for it"
        path.write_text('{"table": "flowers", "host": "elsewhere", "locked": true}')
        for _ in range(2):
            age(path, 1000)
            wait_until(lambda: AliveMark(path).living_on() == "flowers")
    thread.join(30)
    assert not thread.is_alive()
    assert (liveness.DEAD_AFTER, AliveMark(path).living_on()) == (120, "flowers")
