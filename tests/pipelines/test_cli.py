"""The command as users meet it: its parts together, its exit codes, and what is said of wrong input."""

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
from importlib.metadata import version
from pathlib import Path

import pytest

from features import store as feature_store
from features.backbones.weights import UNTRAINED
from features.errors import (
    BottleneckError,
    DriftExceeded,
    InputShrunk,
    MadeAnotherWay,
    TooManyRejected,
)
from heads import load_head
from pipelines import cli
from pipelines.cli import main
from tests.conftest import photo

ROOT = Path(__file__).parents[2]
OLD_STORE = ROOT / "tests" / "fixtures" / "old_store" / "store"


def make_csv(folder: Path, photos: Path) -> Path:
    """A CSV of the photos that gives their splits, so that both classes have images of each."""
    lines = ["uri,labels,split"]
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        split = ("train", "train", "train", "validation", "test")[number % 5]
        lines.append(f"{path},{path.parent.name},{split}")
    (folder / "photos.csv").write_text("\n".join(lines))
    return folder / "photos.csv"


def extraction(data: Path, store: Path) -> list[str]:
    """The arguments that make a table of the tiny backbone."""
    how = ["--backbone=tiny", "--weights=random", "--engine=openvino", "--precision=float32"]
    return ["extract", f"--data={data}", f"--store={store}", *how]


