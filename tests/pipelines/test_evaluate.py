"""Evidence and its page as commands, on photos, with a network that is quick."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from heads import load_head
from pipelines import evaluate as evaluate_module
from pipelines.cli import main
from tests.conftest import photo
from tests.tiny import ROOT

for _package in ("cleanlab", "jinja2", "plotly"):
    pytest.importorskip(_package)

DRAWS = "--draws=5"
_MAKE_WEIGHTS = """
import sys
import keras
from features.backbones.weights import find_weights
from features.engines.graphs import _convert_here
from tests.tiny import BACKBONE
keras.utils.set_random_seed(3)
BACKBONE.build().save_weights(sys.argv[1])
_convert_here(BACKBONE, find_weights(sys.argv[1], BACKBONE), "openvino")
"""


@pytest.fixture(scope="module")
def store(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photos of two classes, one of them darker; weights from a file, and two heads."""
    folder = tmp_path_factory.mktemp("evaluate")
    for number in range(60):
        image = photo(number, 60, 50)
        label = ("light", "dark")[number % 2]
        (folder / "photos" / label).mkdir(parents=True, exist_ok=True)
        darker = image.point(lambda value: value // 3) if label == "dark" else image
        darker.save(folder / "photos" / label / f"{number:02}.png")
    weights = folder / "other.weights.h5"
    # In another process: converting imports TensorFlow, and does not find `tiny` by itself.
    subprocess.run([sys.executable, "-c", _MAKE_WEIGHTS, str(weights)], cwd=ROOT, check=True)
    given = [f"--store={folder / 'store'}", "--backbone=tiny"]
    data = [f"--data={folder / 'photos'}", f"--weights={weights}"]
    assert main(["extract", *given, *data, "--layers=early,avg_pool", "--precision=float32"]) == 0
    for layers in ("avg_pool", "early,avg_pool"):
        assert main(["train-head", *given, f"--layers={layers}", "--folds=0"]) == 0
    return folder / "store"


def run(command: str, store: Path, *flags: str) -> int:
    return main([command, f"--store={store}", "--backbone=tiny", DRAWS, *flags])


def test_evidence_is_gathered_kept_and_made_a_page_of(
    store: Path, capfd: pytest.CaptureFixture[str], prepared: list[str]
) -> None:
    assert run("evaluate", store) == 0
    out, err = capfd.readouterr()
    saved = load_head(store, "tiny")
    assert out.splitlines()[0].startswith("Transfer ")
    assert f"evaluation: {saved.directory / 'evaluation.json'}\n" in out
    assert out.splitlines()[-1] == f"next: make report STORE={store} BACKBONE=tiny"
    assert "Features of random weights, to compare with …\n" in err and UNTRAINED not in err
    kept = json.loads((saved.directory / "evaluation.json").read_text())
    assert [source["id"] for source in kept["transfer"]["sources"]] == ["features", "random", "pixels"]
    random = feature_store.open(store, "tiny-random")
    assert random.facts.untrained and random.layers == ("early", "avg_pool") and len(prepared) == 60

    prepared.clear()
    assert run("report", store) == 0
    out, err = capfd.readouterr()
    page = saved.directory / "report.html"
    assert out.splitlines()[-1].startswith(f"page: {page} (") and "Finding the neighbours" not in err
    assert kept["verdict"][0]["text"] in html.unescape(page.read_text()) and not prepared, (
        "the evidence was there"
    )

    assert run("report", store, "--json") == 0
    assert json.loads(capfd.readouterr().out) == kept
    assert main(["train-head", f"--store={store}", "--backbone=tiny", "--folds=0", "--retrain"]) == 0
    capfd.readouterr()
    assert run("report", store, f"--output={store / 'page.html'}", "--head-id", saved.id) == 0
    assert "Finding the neighbours" in capfd.readouterr().err, "another head is there to compare with"
    assert (store / "page.html").is_file() and not prepared, "the features of random weights were there"


def test_without_random_features_pixels_alone_are_compared(
    store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is to be extracted")

    monkeypatch.setattr(evaluate_module, "extract", fail)
    assert run("evaluate", store, "--no-random-features", "--json") == 0
    evaluation = json.loads(capfd.readouterr().out)
    assert [source["id"] for source in evaluation["transfer"]["sources"]] == ["features", "pixels"]
    assert {"what": "learning curves on features of random weights"}.items() <= evaluation["missing"][
        0
    ].items()


def test_where_weights_are_random_nothing_was_transferred(
    store: Path, tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = [f"--store={tmp_path}", "--backbone=tiny"]
    photos = store.parent / "photos"
    assert main(["extract", *given, f"--data={photos}", "--weights=random", "--precision=float32"]) == 0
    assert main(["train-head", *given, "--folds=0"]) == 0
    capfd.readouterr()
    assert run("evaluate", tmp_path, "--json") == 0
    out, err = capfd.readouterr()
    evaluation = json.loads(out)
    assert evaluation["verdict"][0]["text"].startswith("Nothing was transferred") and UNTRAINED in err
    assert feature_store.table_names(tmp_path) == ["tiny"]


def test_a_store_that_was_moved_is_compared_with_random_weights_again(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], prepared: list[str]
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(store, moved)
    assert run("evaluate", moved, "--json") == 0
    evaluation = json.loads(capfd.readouterr().out)
    assert "random" in [source["id"] for source in evaluation["transfer"]["sources"]]
    assert len(prepared) in (0, 60) and run("evaluate", moved, "--json") == 0
    assert len(prepared) in (0, 60), "once"


def test_a_name_of_two_lines_is_left_out_of_the_sample(tmp_path: Path) -> None:
    text = evaluate_module._csv(["/a.png", "/b\n.png", '/c,"d".png'])
    assert text.splitlines() == ["uri", "/a.png", '"/c,""d"".png"']


def test_what_cannot_be_is_refused_in_a_sentence(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(command: str, *flags: str, of: Path = store) -> str:
        assert run(command, of, *flags) == 1
        return capfd.readouterr().err.splitlines()[-1]

    assert "there are no features named 'tiny'" in error("evaluate", of=tmp_path)
    assert "there is no head 'none'" in error("report", "--head-id=none")
    assert "--draws 4: expected 5 or more" in error("evaluate", "--draws=4")
    assert "expected a name that ends in .html" in error("report", "--output=page.pdf")
    assert f"there is no folder {tmp_path / 'none'}" in error(
        "report", f"--output={tmp_path / 'none' / 'a.html'}"
    )
    assert "this is a folder" in error("report", f"--output={tmp_path}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "cleanlab and faiss are not installed" in error("evaluate")
    assert "jinja2 and plotly are not installed" in error("report")


def test_a_table_in_the_way_of_the_random_one_is_no_end(
    store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Somebody's own table of that name: it is left as it is, and the curves are compared with pixels."""
    copy = store.parent / "copy"
    shutil.copytree(store, copy)
    for room in ("features", "rejected"):
        shutil.rmtree(copy / room / "tiny-random", ignore_errors=True)
        shutil.copytree(copy / room / "tiny", copy / room / "tiny-random")
    assert run("evaluate", copy, "--json") == 0
    out, err = capfd.readouterr()
    evaluation = json.loads(out)
    assert [source["id"] for source in evaluation["transfer"]["sources"]] == ["features", "pixels"]
    assert "no features of random weights: table 'tiny-random' was made another way" in err
    assert any("was made another way" in of["how"] for of in evaluation["missing"])
