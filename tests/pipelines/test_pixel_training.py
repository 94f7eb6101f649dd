"""Training on pixels as commands: what reaches the library, and what is said."""

from __future__ import annotations

import inspect
import re
import subprocess
import types
from pathlib import Path
from typing import Any

import pytest

from features import store as feature_store
from features.backbones.weights import UNTRAINED, find_weights, is_untrained
from features.errors import BottleneckError
from features.recipe import Column, FeatureRecipe
from features.store.schema import TableFacts
from features.store.table import FeatureTable
from heads import DenseHead, SavedHead, format_metrics, load_head, train_head
from heads import fine_tune as tune
from heads.fitting import column_facts
from heads.pixels.end_to_end import DEFAULTS
from heads.pixels.epochs import BATCH_SIZE
from pipelines import pixel_training as module
from pipelines import tracking
from pipelines.cli import main
from pipelines.options import OPTIONS, EndToEndOptions, FineTuneOptions
from pipelines.pixel_training import fine_tune, train_end_to_end
from tests.heads.pictures import make_photos, make_table
from tests.tiny import BACKBONE, SHA256, weights_file

FAST = ["learning_rate=0.02", "epochs=2"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("the photos"))


@pytest.fixture(scope="module")
def table(tiny: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    return make_table(photos, tmp_path_factory.mktemp("store"), ("early",))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 12.25])
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: next(times)))


def end_to_end(photos: Path, store: Path, **values: Any) -> EndToEndOptions:
    given = {"data": str(photos), "store": str(store), "backbone": "tiny", "weights": "random", "set": FAST}
    return EndToEndOptions(**{**given, **values})


def said_lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capfd.readouterr()
    assert out == ""
    return err.splitlines()


