"""The benchmark as it is run, on a few generated images and random weights."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import extraction
from benchmarks.report import Report
from benchmarks.setting import Bench


def run(output: Path, photos: Path, *arguments: str) -> str:
    """Run the command; the report that it saved."""
    needed = [f"--data={photos}", "--weights=random", f"--output={output}", "--rounds=1"]
    assert command.main([*needed, *arguments]) == 0
    return (output / "BENCHMARKS.md").read_text()


@pytest.mark.slow
def test_a_quick_benchmark(photos: Path, tmp_path: Path) -> None:
    text = run(tmp_path, photos, "--quick", "--images=64")
    assert "Made with `make bench-quick ARGS='--rounds 1 --images 64'`, with 64 images of " in text
    results = json.loads((tmp_path / "results.json").read_text())
    runs = results["extraction"]
    assert {one["way"] for one in runs} >= {"ours", "ours-float32", "keras-guide", "beam-inference"}
    assert {one["images"] for one in runs} == {64, 40}
    for one in runs:
        assert 0 < one["first"] <= one["written"] <= one["seconds"]
    assert results["accuracy"]["ours-float32"]["relative_error"] < 1e-3
    assert text.count("bare OpenVINO loop, float32") == 2


@pytest.mark.slow
def test_the_other_ways_and_sections(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")

    def add_stages(report: Report, bench: Bench, *, large: bool) -> None:
        report.add(extraction.stages(bench))

    monkeypatch.setattr(command, "_add_sections", add_stages)
    text = run(tmp_path, photos, "--images=64")
    for expected in ("ONNX Runtime", "plain Beam DoFn", "TensorFlow engine", "## Where the time goes"):
        assert expected in text
    assert {"decode", "infer"} <= set(json.loads((tmp_path / "results.json").read_text())["stages"])


def test_a_wrong_input_is_an_error_of_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([f"--data={tmp_path}/nowhere", "--weights=random", f"--output={tmp_path}"]) == 1
    assert "bench: DATA=" in capsys.readouterr().err
    for wrong, reason in (("--rounds=0", "'0' is not a whole number"), ("--large", "not allowed with")):
        with pytest.raises(SystemExit):
            command.main(["--quick", wrong])
        assert reason in capsys.readouterr().err
