"""The benchmark as it is run, on a few generated images and random weights."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main

pytest.importorskip("matplotlib")
pytest.importorskip("psutil")


def run(output: Path, photos: Path, *arguments: str) -> str:
    """Run the command; the table that it saved."""
    needed = [f"--data={photos}", "--weights=random", f"--output={output}", "--rounds=1"]
    assert main([*needed, *arguments]) == 0
    return (output / "table.md").read_text()


@pytest.mark.slow
def test_a_quick_benchmark(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = run(tmp_path, photos, "--quick", "--images=64")
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in table.splitlines() if line not in shown] == []
    results = json.loads((tmp_path / "results.json").read_text())
    runs = results["extraction"]["runs"]
    assert {one["images"] for one in runs} == {64, 40}
    for one in runs:
        assert 0 < one["first"] <= one["last"] <= one["written"] <= one["seconds"]
        assert one["way"] in table
    assert (tmp_path / "plot.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_other_ways_and_sections(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from benchmarks import extraction_sections

    chosen = {name: getattr(extraction_sections, name) for name in ("engines", "stages")}
    monkeypatch.setattr("benchmarks.benchmark.chosen_sections", lambda **_: chosen)
    table = run(tmp_path, photos, "--images=64")
    for title in ("ONNX Runtime", "plain Beam DoFn", "float32 against Keras", "Threads' time by stage"):
        assert title in table


def test_a_wrong_input_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--data={tmp_path}/nowhere", "--weights=random", f"--output={tmp_path}"]) == 1
    assert "bench: DATA=" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--rounds=0"])
    assert "'0' is not a whole number" in capsys.readouterr().err
