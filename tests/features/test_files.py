from __future__ import annotations

import ast
import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from features import files
from features.errors import BottleneckError

ROOT = Path(__file__).parents[2]

#: Calls that reach files by the system's own means, and the modules that have reason to: what an object store
#: has not (links, locks, walks), what libraries read by name, this machine's cache, its logs and its facts.
LOCAL_CALLS = {
    *("open", "stat", "lstat", "scandir", "listdir", "lexists", "exists", "is_file", "is_dir", "isfile"),
    *("isdir", "mkdir", "makedirs", "touch", "unlink", "rmtree", "rename", "utime", "iterdir", "glob"),
    *("rglob", "read_text", "read_bytes", "write_text", "write_bytes", "read_table", "read_metadata"),
    *("ParquetFile", "ParquetWriter", "TemporaryDirectory", "mkdtemp", "realpath", "chmod"),
}
LOCAL_MODULES = {
    "features/files.py": {"ParquetFile", "ParquetWriter", "listdir"},
    "features/backbones/network.py": {"TemporaryDirectory"},  # Keras writes to this machine
    "features/downloads.py": {"open"},  # Keras's cache
    "features/engines/__init__.py": {"exists"},  # a device
    "features/engines/openvino_engine.py": {
        "read_text",
        "write_text",
        "write_bytes",
        "TemporaryDirectory",
    },  # its cache
    "features/engines/tensorflow_engine.py": {"read_text", "read_bytes", "write_text", "write_bytes"},
    "features/images/files.py": {"open", "stat"},  # an image: what is no regular file must not block
    "features/images/orientation.py": {"open"},  # Pillow, from memory
    "features/images/pillow.py": {"open"},
    "features/inputs/builtin.py": {"open", "mkdir"},  # in Keras's cache
    "features/inputs/listing.py": {"stat"},  # a million files
    "features/inputs/paths.py": {"lexists", "listdir"},
    "features/inputs/walk.py": {"is_dir", "scandir", "realpath"},
    "features/locations.py": {"realpath"},  # where links lead
    "features/machine.py": {"read_text", "exists", "is_file", "is_dir"},  # /proc
    "heads/current.py": {"open"},  # a lock
    "heads/page/document.py": {"read_text"},  # of the package itself
    "pipelines/cli.py": {"open"},  # /dev/null
    "pipelines/liveness.py": {"open", "stat", "utime"},  # a lock
    "pipelines/screen.py": {"open", "mkdir"},  # a log that C++ writes to
}


def test_files_are_reached_through_one_module_and_elsewhere_for_a_reason() -> None:
    used = {}
    for path in (file for room in ("features", "heads", "pipelines") for file in (ROOT / room).rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text()))
        calls = {_local_call(node.func) for node in nodes if isinstance(node, ast.Call)}
        if calls := calls - {None}:
            used[path.relative_to(ROOT).as_posix()] = calls
    assert used == LOCAL_MODULES


def _local_call(function: ast.expr) -> str | None:
    if isinstance(function, ast.Name):
        return "open" if function.id == "open" else None
    if not isinstance(function, ast.Attribute) or function.attr not in LOCAL_CALLS:
        return None
    # Through the seam, or to open a table.
    ours = isinstance(function.value, ast.Name) and function.value.id in ("files", "feature_store", "catalog")
    return None if ours else function.attr


def test_what_is_there(tmp_path: Path) -> None:
    assert files.names(tmp_path / "none") == files.names(tmp_path) == []
    files.write(tmp_path / "b", "ü")
    files.write(tmp_path / "a" / "c", "")
    (tmp_path / ".hidden").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    (tmp_path / os.fsdecode(b"\xff")).touch()
    assert files.names(tmp_path) == ["a", "b", "dangling", "link", "\udcff"]
    assert not files.is_file(tmp_path / ("long" * 100)) and not files.is_folder("no\0name")
    assert files.read(tmp_path / "b").decode() == "ü"
    is_file = [files.is_file(tmp_path / name) for name in ("b", "a", "link", "dangling", "none")]
    is_folder = [files.is_folder(tmp_path / name) for name in ("b", "a", "link", "dangling", "none")]
    assert is_file == [True, False, False, False, False]
    assert is_folder == [False, True, True, False, False]
    status = (tmp_path / "b").stat()
    info = files.info(tmp_path / "b")
    assert (info.size, info.mtime_ns) == (2, status.st_mtime_ns)
    with pytest.raises(FileNotFoundError) as missing:
        files.info(tmp_path / "none")
    none = str(tmp_path / "none")
    assert missing.value.args == (2, "No such file or directory") and missing.value.filename == none
    assert files.names(tmp_path / "b") == []


