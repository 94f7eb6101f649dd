"""Predictions: what they are made with, where they are written, and what is refused."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.engines.graphs import _graph_path
from features.errors import BottleneckError
from features.extractor import Extractor
from features.recipe import Column, FeatureRecipe
from features.store.schema import TableFacts
from heads import LogisticHead, SavedHead
from heads.saved import save_head
from pipelines import predict as predict_module
from pipelines import screen as screen_module
from pipelines.options import PredictOptions
from pipelines.predict import predict
from pipelines.screen import progress
from tests.conftest import photo
from tests.tiny import BACKBONE, SHA256, weights_file

#: Of no network: what it stands for is the random one.
OTHER_SHA256 = "f" * 64


@functools.cache
def features_of_three_photos(layer: str) -> np.ndarray:
    photos = [io.BytesIO() for _ in range(3)]
    for number, file in enumerate(photos):
        photo(2 + number).save(file, "PNG")
    extractor = Extractor("random", backbone="tiny", layers=layer, engine="openvino")
    return extractor.features(file.getvalue() for file in photos)[layer]


def make_head(
    store: Path, layer: str = "avg_pool", *, seed: int = 0, found: str | None = None, **recipe: Any
) -> SavedHead:
    """A head for features of the tiny backbone, that knows three photos; it is the table's current one.

    Args:
        found: how its facts name the weights; heads of older versions do not.
    """
    noise = np.random.default_rng(seed).normal(scale=0.1, size=(30, BACKBONE.layers[layer]))
    X = np.tile(features_of_three_photos(layer), (10, 1)) + noise
    head = LogisticHead(C=0.1).fit(X.astype(np.float32), np.array(["cat", "dog", "a\x1bb"] * 10))
    recipe = {"weights": "random", "weights_sha256": SHA256, "backbone": "tiny", **recipe}
    column = Column(FeatureRecipe(**recipe), layer)
    columns = [{"layer": layer, "fingerprint": column.fingerprint, "recipe": column.recipe.to_dict()}]
    weights = {"weights": found} if found else {}
    return save_head(store, "tiny", head, {"columns": columns, **weights})


def options(store: Path, images: Path | str, **values: Any) -> PredictOptions:
    given = {"store": str(store), "images": str(images), "backbone": "tiny", "engine": "openvino"}
    return PredictOptions(**{**given, **values})


def read(output: str) -> pa.Table:
    text = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    return pyarrow.csv.read_csv(pa.BufferReader(output.encode()), convert_options=text)


def rows_of(saved: SavedHead, images: list[Path], rejected: dict[Path, str], **how: Any) -> dict[str, list]:
    """What is to be predicted, from the features of the images and the head's own words."""
    good = [image for image in images if image not in rejected]
    extractor = Extractor("random", backbone="tiny", layers=saved.layers, engine="openvino", **how)
    X = extractor.features(map(str, good))[saved.layers[0]]
    probabilities = dict(zip(good, saved.head.predict_proba(X), strict=True))
    labels, nothing = list(saved.facts["labels"]), np.full(3, None)
    assert len({labels[row.argmax()] for row in probabilities.values()}) > 1 or len(good) == 1
    return {
        "uri": list(map(str, images)),
        "label": [labels[probabilities[one].argmax()] if one in probabilities else None for one in images],
        "probability": [probabilities[one].max() if one in probabilities else None for one in images],
        "rejected": [rejected.get(one) for one in images],
        **{
            f"probability_{label}": [probabilities.get(one, nothing)[number] for one in images]
            for number, label in enumerate(labels)
        },
    }


def assert_same(table: pa.Table, expected: dict[str, list]) -> None:
    assert table.column_names == list(expected)
    for name, values in expected.items():
        if name.startswith("probability"):
            values = [None if value is None else pytest.approx(value, rel=1e-5) for value in values]
        assert table.column(name).to_pylist() == values, name


