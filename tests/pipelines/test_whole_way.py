"""From images to labels with the network that is the default, by the command alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from heads import load_head
from pipelines.cli import main


def test_the_whole_way_with_inception_v3(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    lines = ["uri,labels,split"]
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        split = ("train", "train", "train", "validation", "test")[number % 5]
        lines.append(f"{path},{path.parent.name},{split}")
    (tmp_path / "photos.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert (
        main(["extract", "--data=photos.csv", "--weights=random", "--engine=openvino", "--precision=float32"])
        == 0
    )
    assert "20 images seen = 20 stored + 0 rejected\n20 extracted by this run in " in capfd.readouterr().out
    assert main(["train-head", "--set", "C=10"]) == 0
    assert main(["predict", f"--images={photos}", "--engine=openvino", "--output=labels.csv"]) == 0
    rows = list(csv.DictReader((tmp_path / "labels.csv").read_text().splitlines()))
    assert [row["uri"] for row in rows] == sorted(str(path) for path in photos.rglob("*.*"))
    fitted = [row for number, row in enumerate(rows) if number % 5 != 4]
    assert [row["label"] for row in fitted] == [Path(row["uri"]).parent.name for row in fitted]
    capfd.readouterr()
    assert main(["info"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "inception_v3  (version 1, 20 rows, 0 rejected images)"
    assert [line.split() for line in lines if "daisy" in line] == [["daisy", "6", "2", "2", "10"]]
    assert f"{load_head(tmp_path / 'store').id} (current): test accuracy " in lines[-1]
