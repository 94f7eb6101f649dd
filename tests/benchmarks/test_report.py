"""The report's files."""

import json
from pathlib import Path

from benchmarks.report import INTRODUCTION, Report, Section


def test_each_section_is_printed_and_on_the_disk_at_once(tmp_path: Path, capsys) -> None:
    report = Report(tmp_path, "make bench", "Some CPU", "9 images")
    assert "Made with `make bench`, with 9 images." in (tmp_path / "BENCHMARKS.md").read_text()
    report.add(Section("heads", "Heads", "| a table |", {"keras": [{"seconds": 1.5}]}))
    text = (tmp_path / "BENCHMARKS.md").read_text()
    assert text.startswith("# Benchmarks\n") and text.endswith("\n\n## Heads\n\n| a table |\n")
    assert "## Heads\n\n| a table |" in capsys.readouterr().out
    figures = json.loads((tmp_path / "results.json").read_text())
    assert figures["heads"] == {"keras": [{"seconds": 1.5}]} and figures["machine"] == "Some CPU"


def test_the_page_of_the_repository_is_a_report() -> None:
    page = (Path(__file__).parents[2] / "BENCHMARKS.md").read_text()
    assert page.startswith(INTRODUCTION) and "\n## Extraction\n" in page
