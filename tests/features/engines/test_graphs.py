"""The cache of converted graphs: each test has one of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from features.backbones.weights import WeightsSource, find_weights
from features.downloads import cache_dir
from features.engines import ENGINES, engine_module, graphs
from features.errors import BottleneckError
from tests.tiny import BACKBONE as TINY
from tests.tiny import SHA256

ROOT = Path(__file__).parents[3]
RANDOM = WeightsSource("random", "random", None)

#: Run by Python as it starts, where its folder is on PYTHONPATH.
KNOW_TINY = """
import sys
if "features.engines.graphs" in sys.orig_argv:
    from tests.tiny import make_known
    make_known()
"""
FAIL = """
import os, sys
if "features.engines.graphs" in sys.orig_argv:
    print("out of memory", file=sys.stderr, flush=True)
    os._exit(9)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where graphs and hashes are kept for this test."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "bottlenecks"


@pytest.fixture
def at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write what converting processes run first."""

    def write(code: str) -> None:
        (tmp_path / "start").mkdir(exist_ok=True)
        (tmp_path / "start" / "sitecustomize.py").write_text(code)
        paths = [str(tmp_path / "start"), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    return write


@pytest.fixture
def converted_here(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The engines that graphs were converted for since, in this process, by no more than a file."""
    engines: list[str | None] = []

    def convert(backbone, source, engine) -> str:
        engines.append(engine)
        return graphs._convert_here(backbone, source, engine)

    monkeypatch.setattr(graphs, "_convert", convert)
    for engine in ENGINES:
        monkeypatch.setattr(
            engine_module(engine), "convert", lambda backbone, model, folder: (folder / "graph").touch()
        )
    return engines


