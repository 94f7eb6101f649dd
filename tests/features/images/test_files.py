from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.images import MAX_BYTES, ImageError, files, image_bytes, read_image


def test_read_image(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(b"content")
    assert read_image(str(tmp_path / "good.jpg")) == b"content"


def test_large_files_are_in_memory_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.LARGE_FILE == 2**26
    monkeypatch.setattr(files, "LARGE_FILE", 7)
    small = tmp_path / "small.jpg"
    small.write_bytes(b"content")
    for number in range(4):
        (tmp_path / f"{number}.tif").write_bytes(b"contents")
    lock, held, most = threading.Lock(), 0, 0
    all_there = threading.Barrier(4)

    def hold(number: int) -> None:
        nonlocal held, most
        all_there.wait(30)
        with image_bytes(str(tmp_path / f"{number}.tif")) as data:
            with lock:
                held += 1
                most = max(most, held)
            assert data == b"contents"
            with image_bytes(str(small)) as content:
                assert content == b"content", "a small file does not wait"
            with lock:
                held -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
    assert (held, most) == (0, 1)
    with pytest.raises(ImageError, match="missing"), image_bytes(str(tmp_path / "none.jpg")):
        pass


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder of what is no file with content, and of a file that is too large."""
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder.jpg", "not_a_file: a folder"),
        ("pipe.jpg", "not_a_file: not a regular file"),
        ("empty.jpg", "empty: 0 bytes"),
        ("huge.jpg", "too_large: 1,073,741,825 bytes; the limit is 1,073,741,824"),
        ("none.jpg", "missing: No such file or directory"),
        ("dangling.jpg", "missing: No such file or directory"),
        ("empty.jpg/x.jpg", "missing: Not a directory"),
        ("loop.jpg", "unreadable: Too many levels of symbolic links"),
        ("nul\0.jpg", "unreadable: embedded null byte"),
    ],
)
def test_what_can_not_be_read_says_why_and_is_not_left_open(name: str, message: str, odd: Path) -> None:
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for read in (read_image, lambda uri: image_bytes(uri).__enter__()):
        with pytest.raises(ImageError) as error:
            read(f"{odd}/{name}")
        assert str(error.value) == message
    assert len(os.listdir("/dev/fd")) <= before


def test_a_file_of_the_largest_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.tif"
    path.write_bytes(b"content")
    monkeypatch.setattr(files, "MAX_BYTES", 7)
    assert read_image(str(path)) == b"content"
    monkeypatch.setattr(files, "MAX_BYTES", 6)
    with pytest.raises(ImageError, match="^too_large: 7 bytes; the limit is 6$"):
        read_image(str(path))
