"""A folder of photos that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of two classes, and two files with an image's name that are none."""
    for number in range(12):
        place = tmp_path / "photos" / ("daisy" if number % 3 else "rose")
        place.mkdir(parents=True, exist_ok=True)
        photo(number).save(place / f"{number:02}.png")
    (tmp_path / "photos" / "rose" / "bad.jpg").write_text("no image")
    (tmp_path / "photos" / "rose" / "empty.jpg").touch()
    return tmp_path / "photos"