def test_what_is_said_of_a_head_that_is_trained_end_to_end(
    tiny: str, photos: Path, tmp_path: Path, clock: None, capfd: pytest.CaptureFixture[str]
):
    (bad := photos / "train" / "red" / "bad.png").write_text("no image")
    said = train_end_to_end(end_to_end(photos, tmp_path, augment=["flip", "crop=0.2"], features="mine"))
    bad.unlink()
    saved = load_head(tmp_path, "mine")
    first, second, third, *steps = said_lines(capfd)
    assert third == "Reading 31 images first …"
    assert first == find_weights("random", BACKBONE).notices[0].replace(
        "`weights=PATH`", "WEIGHTS=PATH"
    ).replace("`features=NAME`", "FEATURES=NAME")
    assert second == "Training a dense head end to end on Tiny …"
    assert [re.sub(r"\d\.\d+", "…", step) for step in steps] == [
        f"  {number} of at most 2: accuracy …, loss …, val_accuracy …, val_loss …" for number in (1, 2)
    ]
    assert said == (
        f"{format_metrics(saved.facts['metrics']['test'])}\n"
        "\n"
        f"chosen by validation: epoch {saved.facts['training']['epochs']}\n"
        f"left out 1 image that can't be read: {bad}: not_an_image (unknown format; it begins with "
        "b'no image')\n"
        "trained in 2.2 s, 2 epochs; augmentation: flip, crop 0.2\n"
        "promoted: table 'mine' had no current head\n"
        f"head: {saved.directory} (now the current one)\n"
        f"next: make predict IMAGES=… STORE={tmp_path} BACKBONE=tiny FEATURES=mine\n"
        f"{UNTRAINED}"
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the library is asked for; it does nothing."""
    calls: list[dict[str, Any]] = []

    def note(*arguments: Any, **named: Any) -> Any:
        calls.append({"arguments": arguments, **named})
        raise BottleneckError("asked")

    monkeypatch.setattr(module, "train", note)
    monkeypatch.setattr(module, "tune", note)
    return calls


def ask(run: Any, options: Any) -> None:
    with pytest.raises(BottleneckError, match="^asked$"):
        run(options)


def test_options_of_end_to_end_reach_the_library(tiny: str, tmp_path: Path, asked: list[dict[str, Any]]):
    given = {"splits": "a=train", "classes": "deepest", "layers": "early", "exif_orientation": True}
    more = {"augment": ["none"], "min_images": 3, "seed": 7, "hidden": 5, "set": ["dropout=0.5"]}
    more |= {"learning_rate": 0.5, "epochs": 2, "patience": 4, "batch_size": 6, "promote": "always"}
    ask(train_end_to_end, end_to_end(Path("/data"), tmp_path, **given, **more))
    (call,) = asked
    for name in ("progress", "reading", "download"):
        assert call.pop(name)
    assert call.pop("callbacks") == []
    assert call == {
        "arguments": (str(tmp_path), "tiny"),
        "data": "/data", "backbone": "tiny", "weights": "random",
        **given, "augment": ["none"], "min_images": 3, "seed": 7, "hidden": 5, "dropout": 0.5,
        "learning_rate": 0.5, "epochs": 2, "patience": 4, "batch_size": 6, "promote": "always",
    }  # fmt: skip


def test_callbacks_of_tensorboard_reach_the_library(
    head: SavedHead, tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tracking, "tensorboard_callback", lambda folder: folder.parent.name)
    ask(train_end_to_end, end_to_end(Path("/data"), tmp_path, tensorboard=True))
    ask(fine_tune, tuning(head, tensorboard=True))
    assert [call["callbacks"] for call in asked] == [["tensorboard"]] * 2


def test_what_is_not_given_is_as_the_table_of_the_name_was_made(
    table: FeatureTable, photos: Path, asked: list[dict[str, Any]]
):
    ask(train_end_to_end, EndToEndOptions(store=str(table.store), features="tiny"))
    given = EndToEndOptions(
        store=str(table.store), backbone="tiny", data="digits", layers="avg_pool", exif_orientation=True
    )
    ask(train_end_to_end, given)
    names = ("data", "backbone", "weights", "layers", "exif_orientation")
    assert [[call[name] for name in names] for call in asked] == [
        [str(photos), "tiny", "random", "early", False],
        ["digits", "tiny", "random", "avg_pool", True],
    ]


def test_without_a_table_the_defaults_of_an_extraction_hold(
    tiny: str, tmp_path: Path, asked: list[dict[str, Any]]
):
    ask(train_end_to_end, EndToEndOptions(store=str(tmp_path), backbone="tiny", weights="random"))
    (call,) = asked
    assert (call["data"], call["layers"], call["exif_orientation"]) == ("auto", None, False)
    assert call["augment"] is None and call["min_images"] == 1


@pytest.fixture(scope="module")
def head(table: FeatureTable) -> SavedHead:
    return train_head(table.store, "tiny", kind="dense", epochs=1)


def tuning(head: SavedHead, **values: Any) -> FineTuneOptions:
    given = {"store": str(head.store), "backbone": "tiny", "head_id": head.id, "epochs": 2}
    return FineTuneOptions(**{**given, **values})


def test_what_is_said_of_fine_tuning(
    head: SavedHead, photos: Path, clock: None, capfd: pytest.CaptureFixture[str]
):
    said = fine_tune(tuning(head, learning_rate=0.003, augment=["none"]))
    saved = load_head(head.store, "tiny")
    first, second, third, *steps = said_lines(capfd)
    assert (first, second) == (UNTRAINED, f"Fine-tuning head {head.id} …")
    assert third == "Reading 30 images first …"
    assert [re.sub(r"\d\.\d+", "…", step) for step in steps] == [
        "  at the start: val_accuracy …, val_loss …",
        *(f"  {number} of at most 2: accuracy …, loss …, val_accuracy …, val_loss …" for number in (1, 2)),
    ]
    training = saved.facts["training"]
    store = f"STORE={head.store} BACKBONE=tiny"
    assert said == (
        f"{format_metrics(saved.facts['metrics']['test'])}\n"
        "\n"
        f"chosen by validation: epoch {training['epochs']}\n"
        "trained in 2.2 s, 2 epochs; augmentation: none\n"
        f"validation loss: {training['start']['val_loss']:.3f} at the start, "
        f"{saved.facts['metrics']['validation']['log_loss']:.3f} now\n"
        f"weights: {saved.weights}\n"
        "promoted without a comparison, as was asked for\n"
        f"head: {saved.directory} (now the current one)\n"
        f"next: make predict IMAGES=… {store}\n"
        f"or:   make extract DATA='{photos}' WEIGHTS={saved.weights} LAYERS=early {store} "
        f"FEATURES={saved.id}\n"
        f"{UNTRAINED}"
    )


def test_where_no_epoch_is_better_it_is_said_that_nothing_is_saved(
    head: SavedHead, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(tracking.Tracking, "log", None)
    assert fine_tune(tuning(head, learning_rate=100.0)) == (
        f"no epoch was better on validation than the start: head {head.id} stays as it is, and no other is "
        f"saved\n{UNTRAINED}"
    )


def arguments_of(line: str, folder: Path) -> list[str]:
    """What the command gets where a line that begins with `make extract` is given to a shell."""
    makefile = folder / "Makefile"
    recipe = "\t@printf '%s\\0' $(if $(DATA),--data='$(value DATA)') --layers=$(LAYERS) $(ARGS)\n"
    makefile.write_text(f"extract:\n{recipe}")
    shown = subprocess.run(line, shell=True, cwd=folder, check=True, capture_output=True, text=True)
    return shown.stdout.split("\0")[:-1]


@pytest.mark.parametrize("of_table", [False, True])
def test_what_is_extracted_next_has_the_splits_that_the_head_was_trained_on(
    tiny: str, tmp_path: Path, of_table: bool
):
    """A head that is trained from it would otherwise be tested on images that the backbone was tuned on."""
    splits, classes = {"it's $HOME": "train", "b c": "test"}, "deepest"
    facts: dict[str, Any] = {"id": "the-head", "table": "mine", "table_version": None, "weights": "random"}
    recipe = FeatureRecipe("random", SHA256, exif_orientation=True, backbone="tiny")
    if of_table:
        kept = tuple(splits.items())
        table = TableFacts("/my data", "random", ("early", "avg_pool"), recipe, kept, classes)
        facts["table_version"] = feature_store.create(tmp_path, "mine", table).version
    else:
        facts["data"] = {"source": "/my data", "splits": splits, "classes": classes}
    facts["columns"] = column_facts([Column(recipe, layer) for layer in ("early", "avg_pool")])
    saved = SavedHead(tmp_path / "heads" / "mine" / "the-head", facts)
    line = module._extract(saved, FineTuneOptions(store=str(tmp_path))).removeprefix("or:   ")
    assert line.endswith(f" STORE={tmp_path} BACKBONE=tiny FEATURES=the-head")
    assert arguments_of(line, tmp_path) == [
        "--data=/my data", "--layers=early,avg_pool",
        "--splits", "it's $HOME=train,b c=test", "--classes", "deepest", "--exif-orientation",
    ]  # fmt: skip


def test_options_of_fine_tuning_reach_the_library(head: SavedHead, asked: list[dict[str, Any]]):
    numbers = {"blocks": 2, "learning_rate": 0.5, "epochs": 3, "patience": 4, "batch_size": 5, "seed": 6}
    ask(fine_tune, tuning(head, weights="random", augment=["flip"], promote="never", **numbers))
    ask(fine_tune, FineTuneOptions(store=str(head.store), features="tiny"))
    first, second = asked
    for call in asked:
        assert call.pop("progress") and call.pop("reading") and call.pop("download")
        assert call.pop("callbacks") == []
    place = (str(head.store), "tiny")
    given = {"augment": ["flip"], "weights": "random", "promote": "never", **numbers}
    assert first == {"arguments": place, "id": head.id, **given}
    current = load_head(head.store, "tiny").id
    default = {"augment": None, "weights": None}
    assert second == {"arguments": place, "id": current, **default}


def test_defaults_that_help_shows_are_those_of_the_library():
    tuning = {name: one.default for name, one in inspect.signature(tune).parameters.items()}
    whole = {**DenseHead().get_params(), **DEFAULTS, "batch_size": BATCH_SIZE}
    for option in OPTIONS:
        if "fine-tune" in option.commands and option.kind in ("number", "positive"):
            numbers = re.findall(r"[-\d.e]*\d", option.unset)
            assert float(numbers[-1]) == tuning[option.name], option.name
            if "train-end-to-end" in option.commands:
                assert float(numbers[0]) == whole[option.name], option.name
    (augment,) = [option for option in OPTIONS if option.name == "augment"]
    assert augment.unset == "flip, crop and rotation"


def test_input_of_an_end_to_end_head_is_what_may_be_extracted_next(
    tiny: str, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    train_end_to_end(end_to_end(photos, tmp_path))
    said = fine_tune(FineTuneOptions(store=str(tmp_path), backbone="tiny", learning_rate=0.003, epochs=1))
    assert f"or:   make extract DATA='{photos}' WEIGHTS={tmp_path}/weights/" in said
    assert said.endswith(f"\n{UNTRAINED}")
    again = fine_tune(FineTuneOptions(store=str(tmp_path), backbone="tiny", learning_rate=0.003, epochs=1))
    names = [re.findall(r"or:   .* FEATURES=(\S+)", text)[0] for text in (said, again)]
    assert names[0] != names[1] and again.endswith(f"\n{UNTRAINED}")
    assert is_untrained(load_head(tmp_path, "tiny").columns[0].recipe.weights)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fine-tune", "--head-id=2001"], "there is no head '2001' in .*, which has: "),
        (["fine-tune", "--features=none"], "there is no head for table 'none' in .*: it has heads for tiny"),
        (
            ["fine-tune", "--blocks=3"],
            "--blocks 3: expected a number from 1 to 1, for Tiny has 1 block up to early",
        ),
        (["fine-tune", "--augment=blur"], "there is no augmentation 'blur': choose from flip, crop, "),
        (["fine-tune", "--weights=s3://x/y.h5"], "s3://x/y.h5 is remote, which is not supported yet"),
        (["train-end-to-end", "--data=/none"], "DATA=/none does not exist: expected "),
        (["train-end-to-end", "--augment=crop=2"], "the augmentation crop expects .* at most 0.5, not '2'"),
        (["train-end-to-end", "--set=depth=2"], "a dense head has no parameter 'depth': it takes "),
        (["train-end-to-end", "--layers=mixed3"], "unknown layer 'mixed3': Tiny has early, avg_pool, late"),
        (
            ["train-end-to-end", "--backbone=resnet50", "--features=tiny"],
            "was made with BACKBONE=tiny, not resnet50",
        ),
        (["train-end-to-end", "--data=gs://x"], "gs://x is remote, which is not supported yet"),
        (["train-end-to-end", "--features=../out", "--weights=/none.h5"], "'../out' can't name a table: use"),
        (["train-end-to-end", "--epochs=2", "--set=epochs=3"], "the parameter 'epochs' is set twice, to 2"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(
    head: SavedHead, arguments: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
):
    command, *flags = arguments
    given = [] if any("--features" in flag for flag in flags) else ["--features=tiny"]
    assert main([command, f"--store={head.store}", *given, *flags]) == 1
    err = capfd.readouterr().err.splitlines()[-1]
    assert re.match(f"bottlenecks {command}: .*{sentence}", err), err


def test_a_head_of_another_backbone_is_refused(head: SavedHead):
    with pytest.raises(BottleneckError, match=r"was trained on tiny, not on `backbone=resnet50`$"):
        fine_tune(tuning(head, backbone="resnet50", features="tiny"))


def test_a_number_has_to_be_one(capsys: pytest.CaptureFixture[str]):
    for text in ("0", "-1", "inf", "nan", "much"):
        with pytest.raises(SystemExit):
            main(["fine-tune", f"--learning-rate={text}"])
        assert "--learning-rate" in capsys.readouterr().err


def test_weights_may_be_given_by_their_path(head: SavedHead, tmp_path: Path, asked: list[dict[str, Any]]):
    file = weights_file(tmp_path / "same.weights.h5", BACKBONE, SHA256)
    ask(fine_tune, tuning(head, weights=str(file)))
    assert asked[0]["weights"] == str(file)
