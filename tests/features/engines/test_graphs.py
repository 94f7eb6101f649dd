from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from features.backbones import get_backbone
from features.backbones.weights import WeightsSource, find_weights
from features.downloads import cache_dir
from features.engines import graphs
from features.errors import BottleneckError

ROOT = Path(__file__).parents[3]
INCEPTION = get_backbone("inception_v3")


def weights(spec: str) -> WeightsSource:
    return find_weights(spec, INCEPTION)


def test_a_graph_is_converted_once(keras_home: Path):
    source = weights("random")
    first = graphs.find_graph(INCEPTION, source, "openvino")
    written = (first.path / "graph.bin").stat().st_mtime_ns
    assert graphs.find_graph(INCEPTION, source, "openvino") == first
    assert (first.path / "graph.bin").stat().st_mtime_ns == written
    assert (
        graphs.known_sha256(INCEPTION, source)
        == graphs.weights_sha256(INCEPTION, source)
        == first.weights_sha256
    )
    assert not list(first.path.parent.glob(".*"))
    assert first.path.stat().st_mode & 0o777 == 0o755


def test_tests_never_share_a_cache_with_the_user(keras_home: Path, tmp_path: Path):
    assert cache_dir() == keras_home
    code = "import tests.conftest; from features.downloads import cache_dir; print(cache_dir())"
    environment = os.environ | {"KERAS_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("PYTEST_XDIST_WORKER", None)  # whose tests share a folder
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert not Path(done.stdout.strip()).is_relative_to(tmp_path)
    assert Path(done.stdout.strip()) != keras_home


def test_a_conversion_leaves_nothing_but_the_graph():
    folder = graphs.find_graph(INCEPTION, weights("random"), "openvino").path
    assert sorted(path.name for path in folder.iterdir()) == ["graph.bin", "graph.xml", "graph_precise.xml"]


def test_the_precise_graph_keeps_the_convolutions_that_the_backbone_names_and_no_other():
    folder = graphs.find_graph(INCEPTION, weights("random"), "openvino").path
    root = ElementTree.parse(folder / "graph_precise.xml").getroot()
    convolutions = [layer for layer in root.iter("layer") if layer.get("type") == "Convolution"]
    assert len(convolutions) == 94
    marked = [
        number
        for number, layer in enumerate(convolutions)
        if any(attribute.get("name") == "precise" for attribute in layer.iter("attribute"))
    ]
    shapes = [[dim.text for dim in port.iter("dim")] for port in convolutions[1].iterfind("input/port")]
    assert marked == [0, 1]
    assert shapes == [["-1", "32", "149", "149"], ["32", "32", "3", "3"]]


def test_each_engine_has_a_graph_of_the_same_weights():
    source = weights("random")
    openvino, tensorflow = (
        graphs.find_graph(INCEPTION, source, engine) for engine in ("openvino", "tensorflow")
    )
    assert openvino.weights_sha256 == tensorflow.weights_sha256
    assert openvino.path != tensorflow.path


def test_a_changed_file_is_hashed_anew(tmp_path: Path):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"one")
    source = weights(str(path))
    note = graphs._sha256_note(INCEPTION, source)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"weights_sha256": "abc"}))
    assert graphs.known_sha256(INCEPTION, source) == "abc"
    path.write_bytes(b"another")
    assert graphs.known_sha256(INCEPTION, source) is None


def test_weights_of_something_else_are_told_in_a_sentence(tmp_path: Path):
    path = tmp_path / "text.h5"
    path.write_text("no weights")
    with pytest.raises(BottleneckError, match="text.h5 does not hold the weights of Keras's Inception V3"):
        graphs.find_graph(INCEPTION, weights(str(path)), "openvino")
    assert graphs.known_sha256(INCEPTION, weights(str(path))) is None
