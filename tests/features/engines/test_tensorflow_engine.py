"""The engine around a small network; that it computes each backbone's features is in `test_parity`."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from features.engines import tensorflow_engine
from features.engines.tensorflow_engine import convert, load
from features.machine import processor_has_bfloat16
from tests.tiny import BACKBONE as TINY


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[tf.compat.v1.Session]:
    """The sessions that `load` makes."""
    made = []
    session = tf.compat.v1.Session

    def note_and_make(**options) -> tf.compat.v1.Session:
        made.append(session(**options))
        return made[-1]

    monkeypatch.setattr(tf.compat.v1, "Session", note_and_make)
    return made


def machine(monkeypatch: pytest.MonkeyPatch, **answers: bool | int) -> None:
    for name, answer in answers.items():
        monkeypatch.setattr(tensorflow_engine, name, lambda answer=answer: answer)


def batch(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (8, *TINY.input_shape)).astype(np.float32)


def test_a_conversion_leaves_a_graph_and_what_is_where_in_it(tmp_path: Path, model: keras.Model):
    graph = tmp_path
    convert(TINY, model, graph)
    assert sorted(path.name for path in graph.iterdir()) == ["graph.json", "graph.pb"]
    facts = json.loads((graph / "graph.json").read_text())
    assert facts["outputs"] == {"early": "Identity:0", "avg_pool": "Identity_1:0"}
    (convolution,) = facts["float32_convolutions"]
    assert "early" in convolution
    expected = dict(zip(TINY.layers, model(batch()), strict=True))
    for layer in TINY.layers:
        (features,) = load(graph, (layer,), "float32").infer(batch())
        np.testing.assert_allclose(features, expected[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [("early", "avg_pool"), ("avg_pool",), ("avg_pool", "early")])
def test_the_layers_asked_for_come_in_the_order_asked(
    graph: Path, model: keras.Model, layers: tuple[str, ...]
):
    engine = load(graph, layers, "float32")
    assert (engine.name, engine.precision, engine.batch_size) == ("tensorflow", "float32", 8)
    expected = dict(zip(TINY.layers, model(batch()), strict=True))
    features = engine.infer(batch())
    assert [rows.shape for rows in features] == [(8, TINY.layers[layer]) for layer in layers]
    for layer, rows in zip(layers, features, strict=True):
        np.testing.assert_allclose(rows, expected[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("amx", [False, True])
def test_bfloat16_is_close_where_there_is_any(
    graph: Path, model: keras.Model, monkeypatch: pytest.MonkeyPatch, amx: bool
):
    machine(monkeypatch, processor_has_amx=amx)
    engine = load(graph, ("avg_pool",), "bfloat16")
    assert engine.precision == ("bfloat16" if processor_has_bfloat16() else "float32")
    (features,), expected = engine.infer(batch()), model(batch())[-1].numpy()
    np.testing.assert_allclose(features, expected, rtol=0.05, atol=0.02)
    exact = np.array_equal(features, load(graph, ("avg_pool",), "float32").infer(batch())[0])
    assert exact == (engine.precision == "float32")


@pytest.mark.parametrize(
    "precision, bfloat16, amx, used, fused",
    [
        ("float32", True, False, "float32", []),
        ("bfloat16", False, False, "float32", []),
        ("bfloat16", True, True, "bfloat16", []),
        ("bfloat16", True, False, "bfloat16", ["early"]),
    ],
)
def test_convolutions_are_kept_precise_for_bfloat16_that_adds_up_inexactly(
    graph: Path, monkeypatch: pytest.MonkeyPatch, sessions: list[tf.compat.v1.Session],
    precision: str, bfloat16: bool, amx: bool, used: str, fused: list[str],
):  # fmt: skip
    machine(monkeypatch, processor_has_amx=amx, processor_has_bfloat16=bfloat16)
    assert load(graph, ("avg_pool",), precision).precision == used
    operations = [one for one in sessions[0].graph.get_operations() if one.type == "_FusedConv2D"]
    assert [name for one in operations for name in ("early", "late") if name in one.name] == fused
    rewriter = sessions[0]._config.graph_options.rewrite_options
    on = rewriter.ON if precision == "bfloat16" else rewriter.OFF
    assert rewriter.auto_mixed_precision_onednn_bfloat16 == on


def test_a_precise_convolution_gives_what_it_gave(graph: Path):
    frozen = tf.compat.v1.GraphDef()
    frozen.ParseFromString((graph / "graph.pb").read_bytes())
    names = [node.name for node in frozen.node if node.op == "Conv2D"]
    outputs = []
    for kept in ([], names):
        changed = tf.compat.v1.GraphDef()
        changed.CopyFrom(frozen)
        tensorflow_engine._keep_precise(changed, kept)
        with tf.Graph().as_default() as whole:
            tf.graph_util.import_graph_def(changed, name="")
        with tf.compat.v1.Session(graph=whole) as session:
            outputs.append(session.run("Identity_1:0", {"pixels:0": batch()}))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)
    fused = {node.name: node for node in changed.node if node.op == "_FusedConv2D"}
    assert [*fused] == names
    assert all(node.attr["fused_ops"].list.s == [b"BiasAdd"] for node in fused.values())


@pytest.mark.parametrize("usable, allowed, threads", [(4, 4, 0), (3, 4, 3)])
def test_a_container_s_quota_bounds_the_threads(
    graph: Path, monkeypatch: pytest.MonkeyPatch, sessions: list[tf.compat.v1.Session],
    usable: int, allowed: int, threads: int,
):  # fmt: skip
    machine(monkeypatch, usable_cores=usable, allowed_cores=allowed)
    load(graph, ("avg_pool",), "float32")
    assert sessions[0]._config.intra_op_parallelism_threads == threads


@pytest.mark.parametrize("cores, streams", [(1, 2), (8, 2), (12, 3), (64, 16)])
def test_many_cores_get_more_calls_at_once(
    graph: Path, monkeypatch: pytest.MonkeyPatch, cores: int, streams: int
):
    machine(monkeypatch, usable_cores=cores, allowed_cores=cores)
    assert load(graph, ("avg_pool",), "float32").streams == streams


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_gets_large_batches_and_tensorfloat_32_for_bfloat16(
    graph: Path, monkeypatch: pytest.MonkeyPatch, precision: str
):
    switched: list[bool] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "enable_tensor_float_32_execution", switched.append)
    machine(monkeypatch, usable_cores=64, allowed_cores=64, processor_has_bfloat16=True)
    engine = load(graph, ("avg_pool",), precision)
    assert (engine.precision, engine.batch_size, engine.streams) == ("float32", 64, 2)
    assert switched == [precision == "bfloat16"]


def test_a_session_ends_with_its_engine(graph: Path, sessions: list[tf.compat.v1.Session]):
    engine = load(graph, ("avg_pool",), "float32")
    assert not sessions[0]._closed
    del engine
    assert sessions[0]._closed