@pytest.fixture(scope="module")
def store(tiny: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the photos' features of two layers."""
    folder = tmp_path_factory.mktemp("cli")
    assert main([*extraction(make_csv(folder, photos), folder / "store"), "--layers=early,avg_pool"]) == 0
    return folder / "store"


@pytest.fixture
def tiny_store(store: Path) -> list[str]:
    return [f"--store={store}", "--backbone=tiny"]


def test_extract_ends_with_what_was_seen_and_what_to_run_next(
    store: Path, tiny_store: list[str], capfd: pytest.CaptureFixture[str]
):
    assert main(["extract", *tiny_store, "--beam-args="]) == 0
    out, err = capfd.readouterr()
    recipe = feature_store.open(store, "tiny").recipe
    assert out == (
        "20 images seen = 20 stored + 0 rejected\n"
        "nothing new to extract\n"
        f"recipe:   tiny, weights random (sha256 {recipe.weights_sha256[:12]}…), float32\n"
        f"features: {store}/features/tiny (version 1)\n"
        f"next:     make train-head LAYERS=early,avg_pool STORE={store} BACKBONE=tiny\n"
        f"{UNTRAINED}\n"
    )
    first, _, last = err.splitlines()
    assert (first, last) == (UNTRAINED, "20 images of 2 classes (daisy, rose); nothing is new or changed")


def test_flags_reach_the_training_and_the_prediction(
    store: Path, tiny_store: list[str], photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert main(["train-head", *tiny_store, "--layers=early", "--seed=3", "--set=C=10"]) == 0
    early = load_head(store, "tiny")
    assert f"head: {early.directory} (now the current one)\n" in capfd.readouterr().out
    assert (early.layers, early.facts["parameters"]) == (
        ("early",),
        {"C": 10.0, "seed": 3, "class_weight": None, "calibration": None},
    )
    assert main(["train-head", *tiny_store]) == 0
    assert load_head(store, "tiny").layers == ("avg_pool",)
    capfd.readouterr()
    assert main(["predict", *tiny_store, f"--images={photos}", f"--head-id={early.id}"]) == 0
    out, err = capfd.readouterr()
    labels = [(row["uri"], row["label"]) for row in csv.DictReader(io.StringIO(out))]
    right = sum(Path(uri).parent.name == label for uri, label in labels)
    assert len(labels) == 20 and right >= 14, "it has learned 16 of them"
    assert err == f"{UNTRAINED}\n20 images labelled by head {early.id}, 0 rejected\n"


def test_a_table_of_two_layers_is_shown_with_both(
    store: Path, tiny_store: list[str], capfd: pytest.CaptureFixture[str]
):
    assert main(["info", *tiny_store]) == 0
    table = feature_store.open(store, "tiny")
    assert [line for line in capfd.readouterr().out.splitlines() if "  layer " in line] == [
        f"  layer     early, fingerprint {table.columns('early')[0].fingerprint}",
        f"  layer     avg_pool, fingerprint {table.columns('avg_pool')[0].fingerprint}",
    ]


def test_logs_are_written_but_with_debug(tiny_store: list[str], store: Path, photos: Path):
    logs = store / "logs"
    before = set(logs.iterdir())
    for debug in (["--debug"], []):
        for command in (["extract"], ["train-head", "--retrain"], ["predict", f"--images={photos / 'rose'}"]):
            assert main([*command, *tiny_store, *debug]) == 0
        written = sorted(path.stem.partition("-")[2][7:] for path in set(logs.iterdir()) - before)
        assert written == ([] if debug else ["extract", "predict", "train-head"])


def test_too_many_bad_images_fail_the_run_after_storing_the_good_ones(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "data" / "rose").mkdir(parents=True)
    photo(1).save(tmp_path / "data" / "rose" / "good.jpg")
    (tmp_path / "data" / "rose" / "bad.jpg").write_text("no image")
    arguments = extraction(tmp_path / "data", tmp_path / "store")
    assert main(arguments) == 3
    out, err = capfd.readouterr()
    assert out.startswith("2 images seen = 1 stored + 1 rejected\n")
    assert err.splitlines()[-1] == (
        "bottlenecks extract: 50% of the images tried were rejected, more than --max-rejected 0.1 allows; "
        f"the others are stored. The first that are not_an_image: {tmp_path}/data/rose/bad.jpg (unknown "
        "format; it begins with b'no image'). See what these files are: web pages instead of downloads, or "
        "data with an image's name"
    )
    assert len(feature_store.open(tmp_path / "store", "tiny").metadata()) == 1
    assert main(arguments) == 0, "nothing was tried, so nothing failed"
    capfd.readouterr()
    assert main([*extraction(tmp_path / "data", tmp_path / "other"), "--json"]) == 3
    out, err = capfd.readouterr()
    facts = json.loads(out)
    assert (facts["status"], facts["exit_code"], facts["stored"]) == ("failed", 3, 1)
    assert err.splitlines()[-1] == f"bottlenecks extract: {facts['error']}"


def test_hints_repeat_the_store_and_the_table(
    store: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    named = tmp_path / "my store"
    shutil.copytree(store / "features" / "tiny", named / "features" / "mine")
    shutil.copytree(store / "rejected" / "tiny", named / "rejected" / "mine")
    arguments = [f"--store={named}", "--features=mine"]
    assert main(["info", *arguments]) == 0
    hint = f"  no head yet: run `make train-head STORE='{named}' BACKBONE=tiny FEATURES=mine`"
    assert capfd.readouterr().out.splitlines()[-1] == hint
    assert main(["predict", *arguments, f"--images={photos}"]) == 1
    assert capfd.readouterr().err == (
        f"bottlenecks predict: there is no head for table 'mine' in {named}: "
        f"run `make train-head STORE='{named}' FEATURES=mine` first\n"
    )
    assert main(["train-head", *arguments, "--set=C=1"]) == 0
    next_step = f"next: make predict IMAGES=… STORE='{named}' BACKBONE=tiny FEATURES=mine\n"
    assert next_step in capfd.readouterr().out


def test_splits_and_classes_are_flags(tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    for number, folder in enumerate(("a/one/cat", "a/two/dog", "b/one/cat", "b/two/dog")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        photo(number).save(tmp_path / "data" / folder / "1.png")
    arguments = [*extraction(tmp_path / "data", tmp_path / "store"), "--splits"]
    assert main([*arguments, "a"]) == 1
    assert "--splits a is not like site_a=train,site_b=test" in capfd.readouterr().err
    assert main([*arguments, "a=train,b=testing", "--classes=deepest"]) == 0
    rows = feature_store.open(tmp_path / "store", "tiny").metadata(["uri", "labels", "split"]).to_pylist()
    found = {tuple(row["uri"].split("/")[-4:-1]): (*row["labels"], row["split"]) for row in rows}
    assert found == {
        ("a", "one", "cat"): ("cat", "train"),
        ("a", "two", "dog"): ("dog", "train"),
        ("b", "one", "cat"): ("cat", "test"),
        ("b", "two", "dog"): ("dog", "test"),
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["extract", "--data=/no/such/folder"], "DATA=/no/such/folder does not exist: expected "),
        (["extract", "--layers=mixed11"], "unknown layer 'mixed11': Inception V3 has "),
        (["extract", "--weights=/no/such.h5"], "there is no weights file /no/such.h5\n"),
        (
            ["extract", "--data=digits", "--data-moved-from=/old"],
            "--data-moved-from /old: there is no table 'inception_v3' to move\n",
        ),
        (["extract", "--beam-args=--no_such_flag"], "Beam doesn't know --no_such_flag (in BEAM_ARGS)\n"),
        (
            ["train-head", "--features=mine"],
            "there are no features named 'mine' in {store}: run `make extract STORE={store} FEATURES=mine` "
            "first\n",
        ),
        (
            ["predict", "--images=/dev", "--backbone=resnet50"],
            "IMAGES=/dev: there are no images in this folder\n",
        ),
        (
            ["predict", "--images=/no/such/folder"],
            "IMAGES=/no/such/folder: there is no such file or folder\n",
        ),
        (
            ["info"],
            "there are no features named 'inception_v3' in {store}: run `make extract STORE={store}` ",
        ),
        (["info", "--features="], "FEATURES is empty: give it a value, or leave it out for the default, "),
        (["predict", "--images="], "IMAGES is empty: give it a value\n"),
        (["predict", "--output=", "--images=x"], "--output is empty: give it a value, or leave it out for "),
        (["extract", "--data="], "DATA is empty: give it a value, or leave it out for the default, auto\n"),
    ],
)
def test_wrong_input_gets_one_sentence(
    photos: Path, tmp_path: Path, arguments: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
):
    if arguments[0] == "extract" and not any("--data" in argument for argument in arguments):
        arguments = [*arguments, f"--data={photos}"]
    store = tmp_path / "store"
    assert main([*arguments, f"--store={store}"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"bottlenecks {arguments[0]}: {sentence.format(store=store)}")
    assert len(err.splitlines()) == 1
    assert not (store / "features").exists()


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("extract", "store"), ("extract", "data"), ("extract", "weights"),
        ("predict", "store"), ("predict", "images"), ("predict", "weights"), ("predict", "output"),
        ("train-head", "store"), ("info", "store"),
    ],
)  # fmt: skip
def test_what_is_remote_is_refused_in_a_sentence_and_nothing_is_made(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    flag: str,
    capfd: pytest.CaptureFixture[str],
):
    given = {
        "extract": {"store": "store", "data": str(photos), "weights": "random"},
        "predict": {"store": "store", "images": str(photos), "weights": "random", "output": "x.csv"},
    }.get(command, {})
    monkeypatch.chdir(tmp_path)
    flags = [f"--{name}={value}" for name, value in {**given, flag: "s3://bucket/x.csv"}.items()]
    assert main([command, *flags]) == 1
    assert capfd.readouterr() == (
        "",
        f"bottlenecks {command}: s3://bucket/x.csv is remote, which is not supported yet: "
        f"give a local path, or copy it here first\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", ["/dev/null", "/dev/null/store"])
def test_a_store_that_can_not_be_made_gets_a_sentence(
    photos: Path, store: str, capfd: pytest.CaptureFixture[str]
):
    assert main(["extract", f"--data={photos}", f"--store={store}", "--weights=random"]) == 74
    err = capfd.readouterr().err
    assert err.startswith("bottlenecks extract: ") and "/dev/null" in err and "unexpected" not in err


@pytest.mark.parametrize(
    ("command", "error", "code", "said"),
    [
        ("info", BottleneckError("lower `min_images`\x1b"), 1, "lower --min-images\\x1b"),
        (
            "info",
            BottleneckError("extract features first"),
            1,
            "run `make extract STORE=here BACKBONE=resnet50 FEATURES=mine` first",
        ),
        ("info", OSError(28, "No space\nleft"), 74, "[Errno 28] No space\\nleft (--debug shows where)"),
        ("info", TooManyRejected("`max_rejected`"), 3, "--max-rejected"),
        ("info", InputShrunk("half of it"), 4, "half of it"),
        ("info", MadeAnotherWay("`layers=early`"), 5, "LAYERS=early"),
        ("info", DriftExceeded("others"), 6, "others"),
        ("info", ValueError("a `data`"), 70, "unexpected ValueError: a `data` (--debug shows where)"),
        ("info", KeyboardInterrupt(), 130, "stopped"),
        ("extract", KeyboardInterrupt(), 130, "stopped; what was committed stays, run it again to go on"),
        ("extract", cli.Terminated(), 143, "stopped; what was committed stays, run it again to go on"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    command: str,
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    def fail(options: object, debug: bool) -> None:
        raise error

    monkeypatch.setattr(cli, f"_{command}", fail)
    arguments = [command, "--store=here", "--features=mine", "--backbone=resnet50"]
    assert main(arguments) == code
    assert capfd.readouterr() == ("", f"bottlenecks {command}: {said}\n")
    if isinstance(error, KeyboardInterrupt):
        assert main([*arguments, "--debug"]) == code
    else:
        with pytest.raises(type(error)) as raised:
            main([*arguments, "--debug"])
        assert raised.value is error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "bottlenecks: error: the following arguments are required: COMMAND"),
        (["info", "--no-such-flag"], "bottlenecks: error: unrecognized arguments: --no-such-flag"),
        (["info", "--stor=x"], "bottlenecks: error: unrecognized arguments: --stor=x"),
        (["--vers"], "bottlenecks: error: "),
        (
            ["train-head", "--seed=-1"],
            "bottlenecks train-head: error: argument --seed: '-1' is not a whole number from 0 up",
        ),
    ],
)
def test_what_is_no_command_line_ends_with_2(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("usage: bottlenecks ")
    assert err.splitlines()[-1].startswith(message)


def test_help_says_what_each_command_is_for(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = " ".join(capfd.readouterr().out.split())
    for part in (
        "usage: bottlenecks [-h] [--version] COMMAND ...",
        "Run a network once over images, keep its bottleneck features, train heads from them.",
        "extract extract the features of new and changed images",
        "train-head train and test a head from stored features",
        "predict label images with a head",
        "info show tables, recipes, counts and heads",
        "--version show the version and end",
    ):
        assert part in out
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    out = " ".join(capfd.readouterr().out.split())
    assert "label images with a head options:" in out and "--debug show tracebacks and every log line" in out


def test_the_version_is_printed(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capfd.readouterr() == (f"bottlenecks {version('bottleneck-features')}\n", "")


def test_no_text_reaches_the_terminal_as_a_command(capfd: pytest.CaptureFixture[str]):
    cli._show("red \x1b[31m\nand plain")
    assert capfd.readouterr().out == "red \\x1b[31m\nand plain\n"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_reader_that_has_gone_gets_no_message():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pipelines.cli", "info", f"--store={OLD_STORE}"]
    done = subprocess.run(command, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


#: The command, where the tiny backbone is known.
COMMAND = "from tests.tiny import register; register(); from pipelines.cli import run; run()"
HEAVY = ["tensorflow", "keras", "openvino", "apache_beam"]


def test_light_commands_import_nothing_heavy(tiny_store: list[str]):
    lines = ("extract", "info", "train-head --retrain", "promote")
    commands = [[*line.split(), *tiny_store] for line in lines]
    code = (
        "import json, sys\nfrom tests.tiny import register\nfrom pipelines.cli import main\nregister()\n"
        f"codes = [main(arguments) for arguments in {commands!r}]\n"
        f"print(json.dumps([*codes, *(name for name in {HEAVY!r} if name in sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 0, 0, 0]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_a_scheduler_ends_it_cleanly_and_the_next_run_continues(
    tiny: str, tmp_path: Path, sent: signal.Signals, code: int
):
    data = tmp_path / "data" / "rose"
    data.mkdir(parents=True)
    for number in range(400):  # so many that it does not end before it is stopped
        photo(number, 20, 20).save(data / f"{number}.png")
    # What a shell starts in the background ignores SIGINT, and so does what that starts.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    arguments = [sys.executable, "-c", heeding + COMMAND, *extraction(data.parent, tmp_path / "store")]
    running = subprocess.Popen(
        [*arguments, "--chunk-size=4"], env=environment(), stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "store" / "features" / "tiny" / "_delta_log"
    while running.poll() is None and len(list(log.glob("*.json"))) < 3:
        time.sleep(0.01)
    running.send_signal(sent)
    _, err = running.communicate(timeout=120)
    assert running.returncode == code
    assert err.splitlines()[-1] == (
        "bottlenecks extract: stopped; what was committed stays, run it again to go on"
    )
    assert "Traceback" not in err
    stored = len(feature_store.open(tmp_path / "store", "tiny").metadata())
    assert 2 <= stored < 400, "two slices or more"
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "400 images seen = 400 stored + 0 rejected"
    assert done.stdout.splitlines()[1].startswith(f"{400 - stored} extracted by this run in ")
