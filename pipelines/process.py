"""What the command does to its own process. A library call does nothing of the kind."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn


def turn_off_opencv_threads() -> None:
    """Each image has a thread already."""
    import cv2

    cv2.setNumThreads(1)


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart piece by piece.

    After a run that extracted 48 images that takes 0.8 s instead of 0.08 s, after a dense head was trained
    1.7 s instead of 0.09 s (medians of 5, on 2 busy cores): a good part of the whole run.
    """
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
