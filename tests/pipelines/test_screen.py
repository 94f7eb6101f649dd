from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipelines.screen import Screen, progress, show_download


def run(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True)


def test_chatter_goes_to_the_log_and_what_is_said_to_the_terminal(tmp_path: Path):
    done = run(
        """
        import logging, os, sys, warnings
        from pathlib import Path
        from pipelines.screen import Screen
        with Screen(Path("logs/run.log")) as screen:
            os.write(2, b"from C++\\n")
            logging.getLogger("beam").warning("from Beam")
            warnings.warn("from a library")
            screen.say("from us")
            print("a bar", file=sys.stderr)
        os.write(2, b"afterwards\\n")
        """,
        tmp_path,
    )
    assert done.stderr == "from us\na bar\nafterwards\n"
    log = (tmp_path / "logs" / "run.log").read_text()
    assert "from C++" in log and "WARNING beam: from Beam" in log and "from a library" in log


def test_debug_shows_everything_and_writes_no_log(tmp_path: Path):
    done = run(
        """
        import os
        from pathlib import Path
        from pipelines.screen import Screen
        with Screen(Path("run.log"), debug=True) as screen:
            os.write(2, b"from C++\\n")
            screen.say("from us")
        """,
        tmp_path,
    )
    assert done.stderr == "from C++\nfrom us\n"
    assert not list(tmp_path.iterdir())


def test_progress_counts_what_the_handler_tells(tmp_path: Path):
    with Screen(tmp_path / "run.log") as screen, screen.progress(3) as shown:
        progress.info("images", extra={"images": 1, "rejected": 0})
        progress.info("images", extra={"images": 2, "rejected": 1})
        assert (shown.done, shown.rejected) == (3, 1)
    progress.info("images", extra={"images": 1, "rejected": 0})
    assert shown.done == 3
    assert logging.getLogger().handlers == [
        handler for handler in logging.getLogger().handlers if handler is not shown
    ]


def test_a_download_has_a_bar_on_a_terminal_and_a_line_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, has_bar in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        for done in (5, 10):
            show_download("photos.tgz", done, 10)
        assert stream.getvalue().startswith("Downloading photos.tgz …\n")
        assert ("100%" in stream.getvalue()) == has_bar
