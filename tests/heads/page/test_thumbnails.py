from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from heads.page.thumbnails import thumbnail, thumbnails
from tests.conftest import photo


def opened(data_uri: str | None) -> Image.Image:
    assert data_uri is not None
    return Image.open(io.BytesIO(base64.b64decode(data_uri.removeprefix("data:image/webp;base64,"))))


def test_a_thumbnail_is_the_image_made_small(tmp_path: Path) -> None:
    image = photo(0, 400, 200)
    image.save(tmp_path / "a.png")
    small = opened(thumbnail(str(tmp_path / "a.png"), 64, 90))
    assert small.size == (64, 32) and small.format == "WEBP"
    expected = np.asarray(image.resize((64, 32), Image.Resampling.BOX), float)
    assert np.abs(np.asarray(small.convert("RGB"), float) - expected).mean() < 8


def test_a_small_image_stays_as_it_is(tmp_path: Path) -> None:
    photo(0, 30, 20).save(tmp_path / "a.png")
    assert opened(thumbnail(str(tmp_path / "a.png"), 64, 90)).size == (30, 20)


def test_it_is_turned_as_the_recipe_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(0, 40, 20).save(tmp_path / "a.jpg", exif=exif)
    sizes = [opened(thumbnail(str(tmp_path / "a.jpg"), 64, 90, turn)).size for turn in (False, True)]
    assert sizes == [(40, 20), (20, 40)]


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    photo(0).save(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:300])
    uris = [str(tmp_path / name) for name in ("missing.jpg", "text.jpg", "cut.jpg", "a.jpg", "\0")]
    found = thumbnails(uris, side=64, quality=50, most_bytes=100_000)
    assert [uri for uri in uris if found[uri] is not None] == [uris[3]]


def test_bytes_are_bounded_and_the_first_come_first(tmp_path: Path) -> None:
    uris = [str(tmp_path / f"{number}.png") for number in range(100)]
    for number, uri in enumerate(uris):
        photo(number).save(uri)
    everything = thumbnails(uris, side=64, quality=50, most_bytes=10**9)
    sizes = [len(everything[uri] or "") for uri in uris]
    some = thumbnails(uris, side=64, quality=50, most_bytes=sum(sizes[:70]))
    assert [uri for uri in uris if some[uri]] == uris[:70]
    assert list(everything) == uris == list(some)
