"""The machine that was measured on."""

from pathlib import Path

from benchmarks.machine import describe_machine


def test_the_machine_is_described_in_words(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Some CPU\nflags\t\t: fpu amx_bf16 sse\n")
    text = describe_machine(cpuinfo)
    assert text.startswith("Some CPU, ") and ", amx_bf16, " in text and "openvino " in text
    cpuinfo.write_text("model name\t: Some CPU\nflags\t\t: fpu sse\n")
    assert ", no bfloat16 units, " in describe_machine(cpuinfo)
