from __future__ import annotations

import json
from pathlib import Path

import pytest

from features import graphs
from features.errors import BottleneckError
from features.weights import find_weights


def test_a_graph_is_converted_once(keras_home: Path):
    source = find_weights("random")
    first = graphs.find_graph(source, "openvino")
    written = (first.path / "graph.bin").stat().st_mtime_ns
    assert graphs.find_graph(source, "openvino") == first
    assert (first.path / "graph.bin").stat().st_mtime_ns == written
    assert graphs.known_sha256(source) == graphs.weights_sha256(source) == first.weights_sha256
    assert not list(first.path.parent.glob(".half-*"))


def test_each_engine_has_a_graph_of_the_same_weights():
    source = find_weights("random")
    openvino, tensorflow = (graphs.find_graph(source, engine) for engine in ("openvino", "tensorflow"))
    assert openvino.weights_sha256 == tensorflow.weights_sha256
    assert openvino.path != tensorflow.path


def test_a_changed_file_is_hashed_anew(tmp_path: Path):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"one")
    source = find_weights(str(path))
    note = graphs._sha256_note(source)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"weights_sha256": "abc"}))
    assert graphs.known_sha256(source) == "abc"
    path.write_bytes(b"another")
    assert graphs.known_sha256(source) is None


def test_weights_of_something_else_are_told_in_a_sentence(tmp_path: Path):
    path = tmp_path / "text.h5"
    path.write_text("no weights")
    with pytest.raises(BottleneckError, match="text.h5 does not hold the weights of Keras's Inception V3"):
        graphs.find_graph(find_weights(str(path)), "openvino")
    assert graphs.known_sha256(find_weights(str(path))) is None
