from __future__ import annotations

import os
from pathlib import Path

from features.inputs.reference import ImageRef, image_ref


def test_facts_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"123")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    expected = ImageRef(str(path), ("rose",), "train", 3, 1_700_000_000_123_456)
    assert image_ref(str(path), ("rose",), "train") == expected


def test_links_are_followed_and_dangling_ones_have_no_facts(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"123")
    (tmp_path / "good.jpg").symlink_to("photo.jpg")
    (tmp_path / "dangling.jpg").symlink_to("none.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert image_ref(str(tmp_path / "good.jpg"), ()).size == 3
    for name in ("dangling.jpg", "loop.jpg", "none.jpg", "nul\0.jpg"):
        uri = str(tmp_path / name)
        assert image_ref(uri, ("rose",)) == ImageRef(uri, ("rose",), None, None, None)
