"""Programs in processes of their own, and what is measured of them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import run_python, run_task
from features.errors import BottleneckError


def test_time_and_memory_are_those_of_the_program_alone(tmp_path: Path) -> None:
    ours = np.ones(300_000_000, np.uint8)  # what we hold ourselves must not show
    small = run_python(["-S", "-c", "import time; time.sleep(0.3)"], tmp_path / "log")
    assert 0.3 <= small.seconds < 5
    assert 1e6 < small.peak_memory < 60e6
    large = run_python(["-S", "-c", "bytearray(b'x') * 200_000_000"], tmp_path / "log")
    assert 200e6 <= large.peak_memory < 280e6
    assert len(ours)


def test_a_program_that_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(BottleneckError, match=r"exit code 3:\nfirst\nlast\n.*whole log is"):
        run_python(
            ["-c", "import sys; print('first\\nlast', flush=True); sys.exit(3)"], tmp_path / "a" / "log"
        )


def test_a_task_that_fails_gives_no_figures(tmp_path: Path) -> None:
    with pytest.raises(BottleneckError, match="read_table failed"):
        run_task("read_table", {"store": str(tmp_path), "way": "our-stream"}, tmp_path / "log")
