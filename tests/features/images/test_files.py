from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.images import MAX_BYTES, ImageError, image_bytes, read_image
from features.images.files import LARGE_FILE


def test_read_image(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(b"content")
    assert read_image(str(tmp_path / "good.jpg")) == b"content"


def test_large_files_are_in_memory_one_at_a_time(tmp_path: Path) -> None:
    for number in range(4):
        with open(tmp_path / f"{number}.tif", "wb") as file:
            file.truncate(LARGE_FILE + 1)
    (tmp_path / "small.jpg").write_bytes(b"content")
    lock, held, most = threading.Lock(), 0, 0

    def hold(number: int) -> None:
        nonlocal held, most
        with image_bytes(str(tmp_path / f"{number}.tif")) as data:
            with lock:
                held += 1
                most = max(most, held)
            assert len(data) == LARGE_FILE + 1
            with image_bytes(str(tmp_path / "small.jpg")) as small:
                assert small == b"content", "a small file does not wait"
            with lock:
                held -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
    assert (held, most) == (0, 1)
    with pytest.raises(ImageError, match="missing"), image_bytes(str(tmp_path / "none.jpg")):
        pass


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