def test_another_process_converts_with_tensorflow_whatever_the_user_s_keras_runs_on(
    cache: Path, at_start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    at_start(KNOW_TINY)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.chdir(tmp_path)
    graph = graphs.find_graph(TINY, RANDOM, "openvino")
    assert graph == (graphs._graph_path(TINY, SHA256, "openvino"), SHA256)
    assert sorted(path.name for path in graph.path.iterdir()) == [
        "graph.bin", "graph.xml", "graph_precise.xml",
    ]  # fmt: skip
    (note,) = (cache / "weights").iterdir()
    assert json.loads(note.read_text()) == {"weights": "random", "weights_sha256": SHA256}
    assert [path.name for path in (cache / "graphs").iterdir()] == [graph.path.name]


def test_a_process_that_ends_is_told_in_a_sentence_and_what_it_said_in_the_log(
    at_start, caplog: pytest.LogCaptureFixture
):
    at_start(FAIL)
    with pytest.raises(BottleneckError) as error, caplog.at_level(logging.ERROR, graphs.__name__):
        graphs.weights_sha256(TINY, RANDOM)
    assert str(error.value) == (
        "the weights random could not be converted (exit code 9): the log has the messages of TensorFlow"
    )
    assert caplog.record_tuples == [(graphs.__name__, logging.ERROR, "out of memory\n")]


def answer(source: WeightsSource, monkeypatch: pytest.MonkeyPatch, capsys) -> dict[str, str]:
    """What a converting process says, without the process."""
    facts = json.dumps(["tiny", source.name, source.spec, source.path and str(source.path), None])
    monkeypatch.setattr(graphs, "get_backbone", {"tiny": TINY}.get)
    monkeypatch.setattr(sys, "argv", ["", facts])
    graphs._main()
    return json.loads(capsys.readouterr().out)


def test_weights_of_something_else_are_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    path = tmp_path / "mine.weights.h5"
    TINY.build().save_weights(path)
    source = find_weights(str(path), TINY)
    assert answer(RANDOM, monkeypatch, capsys) == {"weights_sha256": SHA256}
    mine = answer(source, monkeypatch, capsys)["weights_sha256"]
    assert mine != SHA256 and graphs.known_sha256(TINY, source) == mine
    (note,) = [note for note in graphs._sha256_note(TINY, source).parent.glob("tiny-mine-*")]
    assert json.loads(note.read_text()) == {"weights": str(path), "weights_sha256": mine}
    path.write_text("no weights")
    assert [*answer(source, monkeypatch, capsys)] == ["error"]
    sentence = answer(source, monkeypatch, capsys)["error"]
    assert sentence.startswith(f"{path} does not hold the weights of Keras's Tiny (")
    assert graphs.known_sha256(TINY, source) is None
    with pytest.raises(BottleneckError) as error:
        monkeypatch.setattr(
            subprocess, "run", lambda *_, **__: done(json.dumps({"error": sentence}).encode())
        )
        graphs.weights_sha256(TINY, source)
    assert str(error.value) == sentence


def done(stdout: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.CompletedProcess([], 0, stdout, b"")


def test_the_converting_process_gets_the_settings_of_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    path = tmp_path / "w.h5"
    path.touch()

    def run(command, *, env, **options):
        asked.append((command, env))
        assert options == {"capture_output": True, "check": False}
        return done(b'warning\n{"weights_sha256": "abc"}\n')

    asked: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PYTHONPATH", "there")
    for level in (None, "0"):
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
        if level:
            monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
        assert graphs.weights_sha256(TINY, WeightsSource("w", "w.h5", path)) == "abc"
        command, environment = asked.pop()
        facts = json.dumps(["tiny", "w", "w.h5", str(path), None])
        assert command == [sys.executable, "-m", "features.engines.graphs", facts]
        assert environment == os.environ | {
            "PYTHONPATH": f"{Path(graphs.__file__).parents[2]}{os.pathsep}there",
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": level or "2",
        }
    monkeypatch.delenv("PYTHONPATH")
    graphs.weights_sha256(TINY, RANDOM)
    assert json.loads(asked[0][0][-1]) == ["tiny", "random", "random", None, None]
    assert asked[0][1]["PYTHONPATH"] == str(Path(graphs.__file__).parents[2])


def test_a_graph_is_converted_once_for_each_engine(cache: Path, converted_here: list[str | None]):
    first = graphs.find_graph(TINY, RANDOM, "openvino")
    assert graphs.find_graph(TINY, RANDOM, "openvino") == first
    second = graphs.find_graph(TINY, RANDOM, "tensorflow")
    assert (first.weights_sha256, second.weights_sha256) == (SHA256, SHA256)
    assert converted_here == ["openvino", "tensorflow"]
    assert sorted((cache / "graphs").iterdir()) == sorted([first.path, second.path])
    assert [path.name for path in first.path.iterdir()] == ["graph"]


def test_the_hash_alone_needs_no_graph(cache: Path, converted_here: list[str | None]):
    assert graphs.known_sha256(TINY, RANDOM) is None
    assert graphs.weights_sha256(TINY, RANDOM) == SHA256
    assert graphs.weights_sha256(TINY, RANDOM) == graphs.known_sha256(TINY, RANDOM) == SHA256
    assert converted_here == [None]
    assert not (cache / "graphs").exists()


def test_a_graph_that_another_run_has_converted_meanwhile_is_kept(converted_here: list[str | None]):
    path = graphs.find_graph(TINY, RANDOM, "openvino").path
    (path / "graph").write_text("kept")
    graphs._convert_here(TINY, RANDOM, "openvino")
    assert (path / "graph").read_text() == "kept"


def test_a_graph_is_of_its_weights_and_of_the_versions_of_its_engine(
    cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(graphs, "version", {"keras": "3", "tensorflow": "2", "openvino": "1"}.get)
    path = graphs._graph_path(TINY, "abc", "openvino")
    assert path == cache / "graphs" / "tiny-openvino-5d8364fd2b0a4f19"
    assert (
        graphs._graph_path(TINY, "abc", "tensorflow") == cache / "graphs" / "tiny-tensorflow-63c780a2485095ae"
    )
    assert graphs._graph_path(TINY, "abd", "openvino") != path
    monkeypatch.setattr(graphs, "version", {"keras": "3", "tensorflow": "2", "openvino": "2"}.get)
    assert graphs._graph_path(TINY, "abc", "openvino") != path


def test_hashes_of_this_version_are_where_its_first_run_left_them(cache: Path):
    assert graphs._sha256_note(TINY, RANDOM) == cache / "weights" / "tiny-random-2c483cd5bdadf133.json"


def test_a_changed_file_is_hashed_anew(cache: Path, tmp_path: Path):
    path = tmp_path / "mine.h5"
    other = tmp_path / "other" / "mine.h5"
    other.parent.mkdir()
    notes = set()
    for file, content, time in (
        (path, b"one", 1),
        (path, b"another", 1),
        (path, b"one", 2),
        (other, b"one", 1),
    ):
        file.write_bytes(content)
        os.utime(file, ns=(time, time))
        source = find_weights(str(file), TINY)
        assert graphs.known_sha256(TINY, source) is None
        note = graphs._sha256_note(TINY, source)
        assert note.parent == cache / "weights" and note.name.startswith("tiny-mine-")
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"weights_sha256": "abc"}))
        assert graphs.known_sha256(TINY, source) == "abc"
        notes.add(note)
    assert len(notes) == 4


def test_tests_never_share_a_cache_with_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    code = "import tests.conftest; from features.downloads import cache_dir; print(cache_dir())"
    environment = os.environ | {"KERAS_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("PYTEST_XDIST_WORKER", None)  # whose tests share a folder
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert not Path(process.stdout.strip()).is_relative_to(tmp_path)
    assert Path(process.stdout.strip()) != cache_dir()
