from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.locations import features_path, is_remote, local_path, store_path


def test_paths_and_file_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("store") == str(tmp_path / "store")
    assert local_path("~/store") == "/home/me/store"
    assert local_path("/a/../b c") == "/b c"
    for url in ("file:///b%20c", "FILE:///b%20c", "file://localhost/b%20c", "file:/b%20c"):
        assert not is_remote(url)
        assert local_path(url) == "/b c"
    assert store_path("file:///my%20store") == Path("/my store")
    assert features_path("file:///store", "mine") == Path("/store/features/mine")
    assert local_path("a:b//c") == local_path(Path("a:b/c")) == str(tmp_path / "a:b/c")
    assert local_path(Path("file:///b%20c")) == "/b c"
    assert local_path("abc:/d") == str(tmp_path / "abc:/d")
    assert local_path(Path("/x/s3:/y")) == "/x/s3:/y"


@pytest.mark.parametrize("name", ["s3://bucket/store", "gs://bucket", "https://host/x", "file://host/x"])
def test_what_is_not_on_this_machine_is_refused(name: str) -> None:
    assert is_remote(name)
    for given in (name, Path(name)):  # of which `Path` makes s3:/bucket/store
        if not name.startswith("file:") or given is name:
            with pytest.raises(BottleneckError, match=f"{name} is remote, which is not supported yet"):
                store_path(given)
