"""The command as users meet it: extract, train, predict and ask, and what is said of wrong input."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
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
    from features.backbones import get_backbone
    from features.backbones.network import build_network

    assert main(["train-head", "--store", str(store)]) == 0
    base = build_network(get_backbone("inception_v3"), None)
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
    assert (
        "50% of the images tried were rejected, more than --max-rejected 0.1 allows; the others are stored. "
        f"The first that are not_an_image: {tmp_path}/data/rose/bad.jpg (unknown format; it "
        "begins "
        "with b'no image'). See what these files are"
    ) in err
    assert len(feature_store.open(tmp_path / "store").metadata()) == 1
    assert main(["extract", *arguments]) == 0, "nothing was tried, so nothing failed"


def test_a_run_that_stores_nothing_fails_each_time_and_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "data" / "rose").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "data" / "rose" / f"\x1b[31m{number}.jpg").write_text("no image")
    arguments = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store"), *RANDOM]
    for _ in range(2):
        assert main(["extract", *arguments, "--max-rejected", "1"]) == 1
        out, err = capfd.readouterr()
        assert "4 images seen = 0 stored + 4 rejected" in out and "next:" not in out
        assert "nothing is stored: 4 of 4 images are rejected. The first that are not_an_image: " in err
        assert r"rose/\x1b[31m0.jpg (unknown format" in err and r"\x1b[31m2.jpg" in err
        assert "3.jpg" not in err.splitlines()[-1] and "\x1b[31m" not in err + out


@pytest.mark.parametrize("variable", ["data", "store", "weights", "layers", "features"])
def test_an_empty_variable_is_refused_by_name(
    tmp_path: Path, variable: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", f"--{variable}", ""]) == 1
    err = capfd.readouterr().err
    assert err.startswith(
        f"bottlenecks extract: {variable.upper()} is empty: give it a value, or leave it out"
    )
    assert list(tmp_path.iterdir()) == []


def test_classes_with_few_images_can_be_left_out(store: Path, capfd: pytest.CaptureFixture[str]):
    assert main(["train-head", "--store", str(store), "--min-images", "7"]) == 1
    assert (
        "0 classes of 2 in table 'inception_v3' have 7 training images or more (daisy 6, rose 6), and a head "
        "needs two: add images (about 8 of 10 go to train), or lower --min-images" in capfd.readouterr().err
    )


def test_beam_args_may_be_empty(store: Path):
    assert main(["extract", "--store", str(store), "--beam-args="]) == 0


def test_hints_repeat_the_store_and_the_table(store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    named = tmp_path / "my store"
    shutil.copytree(store / "features" / "inception_v3", named / "features" / "mine")
    shutil.copytree(store / "rejected" / "inception_v3", named / "rejected" / "mine")
    arguments = ["--store", str(named), "--features", "mine"]
    assert main(["info", *arguments]) == 0
    assert f"run `make train-head STORE='{named}' FEATURES=mine`" in capfd.readouterr().out
    assert main(["train-head", *arguments]) == 0
    assert f"next: make predict IMAGES=… STORE='{named}' FEATURES=mine\n" in capfd.readouterr().out


def test_errors_that_name_a_command_repeat_the_store_and_the_table(
    store: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert main(["train-head", "--store", str(tmp_path), "--features", "mine"]) == 1
    assert f"run `make extract STORE={tmp_path} FEATURES=mine` first" in capfd.readouterr().err
    shutil.copytree(store / "features", tmp_path / "features")
    shutil.copytree(store / "rejected", tmp_path / "rejected")
    assert main(["predict", "--store", str(tmp_path), "--images", str(photos)]) == 1
    assert f"run `make train-head STORE={tmp_path}` first" in capfd.readouterr().err


def test_predict_takes_lists_of_paths(
    store: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert main(["train-head", "--store", str(store)]) == 0
    paths = [str(path) for path in sorted(photos.rglob("*.*"))[:3]]
    (tmp_path / "paths.txt").write_text("\n".join([*paths, "missing.jpg"]))
    (tmp_path / "bare.csv").write_text("\n".join(paths))
    (tmp_path / "named.csv").write_text("\n".join(["taken_by;file", *(f"Lange;{path}" for path in paths)]))
    for name, rejected in (("paths.txt", 1), ("bare.csv", 0), ("named.csv", 0)):
        capfd.readouterr()
        url = f"file://{tmp_path}/{name}"
        assert main(["predict", "--store", str(store), "--images", url]) == 0
        out, err = capfd.readouterr()
        rows = list(csv.DictReader(io.StringIO(out)))
        assert sorted(row["uri"] for row in rows if not row["rejected"]) == paths
        assert [row["rejected"] for row in rows if row["rejected"]] == ["missing"] * rejected
        assert "3 images labelled by head" in err and f"{rejected} rejected" in err


def test_predictions_on_a_terminal_show_no_control_characters(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert main(["train-head", "--store", str(store)]) == 0
    photo(3).save(tmp_path / "\x1b[31mnew\n.png")
    outputs = []
    for terminal in (True, False):
        capfd.readouterr()
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        assert main(["predict", "--store", str(store), "--images", str(tmp_path)]) == 0
        outputs.append(capfd.readouterr().out)
    assert r"/\x1b[31mnew\n.png" in outputs[0] and len(outputs[0].splitlines()) == 2
    assert f'"{tmp_path}/\x1b[31mnew\n.png"' in outputs[1]


def test_predict_says_which_images_it_leaves_out(
    store: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert main(["train-head", "--store", str(store)]) == 0
    capfd.readouterr()
    photo(3).save(tmp_path / "new.png")
    try:
        photo(4).save(os.fsencode(tmp_path) + b"/\xff.png", "PNG")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert main(["predict", "--store", str(store), "--images", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    assert r"left out 1 image whose names are not valid UTF-8 (\xff.png): rename them" in err
    assert "1 image labelled by head" in err and "0 rejected, 1 left out" in err


def test_splits_and_classes_are_flags(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    for site in "ab":
        for label in ("cat", "dog"):
            (tmp_path / "data" / site / label).mkdir(parents=True)
            photo(ord(site) + len(label) * ord(label[0])).save(tmp_path / "data" / site / label / "1.png")
    arguments = ["extract", "--data", str(tmp_path / "data"), *RANDOM, "--precision", "float32", "--store"]
    assert main([*arguments, str(tmp_path / "store")]) == 1
    assert "--splits a=train,b=test" in capfd.readouterr().err
    assert main([*arguments, str(tmp_path / "store"), "--splits", "a=train,b=testing"]) == 0
    rows = feature_store.open(tmp_path / "store").metadata(["labels", "split"]).to_pylist()
    assert {row["split"] for row in rows if row["labels"] == ["cat"]} == {"test", "train"} or len(rows) == 4
    for wrong in ("a", "a=", "=train", "a=holdout", "a=train,a=test"):
        assert main([*arguments, str(tmp_path / "store"), "--splits", wrong]) == 1
        assert f"--splits {wrong} is not like site_a=train,site_b=test" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["extract", "--data", "/no/such/folder"], "DATA=/no/such/folder does not exist"),
        (["extract", "--layers", "mixed11"], "unknown layer 'mixed11'"),
        (["extract", "--weights", "/no/such.h5"], "there is no weights file /no/such.h5"),
        (["extract", "--views", "2"], "VIEWS=2"),
        (["extract", "--beam-args=--no_such_flag"], "Beam doesn't know --no_such_flag"),
        (["train-head"], "run `make extract STORE="),
        (["predict", "--images", "/no/such/folder"], "IMAGES=/no/such/folder"),
        (["predict", "--images", "gs://bucket/x"], "gs://bucket/x is remote, which is not supported yet"),
        (["info"], "run `make extract STORE="),
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


@pytest.mark.parametrize("command", ["extract", "train-head", "predict", "info"])
@pytest.mark.parametrize("flag", ["--store", "--data", "--weights", "--images", "--output"])
@pytest.mark.parametrize("url", ["s3://bucket/x.csv", "gs://bucket/x.csv"])
def test_what_is_remote_is_refused_in_a_sentence_and_nothing_is_made(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    flag: str,
    url: str,
    capfd: pytest.CaptureFixture[str],
):
    flags = {
        "extract": {"--store": "store", "--data": str(photos), "--weights": "random"},
        "predict": {"--store": "store", "--images": str(photos), "--weights": "random", "--output": "x.csv"},
    }.get(command, {"--store": "store"})
    if flag not in flags:
        return
    monkeypatch.chdir(tmp_path)
    assert main([command, *(part for pair in (flags | {flag: url}).items() for part in pair)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        f"bottlenecks {command}: {url} is remote, which is not supported yet: "
        f"give a local path, or copy it here first\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_predict_fails_when_it_labels_nothing_and_refuses_a_folder_as_output_before_work(
    store: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert main(["train-head", "--store", str(store)]) == 0
    (tmp_path / "bad.jpg").write_text("no image")
    capfd.readouterr()
    assert main(["predict", "--store", str(store), "--images", str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert "not_an_image" in out
    assert f"none of the 1 image of IMAGES={tmp_path} could be labelled: the column 'rejected'" in err
    (tmp_path / "x.csv").mkdir()
    arguments = ["--images", str(photos), "--output", str(tmp_path / "x.csv")]
    assert main(["predict", "--store", str(store), *arguments]) == 1
    assert "x.csv: this is a folder, expected the name of a file" in capfd.readouterr().err


@pytest.mark.parametrize("store", ["/dev/null", "/dev/null/store"])
def test_a_store_that_can_not_be_made_gets_a_sentence(
    photos: Path, store: str, capfd: pytest.CaptureFixture[str]
):
    assert main(["extract", "--data", str(photos), "--store", store, *RANDOM]) == 1
    err = capfd.readouterr().err
    assert err.startswith("bottlenecks extract: ") and "/dev/null" in err and "unexpected" not in err


def test_a_negative_seed_is_refused(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train-head", "--seed", "-1"])
    assert "'-1' is not a whole number from 0 up" in capfd.readouterr().err


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
