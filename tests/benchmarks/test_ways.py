"""The list of ways, and what may not depend on the benchmark."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

from benchmarks import network, rounds
from benchmarks.ways import NAMES, OURS, WAYS
from features.backbones import get_backbone

ROOT = Path(__file__).parents[2]


def test_every_way_has_an_id_and_a_program_and_every_program_is_measured() -> None:
    assert len(NAMES) == len({way.name for way in WAYS}) == len(WAYS)
    programs = {path.stem for path in (ROOT / "benchmarks" / "ways").glob("*.py")}
    assert {way.module for way in WAYS} == programs - {"__init__", "common"}


def test_what_the_processor_cannot_do_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "processor_has_bfloat16", lambda: False)
    slow = rounds.ways(quick=False)
    assert slow[0] is OURS and not any(way.precision == "bfloat16" for way in slow)
    monkeypatch.setattr(rounds, "processor_has_bfloat16", lambda: True)
    assert rounds.ways(quick=False) == list(WAYS)
    assert {way.id for way in rounds.ways(quick=True)} >= {"ours", "openvino-loop", "keras-guide"}
    assert all(way.quick_images for way in rounds.ways(quick=True))


def test_what_the_programs_share_imports_nothing_heavy() -> None:
    code = "import sys, benchmarks.ways.common; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert {"numpy", "pyarrow", "keras", "tensorflow", "openvino"}.isdisjoint(loaded)


def test_the_benchmark_is_not_part_of_the_distribution() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    include = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = find_packages(str(ROOT), include=include)
    assert "features" in packages and not [name for name in packages if name.startswith("benchmarks")]
    for room in ("features", "heads", "pipelines"):
        for path in (ROOT / room).rglob("*.py"):
            assert not _imports_benchmarks(path), path


def _imports_benchmarks(path: Path) -> bool:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return any(name.partition(".")[0] == "benchmarks" for name in names)


def test_the_network_is_as_the_project_knows_it() -> None:
    backbone = get_backbone(network.NAME)
    assert (backbone.input_size, backbone.layers[network.LAYER]) == (network.SIZE, network.WIDTH)
