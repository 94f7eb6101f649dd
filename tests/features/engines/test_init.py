from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from features import engines
from features.engines import ENGINES, choose_engine, engine_module, load_engine
from features.errors import BottleneckError


@pytest.mark.parametrize("gpu", [True, False])
def test_auto_is_tensorflow_where_there_is_a_gpu_and_openvino_elsewhere(
    monkeypatch: pytest.MonkeyPatch, gpu: bool
):
    monkeypatch.setattr(os.path, "exists", lambda path: gpu and path == "/dev/nvidia0")
    assert choose_engine("auto") == ("tensorflow" if gpu else "openvino")
    assert [choose_engine(name) for name in ENGINES] == ["tensorflow", "openvino"]


def test_an_unknown_engine_lists_the_known_ones():
    with pytest.raises(BottleneckError) as error:
        choose_engine("onnx")
    assert str(error.value) == "there is no engine 'onnx': choose from auto, tensorflow, openvino"


def test_an_engine_is_the_module_of_its_name(tmp_path, monkeypatch: pytest.MonkeyPatch):
    assert engine_module("openvino").__name__ == "features.engines.openvino_engine"
    module = SimpleNamespace(load=lambda *given: given)
    monkeypatch.setattr(engines, "engine_module", {"mine": module}.get)
    assert load_engine("mine", tmp_path, ("late", "early"), "bfloat16") == (
        tmp_path, ("late", "early"), "bfloat16",
    )  # fmt: skip
