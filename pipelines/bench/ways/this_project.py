"""This project: the command `bottlenecks extract` itself, into a store of its own."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from pipelines.bench.ways.common import Job, read_job


class _Marks(logging.Handler):
    """Notes each image as the pipeline reports it."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.times.append(time.time())


def main(job: Job) -> NoReturn:
    """Extract as the command does, to its very end; note when the images and the last commit were done."""
    from pipelines import cli

    marks = _Marks()
    logging.getLogger("bottlenecks.progress").addHandler(marks)

    @atexit.register
    def write_marks() -> None:
        log = Path(job.output) / "features" / "inception_v3" / "_delta_log"
        commits = [entry.stat().st_mtime for entry in os.scandir(log) if entry.name.endswith(".json")]
        lines = [f"{moment} 1\n" for moment in marks.times] + [f"{max(commits)} 0\n"]
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
