from __future__ import annotations

import os
from pathlib import Path

from features.inputs.listing import FileFacts, file_facts


def test_facts_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"123")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    assert file_facts(str(path)) == FileFacts(3, 1_700_000_000_123_456)


def test_links_are_followed_and_dangling_ones_have_no_facts(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"123")
    (tmp_path / "good.jpg").symlink_to("photo.jpg")
    (tmp_path / "dangling.jpg").symlink_to("none.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert file_facts(str(tmp_path / "good.jpg")).size == 3
    for name in ("dangling.jpg", "loop.jpg", "none.jpg", "nul\0.jpg"):
        assert file_facts(str(tmp_path / name)) == FileFacts(None, None)
