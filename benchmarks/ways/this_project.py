"""This project: the command `bottlenecks extract` itself, into a store of its own."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from benchmarks.network import NAME
from benchmarks.ways.common import Job, read_job


class _Marks(logging.Handler):
    """Notes images as the pipeline reports them: when, and how many."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[tuple[float, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.marks.append((time.time(), record.images))  # type: ignore[attr-defined]


def main(job: Job) -> NoReturn:
    """Extract as the command does, to its very end; note when the images and the last commit were done."""
    from pipelines import cli

    marks = _Marks()
    logging.getLogger("bottlenecks.progress").addHandler(marks)

    @atexit.register
    def write_marks() -> None:
        log = Path(job.output) / "features" / NAME / "_delta_log"
        commits = [entry.stat().st_mtime for entry in os.scandir(log) if entry.name.endswith(".json")]
        lines = [f"{moment} {images}\n" for moment, images in [*marks.marks, (max(commits), 0)]]
        Path(job.marks).write_text("".join(lines))

    sys.argv = [
        "bottlenecks",
        "extract",
        f"--data={job.images}",
        f"--store={job.output}",
        f"--weights={job.weights}",
        f"--engine={job.engine}",
        f"--precision={job.precision}",
    ]
    cli.run()


if __name__ == "__main__":
    main(read_job())
