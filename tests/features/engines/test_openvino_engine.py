"""The engine around a small network; that it computes each backbone's features is in `test_parity`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import openvino
import pytest

from features.engines import openvino_engine
from features.engines.openvino_engine import OpenVinoEngine, convert, load
from tests.tiny import BACKBONE as TINY

BFLOAT16 = (
    "bfloat16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "float32"
)


def batch(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (8, *TINY.input_shape)).astype(np.float32)


def setting(engine: OpenVinoEngine, name: str) -> Any:
    return engine._compiled.get_property(name)


def convolutions(path: Path) -> list[ElementTree.Element]:
    layers = ElementTree.parse(path).getroot().iter("layer")
    return [layer for layer in layers if layer.get("type") == "Convolution"]


def test_a_conversion_leaves_two_graphs_of_the_same_float32_weights(tmp_path: Path, model: keras.Model):
    convert(TINY, model, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["graph.bin", "graph.xml", "graph_precise.xml"]
    size = 4 * sum(int(np.prod(array.shape)) for array in model.get_weights())
    assert 0.9 * size < (tmp_path / "graph.bin").stat().st_size < 1.1 * size
    plain, precise = (convolutions(tmp_path / name) for name in names[1:])
    channels = [[dim.text for dim in layer.iterfind("input/port/dim")][1] for layer in plain]
    assert channels == ["3", "8"]
    assert [layer.find("rt_info/attribute[@name='precise']") is None for layer in plain] == [True, True]
    attributes = [[one.attrib for one in layer.iterfind("rt_info/attribute")] for layer in precise]
    assert attributes == [[{"name": "precise", "version": "0"}], []]
    assert [child.tag for child in precise[0]] == ["data", "rt_info", "input", "output"]
    expected = dict(zip(TINY.layers, model(batch(0)), strict=True))
    for layer in TINY.layers:
        (features,) = load(tmp_path, (layer,), "float32").infer(batch(0))
        np.testing.assert_allclose(features, expected[layer], rtol=1e-4, atol=1e-5)


def test_convolutions_are_marked_by_their_place_among_convolutions():
    convolution = '<layer type="Convolution"><data />{mark}<input /></layer>'
    graph = f'<net><layer type="Add" />{convolution * 3}</net>'
    mark = '<rt_info><attribute name="precise" version="0" /></rt_info>'
    marks = ["", mark, mark]
    assert openvino_engine._keep_precise(graph.replace("{mark}", ""), (1, 2)) == (
        '<net><layer type="Add" />' + "".join(convolution.format(mark=mark) for mark in marks) + "</net>"
    )


@pytest.mark.parametrize("layers", [("early", "avg_pool"), ("avg_pool",), ("avg_pool", "early")])
def test_the_layers_asked_for_come_in_the_order_asked(
    graph: Path, model: keras.Model, layers: tuple[str, ...]
):
    engine = load(graph, layers, "float32")
    assert (engine.name, engine.precision, engine.batch_size) == ("openvino", "float32", 8)
    expected = dict(zip(TINY.layers, model(batch(0)), strict=True))
    features = engine.infer(batch(0))
    assert [rows.shape for rows in features] == [(8, TINY.layers[layer]) for layer in layers]
    for layer, rows in zip(layers, features, strict=True):
        np.testing.assert_allclose(rows, expected[layer], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_close_where_there_is_any(graph: Path, model: keras.Model):
    engine = load(graph, ("avg_pool",), "bfloat16")
    assert engine.precision == BFLOAT16
    (features,), expected = engine.infer(batch(0)), model(batch(0))[-1].numpy()
    np.testing.assert_allclose(features, expected, rtol=0.05, atol=0.02)
    assert np.array_equal(features, load(graph, ("avg_pool",), "float32").infer(batch(0))[0]) == (
        engine.precision == "float32"
    )


def test_a_processor_without_bfloat16_computes_in_float32(graph: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino_engine, "_has_bfloat16", lambda core: False)
    engine = load(graph, ("avg_pool",), "bfloat16")
    assert engine.precision == "float32"
    assert setting(engine, "INFERENCE_PRECISION_HINT") == openvino.Type.f32


@pytest.mark.parametrize(
    "precision, amx, name",
    [
        ("float32", False, "graph.xml"),
        ("float32", True, "graph.xml"),
        ("bfloat16", True, "graph.xml"),
        ("bfloat16", False, "graph_precise.xml"),
    ],
)
def test_the_precise_graph_is_for_bfloat16_that_adds_up_inexactly(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, amx: bool, name: str
):
    monkeypatch.setattr(openvino_engine, "processor_has_amx", lambda: amx)
    for file in ("graph.bin", name):
        (tmp_path / file).symlink_to(graph / file)
    load(tmp_path, ("avg_pool",), precision)  # it misses no other file


def test_calls_from_many_threads_keep_their_own_results(graph: Path):
    engine = load(graph, ("avg_pool",), "float32")
    expected = [engine.infer(batch(seed))[0] for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        seeds = [seed % 4 for seed in range(64)]
        for seed, (features,) in zip(
            seeds, pool.map(lambda seed: engine.infer(batch(seed)), seeds), strict=True
        ):
            np.testing.assert_array_equal(features, expected[seed])
    assert not np.array_equal(expected[0], expected[1])


def test_as_many_streams_as_keep_the_cores_busy(graph: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino_engine, "usable_cores", lambda: 4)
    monkeypatch.setattr(openvino_engine, "allowed_cores", lambda: 4)
    engine = load(graph, ("avg_pool",), "float32")
    assert setting(engine, "PERFORMANCE_HINT") == "THROUGHPUT"
    assert engine.streams == setting(engine, "OPTIMAL_NUMBER_OF_INFER_REQUESTS") >= 1
    assert setting(engine, "INFERENCE_NUM_THREADS") != 1


def test_a_container_s_quota_bounds_the_threads_and_pins_none(graph: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino_engine, "usable_cores", lambda: 1)
    monkeypatch.setattr(openvino_engine, "allowed_cores", lambda: 2)
    engine = load(graph, ("avg_pool",), "float32")
    assert setting(engine, "INFERENCE_NUM_THREADS") == 1
    assert setting(engine, "ENABLE_CPU_PINNING") is False
    assert setting(engine, "PERFORMANCE_HINT") == "THROUGHPUT"
    assert setting(engine, "INFERENCE_PRECISION_HINT") == openvino.Type.f32


@pytest.mark.parametrize(
    "nodes, precision",
    [
        ([("Convolution", "f32"), ("Convolution", "bf16"), (None, "")], "bfloat16"),
        ([("Convolution", "f32"), ("Reorder", "bf16")], "float32"),
        ([], "float32"),
    ],
)
def test_the_precision_is_that_of_the_convolutions(nodes: list[tuple[str | None, str]], precision: str):
    def node(kind: str | None, precision: str) -> SimpleNamespace:
        facts = {"layerType": kind, "runtimePrecision": precision} if kind else {}
        values = {name: SimpleNamespace(astype=lambda _, value=value: value) for name, value in facts.items()}
        return SimpleNamespace(get_rt_info=lambda: values)

    model = SimpleNamespace(get_ops=lambda: [node(*facts) for facts in nodes])
    compiled: Any = SimpleNamespace(get_runtime_model=lambda: model)
    assert openvino_engine._precision_used(compiled) == precision
