from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.inputs.listing import FileFacts, file_facts
from features.inputs.paths import PathFinder

MISSING = FileFacts(None, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    names = (
        "a.jpg",
        "b.jpg",
        "b.png",
        "100%.jpg",
        "a.b.jpg",
        "c.txt",
        "my photos/d#.jpg",
        "sub/e.jpg",
        "f#1?.jpg",
    )
    for size, name in enumerate(names, 1):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "dangling.jpg").touch()
    return folder


@pytest.mark.parametrize(
    ("path", "name", "changes"),
    [
        ("a.jpg", "a.jpg", []),
        ("sub/../a.jpg", "a.jpg", []),
        ("{folder}/a.jpg", "a.jpg", []),
        ("~/a.jpg", "a.jpg", []),
        ("file://{folder}/my%20photos/d%23.jpg", "my photos/d#.jpg", []),
        ("file://{folder}/f#1?.jpg", "f#1?.jpg", []),
        ("FILE:{folder}/a.jpg", "a.jpg", []),
        ("100%.jpg", "100%.jpg", []),
        ("c.txt", "c.txt", []),
        ("sub", "sub", []),
        ("a", "a.jpg", ["extension added"]),
        ("sub/e", "sub/e.jpg", ["extension added"]),
        ("a.b", "a.b.jpg", ["extension added"]),
        (r"sub\e.jpg", "sub/e.jpg", [r"\ read as /"]),
        (r"sub\e", "sub/e.jpg", [r"\ read as /", "extension added"]),
        ("my%20photos/d%23.jpg", "my photos/d#.jpg", ["%-escapes decoded"]),
        ("my%20photos/d%23", "my photos/d#.jpg", ["%-escapes decoded", "extension added"]),
        (r"my%20photos\d%23.jpg", "my photos/d#.jpg", [r"\ read as /", "%-escapes decoded"]),
    ],
)
def test_files_are_found_however_their_paths_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str, changes: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    finder = PathFinder(str(folder))
    expected = (str(folder / name), file_facts(str(folder / name)))
    for _ in range(2):
        assert finder.find(path.format(folder=folder), "list.csv, line 1") == expected
    assert list(finder.changes) == changes


@pytest.mark.parametrize(
    "path", ["none.jpg", "e", "c", "none/a", "a.png", r"sub\none.jpg", "a%.jpg", "dangling", "a\0b", "%00/a"]
)
def test_what_is_no_file_keeps_its_path(folder: Path, path: str) -> None:
    # Not looked for below its folder, nor under another extension; and a link that dangles is no guess.
    finder = PathFinder(str(folder))
    assert finder.find(path, "list.csv, line 1") == (os.path.join(folder, path), MISSING)
    assert not finder.changes


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("b", "'b' fits several files (b.jpg, b.png): give the extension"),
        (
            "gs://bucket/\n.jpg",
            r"gs://bucket/\n.jpg is remote, which is not supported yet; copy the images first",
        ),
        ("file:///%ff.jpg", r"the path /\xff.jpg is not valid UTF-8: rename it"),
    ],
)
def test_what_can_mean_no_file_is_refused(folder: Path, path: str, message: str) -> None:
    with pytest.raises(BottleneckError) as caught:
        PathFinder(str(folder)).find(path, "list.csv, line 7")
    assert str(caught.value) == f"list.csv, line 7: {message}"
