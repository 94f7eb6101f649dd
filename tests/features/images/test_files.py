from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.images import MAX_BYTES, ImageError, read_image


def test_read_image(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(b"content")
    assert read_image(str(tmp_path / "good.jpg")) == b"content"


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    expected = {
        **{
            "folder.jpg": "not_a_file",
            "pipe.jpg": "not_a_file",
            "empty.jpg": "empty",
            "huge.jpg": "too_large",
        },
        **{"none.jpg": "missing", "dangling.jpg": "missing", "empty.jpg/x.jpg": "missing"},
        **{"loop.jpg": "unreadable", "nul\0.jpg": "unreadable"},
    }
    found = {}
    for name in expected:
        with pytest.raises(ImageError) as caught:
            read_image(f"{tmp_path}/{name}")
        found[name] = caught.value.reason
    assert found == expected
