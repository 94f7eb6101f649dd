"""What a person sees while a command works: plain lines, a progress bar, a summary.

TensorFlow and Beam, and the C++ below them, write to the standard error stream as they please. While a
`Screen` is open that goes to the run's log file.
"""

from __future__ import annotations

import datetime
import functools
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from features.locations import local_path, logs_path
from features.text import printable
from pipelines.options import Options
from pipelines.wording import in_words_of_commands

#: Records of images done come through this logger (`pipelines.handler` sends them): it reaches across the
#: threads of a runner in this process, and costs nothing where nobody listens.
progress = logging.getLogger("bottlenecks.progress")

#: Seconds between two progress lines where there is no terminal.
_LINE_EVERY = 10.0


def new_run_id() -> str:
    """Sorts by time, and is unique: `20261124T031500-1a2b3c`."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


class Screen:
    """Keeps the terminal for what is meant for people, while open; a context manager.

    Python's own standard error stream stays the terminal's, so that a progress bar shows from wherever it
    is made; what is logged, warned, or written by C++ goes to the log file.

    Args:
        log: the log file; its folder is made.
        debug: show everything, and write no log file.
        wording: puts a line into the words of those who read it.
    """

    def __init__(self, log: Path, *, debug: bool = False, wording: Callable[[str], str] = str) -> None:
        self.log = Path(local_path(log))
        self._wording = wording
        self._debug = debug
        self._said: set[str] = set()

    @classmethod
    def of_run(cls, options: Options, run_id: str, *, debug: bool = False) -> Screen:
        """The screen of one run of a command, which logs to `STORE/logs/`; it speaks of these options."""
        wording = functools.partial(in_words_of_commands, options=options)
        log = logs_path(options.store) / f"{run_id}-{options.command}.log"
        return cls(log, debug=debug, wording=wording)

    def __enter__(self) -> Screen:
        sys.stderr.flush()
        self._stderr = sys.stderr
        self._descriptor = os.dup(2)
        if not self._debug:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 2)
            os.close(log)
        self._chatter = os.fdopen(os.dup(2), "w", buffering=1)
        self._handler = logging.StreamHandler(self._chatter)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self._handler)
        logging.captureWarnings(True)
        # In a notebook the stream that people see is none of the system's: it stays as it is.
        self._terminal: TextIO = sys.stderr
        if _is_standard_error(sys.stderr):
            self._terminal = sys.stderr = os.fdopen(os.dup(self._descriptor), "w", buffering=1)
        return self

    def __exit__(self, *error: object) -> None:
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self._handler)
        sys.stderr = self._stderr
        os.dup2(self._descriptor, 2)
        os.close(self._descriptor)
        if self._terminal is not self._stderr:
            self._terminal.close()
        self._chatter.close()

    def say(self, text: str = "") -> None:
        """Show a line."""
        tqdm.write(printable(self._wording(text), keep="\n"), file=self._terminal)

    def step(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Show a step of a training: see `heads.progress.Progress`; 0 is its start."""
        texts = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.say(f"  {step} of at most {steps}: {texts}" if step else f"  at the start: {texts}")

    def say_once(self, text: str) -> None:
        """Show a line, unless it was shown this way before."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def progress(self, total: int) -> ImageProgress:
        """A progress display for `total` images, fed by the handler's progress records."""
        return ImageProgress(total, self._terminal)


#: The bar of the download that is going on.
_downloads: dict[str, tqdm] = {}


def show_download(name: str, done: int, size: int | None) -> None:
    """A progress bar for a download, on a terminal; elsewhere a line at its begin."""
    bar = _downloads.get(name)
    if bar is None or done < bar.n:  # the one before broke off
        print(f"Downloading {name} …", file=sys.stderr)
        quiet = not sys.stderr.isatty()
        bar = tqdm(total=size, unit="B", unit_scale=True, disable=quiet, file=sys.stderr)
        _downloads[name] = bar
    bar.update(done - bar.n)
    if done == size:
        _downloads.pop(name).close()


def _is_standard_error(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):
        return False


class ImageProgress(logging.Handler):
    """Images done, images/s and time left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, out: TextIO) -> None:
        super().__init__()
        self.done = 0
        self.rejected = 0
        self._total = total
        self._out = out
        self._bar = tqdm(total=total, unit=" images", file=out, disable=not out.isatty(), smoothing=0.1)
        self._started = self._said = time.monotonic()

    def __enter__(self) -> ImageProgress:
        progress.addHandler(self)
        progress.setLevel(logging.INFO)
        progress.propagate = False
        return self

    def __exit__(self, *error: object) -> None:
        progress.removeHandler(self)
        self._bar.close()

    def emit(self, record: logging.LogRecord) -> None:
        images, rejected = record.images, record.rejected  # type: ignore[attr-defined]
        self.done += images
        self.rejected += rejected
        if not self._bar.disable:
            self._bar.update(images)
            if rejected:
                self._bar.set_postfix(rejected=self.rejected, refresh=False)
        elif time.monotonic() - self._said > _LINE_EVERY:
            self._said = time.monotonic()
            rate = self.done / (self._said - self._started)
            left = (self._total - self.done) / rate
            print(
                f"{self.done:,} of {self._total:,} images, {rate:.1f} images/s, {left:.0f} s left",
                file=self._out,
                flush=True,
            )
