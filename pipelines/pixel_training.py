"""Training a head together with its backbone, as commands: end to end, and fine-tuning."""

from __future__ import annotations

import functools
import shlex
import time

from features import store as feature_store
from features.backbones import DEFAULT_BACKBONE, get_backbone
from features.backbones.weights import UNTRAINED, find_weights, is_untrained
from features.locations import local_path
from features.store.table import FeatureTable
from features.text import counted
from heads import SavedHead, load_head
from heads import fine_tune as tune
from heads import train_end_to_end as train
from heads.pixels.augmentation import parse_augmentation
from pipelines.agreement import check_backbone, check_backbone_of_head, with_reading_of
from pipelines.options import EndToEndOptions, FineTuneOptions, Options
from pipelines.process import turn_off_opencv_threads
from pipelines.promote import head_lines
from pipelines.screen import Screen, new_run_id, show_download
from pipelines.tracking import Tracking
from pipelines.train import head_parameters, result_lines
from pipelines.wording import make_command, table_name


def train_end_to_end(options: EndToEndOptions, *, debug: bool = False) -> str:
    """Train a head on the frozen backbone, and test and save it; what to print of it.

    Raises:
        BottleneckError: where there are no images, or another backbone than the table of the name has.
    """
    for name in (options.data, options.weights):
        local_path(name)  # refuses what is remote, before anything is made
    name = table_name(options)
    feature_store.check_table_name(name)
    parameters = head_parameters("dense", options)
    parse_augmentation(options.augment)  # refuses a wrong one, before anything is said
    stored = name in feature_store.table_names(options.store)
    table = feature_store.open(options.store, name) if stored else None
    options = _as_the_table(table, options)
    backbone = get_backbone(options.backbone or DEFAULT_BACKBONE)
    turn_off_opencv_threads()
    run_id = new_run_id()
    with Screen.of_run(options, run_id, debug=debug) as screen:
        tracking = Tracking(options, run_id, screen)
        source = find_weights(options.weights, backbone, show_download)
        for line in [*source.notices, f"Training a dense head end to end on {backbone.title} …"]:
            screen.say(line)
        started = time.monotonic()
        saved = train(
            options.store,
            name,
            data=options.data,
            splits=options.splits,
            classes=options.classes,
            backbone=backbone.name,
            weights=source.spec,
            layers=options.layers,
            exif_orientation=bool(options.exif_orientation),
            augment=options.augment,
            min_images=options.min_images,
            **({} if options.promote is None else {"promote": options.promote}),
            reading=functools.partial(_say_reading, screen),
            progress=screen.step,
            callbacks=tracking.callbacks,
            download=show_download,
            **parameters,
        )
        seconds = time.monotonic() - started
        logged = tracking.log(saved)
    untrained = [UNTRAINED] if is_untrained(source.name) else []
    lines = [*_lines(saved, options, seconds), *logged, *_next(saved, options), *untrained]
    return tracking.finish("\n".join(lines))


def _as_the_table(table: FeatureTable | None, options: EndToEndOptions) -> EndToEndOptions:
    """What was not given is as the table of the head's name was made, so that the head suits its features."""
    if table is None or not table.has_rows:
        return options
    check_backbone(table, options)
    options = with_reading_of(table, options)
    given = options.exif_orientation
    return options.replace(
        backbone=table.recipe.backbone,
        data=table.source if options.data == "auto" else options.data,
        weights=table.weights if options.weights == "auto" else options.weights,
        layers=options.layers or ",".join(table.layers[-1:]),
        exif_orientation=table.recipe.exif_orientation if given is None else given,
    )


def fine_tune(options: FineTuneOptions, *, debug: bool = False) -> str:
    """Train a saved head and the last blocks of its backbone on, and test and save both; what to print of it.

    Raises:
        BottleneckError: where there is no such head, or its images are not there.
    """
    local_path(options.weights)  # refuses what is remote, before anything is made
    name = table_name(options)
    saved = load_head(options.store, name, options.head_id)
    recipe = saved.columns[0].recipe
    check_backbone_of_head(saved, options)
    names = ("blocks", "learning_rate", "epochs", "patience", "batch_size", "seed")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    turn_off_opencv_threads()
    run_id = new_run_id()
    with Screen.of_run(options, run_id, debug=debug) as screen:
        tracking = Tracking(options, run_id, screen)
        untrained = [UNTRAINED] if is_untrained(recipe.weights) else []
        for line in [*untrained, f"Fine-tuning head {saved.id} …"]:
            screen.say(line)
        started = time.monotonic()
        tuned = tune(
            options.store,
            name,
            id=saved.id,
            augment=options.augment,
            weights=None if options.weights == "auto" else options.weights,
            **({} if options.promote is None else {"promote": options.promote}),
            reading=functools.partial(_say_reading, screen),
            progress=screen.step,
            callbacks=tracking.callbacks,
            download=show_download,
            **given,
        )
        seconds = time.monotonic() - started
        if tuned.id == saved.id:
            kept = f"head {saved.id} stays as it is, and no other is saved"
            return "\n".join([f"no epoch was better on validation than the start: {kept}", *untrained])
        logged = tracking.log(tuned)
    training = tuned.facts["training"]
    start, best = training["start"], training["history"][training["epochs"] - 1]
    lines = [
        *_lines(tuned, options, seconds),
        *logged,
        f"validation loss: {start['val_loss']:.3f} at the start, {best['val_loss']:.3f} now",
        f"weights: {tuned.weights}",
        *_next(tuned, options),
        _extract(tuned, options),
        *untrained,
    ]
    return tracking.finish("\n".join(lines))


def _say_reading(screen: Screen, images: int) -> None:
    screen.say(f"Reading {counted(images, 'image')} first …")


def _lines(saved: SavedHead, options: Options, seconds: float) -> list[str]:
    """What both commands say of a head."""
    training, augmentation = saved.facts["training"], saved.facts["augmentation"]
    texts = [name if strength is None else f"{name} {strength:g}" for name, strength in augmentation.items()]
    return [
        *result_lines(saved, options),
        f"trained in {seconds:.1f} s, {counted(training['epochs_run'], 'epoch')}; "
        f"augmentation: {', '.join(texts) or 'none'}",
    ]


def _next(saved: SavedHead, options: Options) -> list[str]:
    name, backbone = saved.facts["table"], saved.columns[0].recipe.backbone
    return [
        *head_lines(saved, options),
        f"next: {make_command('predict', options.store, name, backbone, 'IMAGES=…')}",
    ]


def _extract(saved: SavedHead, options: Options) -> str:
    """How to make a table with the weights of a fine-tuned head, of the same images in the same splits."""
    facts, recipe = saved.facts, saved.columns[0].recipe
    if facts["table_version"] is None:
        source, splits, classes = (facts["data"][name] for name in ("source", "splits", "classes"))
    else:
        table = feature_store.open(options.store, facts["table"], version=facts["table_version"])
        source, splits, classes = table.source, dict(table.facts.splits), table.facts.classes
    arguments = ["--splits", ",".join(map("=".join, splits.items()))] if splits else []
    arguments += ["--classes", classes] if classes else []
    arguments += ["--exif-orientation"] if recipe.exif_orientation else []
    variables = {"DATA": source, "WEIGHTS": saved.weights, "LAYERS": ",".join(saved.layers)}
    if arguments:  # which make expands once more, and hands to a shell
        variables["ARGS"] = shlex.join(arguments).replace("$", "$$")
    given = (f"{name}={shlex.quote(text)}" for name, text in variables.items())
    return f"or:   {make_command('extract', options.store, saved.id, recipe.backbone, *given)}"
