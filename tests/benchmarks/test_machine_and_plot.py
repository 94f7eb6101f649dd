"""What needs the packages of the benchmark: skipped where they are not installed."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.figures import Row
from benchmarks.machine import describe_machine, machine_text


def test_the_machine_is_told_in_words(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Some CPU\nflags\t\t: fpu amx_bf16 sse\n")
    machine = describe_machine(cpuinfo)
    assert machine["bfloat16"] == ["amx_bf16"]
    text = machine_text(machine)
    assert text.startswith("Some CPU, ") and "amx_bf16" in text and "openvino " in text


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.plot import save_plot

    rows = [Row(f"way {one}", "float32", 9, one, one, 1.0, 1e9, 1.0, 1.0) for one in (3.0, 2.0)]
    save_plot(rows, 9, "a machine", tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert min(picture.size) > 300
