"""What people see while a command works, and what goes to the log instead."""

from __future__ import annotations

import datetime
import io
import logging
import os
import re
import sys
import types
import warnings
from pathlib import Path
from typing import TextIO

import pytest

from pipelines import screen as screen_module
from pipelines.options import TrainOptions
from pipelines.screen import ImageProgress, Screen, new_run_id, progress, show_download


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_standard_error(monkeypatch: pytest.MonkeyPatch) -> TextIO:
    """Python's stream as in a program of its own: pytest's is not at the descriptor 2."""
    stream = os.fdopen(2, "w", buffering=1, closefd=False)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_chatter_goes_to_the_log_and_what_is_said_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    standard_error = use_standard_error(monkeypatch)
    before = list(logging.getLogger().handlers), warnings.showwarning
    for number in (1, 2):
        with Screen.of_run(TrainOptions(store=tmp_path / "my store"), "run-1") as screen:
            os.write(2, b"from C++\n")
            logging.getLogger("beam").warning("from Beam")
            warnings.warn_explicit("from a library", UserWarning, "library.py", number)
            screen.say("lower `min_images`\x1b\nfrom us")
            screen.say()
            for text in ("once", "once", "twice"):
                screen.say_once(text)
            print("a bar", file=sys.stderr)
            assert capfd.readouterr().err == "lower --min-images\\x1b\nfrom us\n\nonce\ntwice\na bar\n"
        assert (list(logging.getLogger().handlers), warnings.showwarning) == before
        assert sys.stderr is standard_error
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
    log = tmp_path / "my store" / "logs" / "run-1-train-head.log"
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "NOW", log.read_text()) == "".join(
        "from C++\n"
        "NOW WARNING beam: from Beam\n"
        f"NOW WARNING py.warnings: library.py:{number}: UserWarning: from a library\n\n"
        for number in (1, 2)
    )
    assert not log.stat().st_mode & 0o111


def test_debug_shows_everything_and_writes_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    use_standard_error(monkeypatch)
    with Screen.of_run(TrainOptions(store=tmp_path), "run-1", debug=True) as screen:
        os.write(2, b"from C++\n")
        logging.getLogger("beam").warning("from Beam")
        screen.say("from us")
    err = capfd.readouterr().err
    assert re.fullmatch(r"from C\+\+\n.* WARNING beam: from Beam\nfrom us\n", err)
    assert not list(tmp_path.iterdir())


def test_a_stream_that_is_not_the_systems_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a notebook's."""
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stderr", notebook)
    with Screen(tmp_path / "run.log") as screen:
        assert sys.stderr is notebook
        screen.say("some `words`")
    assert notebook.getvalue() == "some `words`\n" and not notebook.closed


def test_a_run_is_named_by_its_time_everywhere_the_same(monkeypatch: pytest.MonkeyPatch):
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0, tzinfo=None)
    ids = {new_run_id() for _ in range(3)}
    after = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert len(ids) == 3
    for run_id in ids:
        assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", run_id)
        assert before <= datetime.datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S") <= after


def test_without_a_terminal_a_line_now_and_then_says_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    now = 100.0
    monkeypatch.setattr(screen_module, "time", types.SimpleNamespace(monotonic=lambda: now))
    with Screen(tmp_path / "run.log") as screen, screen.progress(3_000) as shown:
        for now, images in ((105.0, 400), (110.0, 600), (112.0, 200), (122.0, 900), (123.0, 100)):  # noqa: B007
            progress.info("images", extra={"images": images, "rejected": 2})
        assert (shown.done, shown.rejected) == (2_200, 10)
    progress.info("images", extra={"images": 1, "rejected": 0})
    assert shown.done == 2_200, "nobody listens any more"
    assert capfd.readouterr() == (
        "",
        "1,200 of 3,000 images, 100.0 images/s, 18 s left\n2,200 of 3,000 images, 95.7 images/s, 8 s left\n",
    )


def test_on_a_terminal_a_bar_shows_how_many_are_done_and_rejected():
    terminal = Terminal()
    with ImageProgress(4, terminal):
        progress.info("images", extra={"images": 1, "rejected": 1})
        progress.info("images", extra={"images": 2, "rejected": 0})
    last = terminal.getvalue().splitlines()[-1].split("\r")[-1]
    assert re.fullmatch(r" 75%\|.*\| 3/4 \[.* images/s, rejected=1\]", last)


def test_what_listens_elsewhere_hears_nothing_of_progress(monkeypatch: pytest.MonkeyPatch):
    heard = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(heard)])
    with ImageProgress(4, io.StringIO()):
        progress.info("images", extra={"images": 1, "rejected": 1})
    assert heard.getvalue() == ""


def test_a_download_has_a_bar_on_a_terminal_and_a_line_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, has_bar in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        for done in (500, 1_000, 200, 2_000):  # it breaks off once
            show_download("photos.tgz", done, 2_000)
        show_download("other", 1, None)
        assert stream.getvalue().startswith("Downloading photos.tgz …\n")
        assert stream.getvalue().count("Downloading photos.tgz …\n") == (2 if has_bar else 1)
        assert stream.getvalue().count("Downloading other …\n") == 1
        assert ("100%" in stream.getvalue() and "2.00k/2.00k" in stream.getvalue()) == has_bar
        assert list(screen_module._downloads) == ["other"]
        screen_module._downloads.clear()