def test_a_disk_that_fails_is_not_one_without_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: bytes) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "_at", lambda path: (SimpleNamespace(get_file_info=fail), b"x"))
    with pytest.raises(OSError, match="Input/output error"):
        files.is_file("x")


def test_what_is_not_done_yet_has_a_hidden_name_of_its_own_beside_the_place(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "place.json"
    with files.aside(place) as first, files.aside(place) as second:
        for half in (first, second):
            assert half.parent == place.parent and re.fullmatch(r"\.place\.json\.[0-9a-f]{8}", half.name)
            half.write_text(half.name)
        assert first != second and files.names(place.parent) == []
    assert place.read_text() == first.name and list(place.parent.iterdir()) == [place]


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json"))
    files.write(path, "x")
    assert files.is_file(path) and files.read(path) == b"x"
    files.remove(path)
    assert not path.exists()


def test_a_file_appears_whole_in_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json.gz"
    files.write(path, "old")
    with files.writing(path) as stream:
        stream.write(b"ne")
        assert path.read_text() == "old"
        stream.write(b"w")
    assert path.read_bytes() == b"new"  # not compressed, whatever its name
    with pytest.raises(KeyboardInterrupt), files.writing(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        files.write(path, "new")
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_appears_whole_and_whoever_is_first_wins(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "place"
    with pytest.raises(OSError, match="disk full"), files.filling(place) as folder:
        (folder / "half").touch()
        raise OSError("disk full")
    assert list(place.parent.iterdir()) == []
    with files.filling(place) as second:
        with files.filling(place) as first:
            assert not place.exists()
            (first / "mine").write_text("first")
        (second / "mine").write_text("second")
    assert (place / "mine").read_text() == "first" and list(place.parent.iterdir()) == [place]
    assert place.stat().st_mode & 0o777 == 0o777 & ~_umask()
    with pytest.raises(OSError, match="disk full"), files.filling(place):  # a loser's own faults are told
        raise OSError("disk full")
    with pytest.raises(NotADirectoryError), files.filling(place / "mine"):
        pass


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


def test_removing(tmp_path: Path) -> None:
    files.write(tmp_path / "folder" / "deep" / "file", "")
    files.write(tmp_path / "file", "")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("link", "none", "file"):
        files.remove(tmp_path / name)
    assert files.names(tmp_path) == ["folder"] and files.names(tmp_path / "folder") == ["deep"]
    files.remove(tmp_path / "folder")
    assert files.names(tmp_path) == []


def test_several_may_remove_a_folder_at_once(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / "folder" / str(number % 7)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / str(number % 7) / str(number)).touch()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(files.remove, [tmp_path / "folder"] * 4))
    assert not (tmp_path / "folder").exists()


def test_parquet(tmp_path: Path) -> None:
    table, path = pa.table({"x": [1, 2, 3]}), tmp_path / "x.parquet"
    with files.parquet_writer(path, table.schema, compression="zstd", use_dictionary=False) as writer:
        writer.write_table(table)
    assert files.footer(path).row_group(0).column(0).compression == "ZSTD"
    assert files.parquet_file(path, read_dictionary=["x"]).read() == table
    for mapped in (False, True):
        with files.parquet_file(path, mapped=mapped) as file:
            assert file.read() == table
            assert (str(path) in Path("/proc/self/maps").read_text()) == mapped
    assert files.footer(path).num_rows == 3
    with pytest.raises(KeyboardInterrupt), files.parquet_writer(path, table.schema):
        raise KeyboardInterrupt
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        files.parquet_file(path)


@pytest.mark.parametrize("path", ["s3://bucket/x", Path("s3://bucket/x"), Path("gs://bucket/x")])
def test_what_is_remote_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (files.is_file, files.names, files.read, files.remove, files.parquet_file, files.delta_uri):
        with pytest.raises(BottleneckError, match=r"(s3|gs)://bucket/x is remote, which is not"):
            use(path)
    with pytest.raises(BottleneckError, match="remote"), files.writing(Path(path)):
        pass
    with pytest.raises(BottleneckError, match="remote"), files.filling(Path(path)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_why_a_file_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError) as missing:
        files.read(tmp_path / "none")
    assert files.why(missing.value) == "No such file or directory"
    with pytest.raises(OSError) as folder:
        files.read(tmp_path)
    assert "is a directory" in files.why(folder.value)
    assert files.why(OSError("the disk is gone")) == "the disk is gone"


def test_what_delta_calls_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.delta_uri("a") == files.delta_uri(tmp_path / "a") == f"{tmp_path}/a"
