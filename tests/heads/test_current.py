from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import BottleneckError
from heads.current import current_head, make_current, only_writer


def test_the_current_head_is_the_one_that_was_made_current(tmp_path: Path) -> None:
    assert current_head(tmp_path, "photos") is None
    make_current(tmp_path, "photos", "a")
    make_current(tmp_path, "photos", "b")
    assert current_head(tmp_path, "photos") == "b" and current_head(tmp_path, "others") is None
    (tmp_path / "heads" / "photos" / "current.json").write_text("[]")
    with pytest.raises(BottleneckError, match="current.json does not name a head"):
        current_head(tmp_path, "photos")


def test_another_process_waits_until_the_block_is_left(tmp_path: Path) -> None:
    make_current(tmp_path, "photos", "a")
    code = (
        "from heads.current import make_current, only_writer; print('begun', flush=True)\n"
        f"with only_writer({str(tmp_path)!r}, 'photos'):\n"
        f"    make_current({str(tmp_path)!r}, 'photos', 'theirs')\n"
    )
    with only_writer(tmp_path, "photos"):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None and other.stdout.readline() == "begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.5)
        make_current(tmp_path, "photos", "ours")
    assert other.wait(60) == 0
    other.stdout.close()
    assert current_head(tmp_path, "photos") == "theirs", "written after ours"


def test_a_process_that_died_holds_nobody_up(tmp_path: Path) -> None:
    make_current(tmp_path, "photos", "a")
    code = (
        "import os; from heads.current import only_writer\n"
        f"with only_writer({str(tmp_path)!r}, 'photos'):\n"
        "    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    with only_writer(tmp_path, "photos"):
        make_current(tmp_path, "photos", "b")
    assert current_head(tmp_path, "photos") == "b"
