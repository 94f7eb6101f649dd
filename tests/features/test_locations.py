from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.locations import (
    features_path,
    heads_path,
    is_remote,
    kept_weights,
    local_path,
    logs_path,
    rejected_path,
    runs_path,
    store_path,
    weights_path,
    weights_to_keep,
)


def test_paths_and_file_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("store") == str(tmp_path / "store")
    assert local_path("~/store") == "/home/me/store"
    assert local_path("/a/../b c") == "/b c"
    for url in ("file:///b%20c", "FILE:///b%20c", "file://localhost/b%20c", "file:/b%20c"):
        assert not is_remote(url)
        assert local_path(url) == "/b c"
    assert local_path("file:///%FFa%25") == "/\udcffa%", "which need not be UTF-8"
    assert local_path("file:///a?b#c") == "/a?b#c"
    assert store_path("file:///my%20store") == Path("/my store")
    assert local_path("a:b//c") == local_path(Path("a:b/c")) == str(tmp_path / "a:b/c")
    assert local_path(Path("file:///b%20c")) == "/b c"
    assert local_path("abc:/d") == str(tmp_path / "abc:/d")
    assert local_path(Path("/x/s3:/y")) == "/x/s3:/y"


@pytest.mark.parametrize("name", ["s3://bucket/store", "gs://bucket", "https://host/x", "file://host/x"])
def test_what_is_not_on_this_machine_is_refused(name: str) -> None:
    assert is_remote(name)
    for given in (name, Path(name)):  # of which `Path` makes s3:/bucket/store
        if not name.startswith("file:") or given is name:
            with pytest.raises(BottleneckError) as refusal:
                store_path(given)
            assert str(refusal.value) == (
                f"{name} is remote, which is not supported yet: give a local path, or copy it here first"
            )


def test_what_would_break_a_line_is_escaped_in_the_refusal() -> None:
    with pytest.raises(BottleneckError, match=r"^s3://a\\nb is remote"):
        local_path("s3://a\nb")


def test_places_in_a_store() -> None:
    assert [place("file:///store", "mine") for place in (features_path, rejected_path, heads_path)] == [
        Path("/store/features/mine"),
        Path("/store/rejected/mine"),
        Path("/store/heads/mine"),
    ]
    assert heads_path("/store", "mine", "id") == Path("/store/heads/mine/id")
    assert (logs_path("/store"), runs_path("/store")) == (Path("/store/logs"), Path("/store/runs"))
    assert weights_path("/store", "x.weights.h5") == Path("/store/weights/x.weights.h5")


@pytest.mark.parametrize(
    ("weights", "kept", "moved"),
    [
        ("imagenet", "imagenet", "imagenet"),
        ("random", "random", "random"),
        ("/mine/x.h5", "/mine/x.h5", "/mine/x.h5"),
        ("/store/weights/x.weights.h5", "weights/x.weights.h5", "/moved/weights/x.weights.h5"),
        ("/store/x.keras", "x.keras", "/moved/x.keras"),
        ("/store-2/x.h5", "/store-2/x.h5", "/store-2/x.h5"),
    ],
)
def test_weights_in_a_store_are_kept_so_that_it_can_be_moved(weights: str, kept: str, moved: str) -> None:
    assert weights_to_keep("/store", weights) == kept
    assert kept_weights("/store", kept) == weights
    assert kept_weights("/moved", kept) == moved


def test_a_store_may_be_given_as_any_path_or_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_to_keep("store", str(tmp_path / "store/weights/x.h5")) == "weights/x.h5"
    assert kept_weights(f"file://{tmp_path}/store", "weights/x.h5") == str(tmp_path / "store/weights/x.h5")


def test_links_to_a_store_lead_into_it(tmp_path: Path) -> None:
    (tmp_path / "real" / "weights").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    real, link = tmp_path / "real", tmp_path / "link"
    assert weights_to_keep(link, str(real / "weights/x.h5")) == "weights/x.h5"
    assert weights_to_keep(real, str(link / "weights/x.h5")) == "weights/x.h5"
    assert weights_to_keep(link, str(tmp_path / "x.h5")) == str(tmp_path / "x.h5")
    (real / "x.h5").symlink_to(tmp_path / "x.h5")
    assert weights_to_keep(real, str(real / "x.h5")) == "x.h5", "what a name in it leads to is its own matter"
