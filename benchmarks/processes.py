"""Running one measured program in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from features.errors import BottleneckError

_LAUNCHER = Path(__file__).with_name("launch.py")
_ROOT = Path(__file__).parents[1]

#: Lines of a failed program's log that are shown.
_SHOWN = 25


class Finished(NamedTuple):
    """What was measured of a process from outside: when it started, since the epoch; memory in bytes."""

    started: float
    seconds: float
    peak_memory: int


def run_module(module: str, job: Mapping[str, Any], log: Path) -> Finished:
    """Run a program of this package: `python -m module JOB`, the job as JSON. See `run_python`."""
    return run_python(["-m", module, json.dumps(job)], log)


def run_task(module: str, job: Mapping[str, Any], log: Path) -> dict[str, Any]:
    """Run a program of `benchmarks.tasks`; its result, with `process_seconds` and `peak_memory`."""
    with tempfile.TemporaryDirectory(prefix="bottlenecks-bench-") as folder:
        result = Path(folder) / "result.json"
        finished = run_module(f"benchmarks.tasks.{module}", {**job, "result": str(result)}, log)
        return {
            **json.loads(result.read_text()),
            "process_seconds": finished.seconds,
            "peak_memory": finished.peak_memory,
        }


def run_python(arguments: Sequence[str], log: Path) -> Finished:
    """Run Python with some arguments; what it prints goes to the end of `log`.

    Raises:
        BottleneckError: where it fails; the end of its log is shown.
    """
    command = [sys.executable, *arguments]
    # Of the project that this benchmark belongs to, from whatever folder it was started.
    environment = {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    launch = json.dumps({"command": command, "log": str(log), "environment": environment})
    log.parent.mkdir(parents=True, exist_ok=True)
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(_LAUNCHER), launch], stdout=subprocess.PIPE, check=True
    )
    measured = json.loads(answer.stdout)
    code = measured.pop("code")
    if code:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN:])
        raise BottleneckError(
            f"{arguments[1]} failed with exit code {code}:\n{end}\n(the whole log is {log})"
        )
    return Finished(**measured)
