"""No damaged image ends the process or takes much memory; see `tests.features.images.fuzz`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from features.images import REASONS

FORMATS = (
    "jpeg",
    "png",
    "gif",
    "bmp",
    "webp",
    "tiff",
    "avif",
    "heif",
    "jpeg2000",
    "ppm",
    "tga",
    "pcx",
    "ico",
)
ROOT = Path(__file__).parents[3]


def outcomes_of(*arguments: str) -> dict[str, int]:
    """What became of the damaged images, decoded in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.features.images.fuzz", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["peak"] < 2 * 2**30
    return report["outcomes"]


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_images_are_read_or_rejected(format: str) -> None:
    outcomes = outcomes_of(format, "--count", "300")
    assert sum(outcomes.values()) == 300
    assert outcomes.keys() <= {*REASONS, format, "mpo", "dib"}
    assert outcomes.keys() & REASONS.keys(), "nothing was damaged enough to be noticed"


def test_no_bit_of_an_animated_png_can_end_the_process() -> None:
    outcomes = outcomes_of("animated", "--every-bit")
    assert outcomes["png"] > 100
    assert outcomes["corrupt"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_thousands_of_damaged_images_are_read_or_rejected(format: str) -> None:
    assert sum(outcomes_of(format, "--count", "5000", "--seed", "1").values()) == 5000
