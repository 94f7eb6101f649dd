"""The command as users meet it: extract, train, predict and ask, and what is said of wrong input."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features import store as feature_store
from pipelines.cli import main
from tests.conftest import photo

RANDOM = ["--weights", "random", "--engine", "openvino"]


@pytest.fixture(scope="module")
def store(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the photos' features; a CSV gives the splits, so that both classes have test images."""
    folder = tmp_path_factory.mktemp("cli")
    lines = ["uri,labels,split"]
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        split = ("train", "train", "train", "validation", "test")[number % 5]
        lines.append(f"{path},{path.parent.name},{split}")
    (folder / "photos.csv").write_text("\n".join(lines))
    arguments = [
        "--data",
        str(folder / "photos.csv"),
        "--store",
        str(folder / "store"),
        "--precision",
        "float32",
    ]
    assert main(["extract", *arguments, *RANDOM]) == 0
    return folder / "store"


def test_extract_ends_with_what_was_seen_and_what_to_run_next(store: Path, capfd: pytest.CaptureFixture[str]):
    assert main(["extract", "--store", str(store)]) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[:2] == ["20 images seen = 20 stored + 0 rejected", "nothing new to extract"]
    assert f"next:     make train-head STORE={store}" in lines
    assert err.startswith("UNTRAINED WEIGHTS") and lines[-1].startswith("UNTRAINED WEIGHTS")


@pytest.mark.parametrize("kind", ["logistic", "dense"])
def test_train_predict_and_info(
    store: Path, photos: Path, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
):
    assert main(["train-head", "--store", str(store), "--head", kind]) == 0
    out = capfd.readouterr().out
    assert "accuracy" in out and "majority class" in out and "rose" in out

    (tmp_path / "broken.jpg").write_text("no image")
    (tmp_path / "deep, er").mkdir()
    photo(3).save(tmp_path / "new.png")
    photo(4).save(tmp_path / "deep, er" / "other.png")
    assert main(["predict", "--store", str(store), "--images", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    rows = {Path(row["uri"]).name: row for row in csv.DictReader(io.StringIO(out))}
    assert rows["broken.jpg"]["rejected"] == "not_an_image" and rows["broken.jpg"]["label"] == ""
    new = rows["new.png"]
    probabilities = {label: float(new[f"probability_{label}"]) for label in ("daisy", "rose")}
    assert abs(sum(probabilities.values()) - 1) < 1e-5
    assert new["label"] == max(probabilities, key=lambda label: probabilities[label])
    assert float(new["probability"]) == max(probabilities.values())
    assert "2 images labelled" in err and "1 rejected" in err and set(rows) >= {"other.png"}

    target = tmp_path / "predictions.parquet"
    assert main(["predict", "--store", str(store), "--images", str(photos), "--output", str(target)]) == 0
    assert pq.read_table(target).num_rows == 20

    capfd.readouterr()
    assert main(["info", "--store", str(store)]) == 0
    out = capfd.readouterr().out
    assert "20 rows, 0 rejected" in out and f"{kind}" in out and "(current)" in out
    counts = next(line.split() for line in out.splitlines() if line.split()[:1] == ["daisy"])
    assert counts[1:] == ["6", "2", "2", "10"]


def test_a_head_refuses_another_backbone(
    store: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    from features.backbone import build_backbone

    assert main(["train-head", "--store", str(store)]) == 0
    base = build_backbone(None)
    base.set_weights([array + 0.01 for array in base.get_weights()])
    base.save_weights(tmp_path / "other.weights.h5")
    arguments = ["--images", str(photos), "--weights", str(tmp_path / "other.weights.h5")]
    assert main(["predict", "--store", str(store), *arguments]) == 1
    assert "built on features made another way: weights_sha256" in capfd.readouterr().err


def test_too_many_bad_images_fail_the_run_after_storing_the_good_ones(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "data" / "rose").mkdir(parents=True)
    photo(1).save(tmp_path / "data" / "rose" / "good.jpg")
    (tmp_path / "data" / "rose" / "bad.jpg").write_text("no image")
    arguments = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store"), *RANDOM]
    assert main(["extract", *arguments]) == 1
    out, err = capfd.readouterr()
    assert "2 images seen = 1 stored + 1 rejected" in out and "1 not_an_image" in out
    assert "50% of the images tried were rejected, more than --max-rejected 0.1 allows" in err
    assert len(feature_store.open(tmp_path / "store").metadata()) == 1
    assert main(["extract", *arguments]) == 0, "nothing was tried, so nothing failed"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["extract", "--data", "/no/such/folder"], "DATA=/no/such/folder does not exist"),
        (["extract", "--layers", "mixed11"], "unknown layer 'mixed11'"),
        (["extract", "--weights", "/no/such.h5"], "there is no weights file /no/such.h5"),
        (["extract", "--views", "2"], "VIEWS=2"),
        (["extract", "--beam-args=--no_such_flag"], "Beam doesn't know --no_such_flag"),
        (["train-head"], "run `make extract` first"),
        (["predict", "--images", "/no/such/folder"], "IMAGES=/no/such/folder"),
        (["info"], "run `make extract` first"),
    ],
)
def test_wrong_input_gets_one_sentence(
    photos: Path, tmp_path: Path, arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]
):
    if arguments[0] == "extract" and "--data" not in arguments:
        arguments = [*arguments, "--data", str(photos)]
    assert main([*arguments, "--store", str(tmp_path / "store")]) == 1
    err = capfd.readouterr().err
    assert told in err and "Traceback" not in err
    assert not (tmp_path / "store" / "features").exists()


def test_an_unknown_flag_is_an_error(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["info", "--no-such-flag"])
    assert stop.value.code == 2
    assert "--no-such-flag" in capfd.readouterr().err


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


HEAVY = ["tensorflow", "keras", "openvino", "apache_beam"]


@pytest.mark.parametrize("arguments", [["extract"], ["info"], ["train-head"]])
def test_light_commands_import_nothing_heavy(store: Path, arguments: list[str]):
    code = (
        "import json, sys\nfrom pipelines.cli import main\n"
        f"code = main({[*arguments, '--store', str(store)]!r})\n"
        f"print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


def test_ctrl_c_ends_cleanly_and_the_next_run_continues(tmp_path: Path):
    data = tmp_path / "data" / "rose"
    data.mkdir(parents=True)
    for number in range(60):
        photo(number).save(data / f"{number}.png")
    arguments = command(
        "extract", "--data", str(data.parent), "--store", str(tmp_path / "store"),
        "--chunk-size", "4", "--precision", "float32", *RANDOM,
    )  # fmt: skip
    running = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True)
    log = tmp_path / "store" / "features" / "inception_v3" / "_delta_log"
    while running.poll() is None and len(list(log.glob("*.json"))) < 3:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "stopped; what was committed stays" in err and "Traceback" not in err
    stored = len(feature_store.open(tmp_path / "store").metadata())
    assert 8 <= stored < 60 and stored % 4 == 0
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=True)
    assert "60 images seen = 60 stored" in done.stdout
    assert f"{60 - stored} extracted by this run" in done.stdout