@pytest.fixture(scope="module")
def images(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, one of them turned by its EXIF data, and one that is none."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "deep, er").mkdir()
    (folder / "broken.jpg").write_text("no image")
    photo(2).save(folder / "deep, er" / "b.png")
    photo(4).save(folder / "c.png")
    exif = photo(3).getexif()
    exif[0x0112] = 6
    photo(3).save(folder / "turned.jpg", exif=exif)
    return folder


NAMES = ("broken.jpg", "c.png", "deep, er/b.png", "turned.jpg")


@pytest.mark.parametrize(
    ("layer", "how"),
    [
        ("avg_pool", {}),
        ("early", {}),
        ("avg_pool", {"exif_orientation": True}),
        ("early", {"precision": "bfloat16"}),
    ],
)
def test_images_are_labelled_from_features_as_the_head_was_trained_on(
    images: Path, tmp_path: Path, layer: str, how: dict, capfd: pytest.CaptureFixture[str]
):
    saved = make_head(tmp_path, layer, **how)
    predict(options(tmp_path, images))
    out, err = capfd.readouterr()
    paths = [images / name for name in NAMES]
    assert_same(read(out), rows_of(saved, paths, {images / "broken.jpg": "not_an_image"}, **how))
    assert err == f"{UNTRAINED}\n3 images labelled by head {saved.id}, 1 rejected\n"


def test_the_head_that_is_named_labels_and_not_the_current_one(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    first, current = make_head(tmp_path), make_head(tmp_path, seed=1)
    one = images / "c.png"
    for head_id, saved in ((first.id, first), (None, current)):
        predict(options(tmp_path, one, head_id=head_id))
        out, err = capfd.readouterr()
        assert_same(read(out), rows_of(saved, [one], {}))
        assert err == f"{UNTRAINED}\n1 image labelled by head {saved.id}, 0 rejected\n"


@pytest.fixture
def weights(tiny: str, tmp_path: Path) -> Iterator[str]:
    """A file of weights that was converted before, to the graph of the random ones under another hash."""
    path = weights_file(tmp_path / "mine.weights.h5", BACKBONE, OTHER_SHA256)
    graph = _graph_path(BACKBONE, OTHER_SHA256, "openvino")
    shutil.copytree(_graph_path(BACKBONE, SHA256, "openvino"), graph)
    yield str(path)
    shutil.rmtree(graph)


def test_the_weights_that_the_table_was_made_with_are_found_again(
    images: Path, weights: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    saved = make_head(store, weights="mine", weights_sha256=OTHER_SHA256)
    feature_store.create(store, "tiny", TableFacts("digits", weights, ("avg_pool",), saved.columns[0].recipe))
    predict(options(store, images / "c.png"))
    out, err = capfd.readouterr()
    assert_same(read(out), rows_of(saved, [images / "c.png"], {}))
    assert err == f"1 image labelled by head {saved.id}, 0 rejected\n", (
        "trained ones are not called untrained"
    )


def test_weights_that_were_made_from_random_ones_are_called_untrained(
    images: Path, weights: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    file = weights_file(tmp_path / "mine-untrained.weights.h5", BACKBONE, OTHER_SHA256)
    saved = make_head(tmp_path, weights="mine-untrained", weights_sha256=OTHER_SHA256, found=str(file))
    predict(options(tmp_path, images / "c.png"))
    assert capfd.readouterr().err == f"{UNTRAINED}\n1 image labelled by head {saved.id}, 0 rejected\n"


def test_a_head_knows_its_own_weights_wherever_the_store_is_and_whatever_the_table_has(
    images: Path, weights: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "store" / "weights").mkdir(parents=True)
    shutil.move(weights, tmp_path / "store" / "weights")
    own: dict[str, Any] = {
        "found": "weights/mine.weights.h5",
        "weights": "mine",
        "weights_sha256": OTHER_SHA256,
    }
    saved = make_head(tmp_path / "store", **own)
    facts = TableFacts("digits", "random", ("avg_pool",), make_head(tmp_path / "random").columns[0].recipe)
    feature_store.create(tmp_path / "store", "tiny", facts)
    (tmp_path / "store").rename(tmp_path / "moved")
    weights_file(tmp_path / "moved" / "weights" / "mine.weights.h5", BACKBONE, OTHER_SHA256)
    predict(options(tmp_path / "moved", images / "c.png"))
    assert capfd.readouterr().err == f"1 image labelled by head {saved.id}, 0 rejected\n"


def test_weights_may_be_given_and_have_to_be_those_of_the_head(
    images: Path, weights: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    saved = make_head(tmp_path / "mine", weights="mine", weights_sha256=OTHER_SHA256)
    predict(options(tmp_path / "mine", images / "c.png", weights=weights))
    assert f"1 image labelled by head {saved.id}" in capfd.readouterr().err
    other = make_head(tmp_path / "other")
    message = (
        f"head {other.id} was built on features made another way: "
        f"weights_sha256 was {SHA256[:12]}… and is now ffffffffffff…"
    )
    with pytest.raises(BottleneckError, match=f"^{re.escape(message)}$"):
        predict(options(tmp_path / "other", images, weights=weights))
    assert capfd.readouterr().out == ""


def test_images_are_labelled_block_by_block_in_their_order(
    photos: Path,
    tiny: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(predict_module, "_BLOCK", 8)
    monkeypatch.setattr(screen_module, "_LINE_EVERY", -1.0)
    records: list[tuple[int, int]] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: records.append((record.images, record.rejected)))
    monkeypatch.setattr(progress, "handlers", [handler])
    saved = make_head(tmp_path)
    missing = Path("/a, missing.jpg")
    listed = [missing, *sorted(photos.rglob("*.*"))]
    (tmp_path / "list.txt").write_text("\n".join(map(str, listed)))
    predict(options(tmp_path, tmp_path / "list.txt"))
    out, err = capfd.readouterr()
    assert_same(read(out), rows_of(saved, listed, {missing: "missing"}))
    assert records == [(8, 1), (8, 0), (5, 0)]
    assert re.findall(r"\n(\d+ of \d+) images, .*/s, \d+ s left", err) == ["8 of 21", "16 of 21", "21 of 21"]
    assert err.endswith(f"20 images labelled by head {saved.id}, 1 rejected\n")


def test_a_list_needs_no_labels_and_may_be_named_by_a_url(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    saved = make_head(tmp_path / "store")
    (tmp_path / "list.csv").write_text(f"taken_by;file\nLange;{images / 'c.png'}\n;{images / 'turned.jpg'}")
    predict(options(tmp_path / "store", f"file://{tmp_path}/list.csv"))
    assert_same(read(capfd.readouterr().out), rows_of(saved, [images / "c.png", images / "turned.jpg"], {}))


@pytest.mark.parametrize("name", ["new.csv", "new.parquet", "new.CSV", "new.Parquet"])
def test_a_file_is_written_instead_in_the_place_of_an_older_one(
    images: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)  # of no account for a file
    saved, output = make_head(tmp_path / "store"), tmp_path / name
    output.write_text("older")
    predict(options(tmp_path / "store", images, output=str(output)))
    out, err = capfd.readouterr()
    found = pq.read_table(output) if name.lower().endswith("parquet") else read(output.read_text())
    assert_same(
        found, rows_of(saved, [images / one for one in NAMES], {images / "broken.jpg": "not_an_image"})
    )
    assert out == ""
    assert err.splitlines()[1:] == [f"3 images labelled by head {saved.id}, 1 rejected, written to {output}"]
    assert {path.name for path in tmp_path.iterdir()} == {"store", name}


@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_where_work_stops_half_way_an_older_file_stays_and_no_half_one(
    photos: Path, tiny: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    make_head(tmp_path / "store")
    (tmp_path / name).write_text("older")
    monkeypatch.setattr(predict_module, "_BLOCK", 8)
    label, blocks = predict_module._label, []

    def label_one_block(block: pa.Table, saved: SavedHead) -> pa.Table:
        blocks.append(block)
        if len(blocks) == 2:
            raise KeyboardInterrupt
        return label(block, saved)

    monkeypatch.setattr(predict_module, "_label", label_one_block)
    with pytest.raises(KeyboardInterrupt):
        predict(options(tmp_path / "store", photos, output=str(tmp_path / name)))
    assert (tmp_path / name).read_text() == "older"
    assert {path.name for path in tmp_path.iterdir()} == {"store", name}


def test_names_reach_a_terminal_without_control_characters_and_others_as_they_are(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    make_head(tmp_path / "store")
    (tmp_path / "images").mkdir()
    photo(3).save(tmp_path / "images" / "\x1b[31mnew\n.png")
    (tmp_path / "images" / "bad.png").touch()
    outputs = []
    for terminal in (True, False):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        predict(options(tmp_path / "store", tmp_path / "images"))
        outputs.append(capfd.readouterr().out)
    shown, plain = map(read, outputs)
    assert "\x1b" not in outputs[0] and len(outputs[0].splitlines()) == 3
    assert shown.column_names == [name.replace("\x1b", "\\x1b") for name in plain.column_names]
    assert plain.column("uri").to_pylist() == [
        f"{tmp_path}/images/\x1b[31mnew\n.png",
        f"{tmp_path}/images/bad.png",
    ]
    assert shown.column("uri").to_pylist() == [
        f"{tmp_path}/images/\\x1b[31mnew\\n.png",
        f"{tmp_path}/images/bad.png",
    ]
    assert shown.column("rejected").to_pylist() == [None, "empty"]
    assert shown.column("label").to_pylist()[1] is None
    assert shown.column("probability").equals(plain.column("probability"))


def test_images_that_can_not_be_named_are_left_out_and_told(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    saved = make_head(tmp_path / "store")
    (tmp_path / "images").mkdir()
    try:
        photo(4).save(os.fsencode(tmp_path) + b"/images/\xff.png", "PNG")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(BottleneckError) as error:
        predict(options(tmp_path / "store", tmp_path / "images"))
    assert str(error.value) == (
        f"`images={tmp_path}/images`: there are no images in this folder, "
        f"and 1 whose names are not valid UTF-8"
    )
    photo(3).save(tmp_path / "images" / "new.png")
    predict(options(tmp_path / "store", tmp_path / "images"))
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    assert err == (
        "left out 1 image whose names are not valid UTF-8 (\\xff.png): rename them\n"
        f"{UNTRAINED}\n"
        f"1 image labelled by head {saved.id}, 0 rejected, 1 left out\n"
    )


@pytest.mark.parametrize("name", [None, "bad.csv"])
def test_it_fails_where_no_image_could_be_labelled_and_says_where_to_look(
    tiny: str, tmp_path: Path, name: str | None, capfd: pytest.CaptureFixture[str]
):
    make_head(tmp_path / "store")
    (tmp_path / "images\t").mkdir()
    (tmp_path / "images\t" / "bad.jpg").write_text("no image")
    output = str(tmp_path / name) if name else None
    with pytest.raises(BottleneckError) as error:
        predict(options(tmp_path / "store", tmp_path / "images\t", output=output))
    where = f", written to {output}" if output else ""
    assert str(error.value) == (
        f"none of the 1 image of `images={tmp_path}/images\\t` could be labelled: "
        f"the column 'rejected' of the output{where} says why"
    )
    written = Path(output).read_text() if output else capfd.readouterr().out
    assert read(written).column("rejected").to_pylist() == ["not_an_image"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"images": "/no\n/such"}, "`images=/no\\n/such`: there is no such file or folder"),
        ({"images": "{folder}"}, "`images={folder}`: there are no images in this folder"),
        ({"images": "{folder}.md"}, "`images={folder}.md` is a file of another kind: expected "),
        ({"output": "{folder}"}, "`output={folder}`: this is a folder, expected the name of a file"),
        (
            {"output": "{folder}/x.txt"},
            "`output={folder}/x.txt`: expected a name that ends in .csv or .parquet",
        ),
        ({"output": "{folder}/no/x.csv"}, "`output={folder}/no/x.csv`: there is no folder {folder}/no"),
        ({"backbone": None}, "there is no head for table 'inception_v3' in {store}: it has heads for tiny "),
        ({"head_id": "x"}, "there is no head 'x' in {store}/heads/tiny, which has: {head}"),
        (
            {"features": "tiny", "backbone": "resnet50"},
            "head {head} was trained on tiny, not on `backbone=resnet50`",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    images: Path,
    tmp_path: Path,
    asked: dict[str, Any],
    message: str,
    capfd: pytest.CaptureFixture[str],
):
    saved, folder = make_head(tmp_path / "store"), tmp_path / "folder.csv"
    folder.mkdir()
    Path(f"{folder}.md").touch()
    names = {"folder": folder, "store": tmp_path / "store", "head": saved.id}
    asked = {name: text and text.format(**names) for name, text in asked.items()}
    with pytest.raises(BottleneckError) as error:
        predict(options(tmp_path / "store", **{"images": images, **asked}))
    assert str(error.value).startswith(message.format(**names))
    assert capfd.readouterr() == ("", "")
    assert list(folder.iterdir()) == []


def test_a_file_in_the_current_folder_needs_no_folder(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_head(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    predict(options(tmp_path / "store", images / "c.png", output="x.csv", weights="random"), debug=True)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 2
    assert not (tmp_path / "store" / "logs").exists(), "not with debug"
