"""What the command does to its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2

from pipelines.process import turn_off_opencv_threads

ROOT = Path(__file__).parents[2]
#: What a process says is kept until it has said enough, or ends.
BUFFERED = os.environ | {"PYTHONUNBUFFERED": ""}

LEAVE = """
import atexit, sys
from pipelines.process import leave
atexit.register(print, "said at the end")
print("said before", end="; ")
print("an error", end="", file=sys.stderr)
try:
    leave(3)
finally:
    print("taken apart")
"""


def test_a_process_is_left_with_its_code_and_all_that_it_said():
    ended = subprocess.run(
        [sys.executable, "-c", LEAVE], cwd=ROOT, env=BUFFERED, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "said before; said at the end\n", "an error")


def test_a_process_whose_reader_has_gone_is_left_all_the_same():
    code = "print('unheard'); from pipelines.process import leave; leave(3)"
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=BUFFERED,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (3, b"")


def test_opencv_is_left_one_thread():
    cv2.setNumThreads(2)
    before = cv2.getNumThreads()
    turn_off_opencv_threads()
    assert cv2.getNumThreads() == 1
    cv2.setNumThreads(before)
