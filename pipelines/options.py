"""What each command can be asked for. The defaults of variables of `make` are in `pipelines.variables`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipelines.variables import default_of

#: The runner in this process; any other is Beam's, by its name.
LOCAL_RUNNER = default_of("RUNNER")

#: What a run does where another one is at work on the table: wait until that ends, or leave to it what it has
#: planned.
IF_RUNNING = ("wait", "skip")


class ExtractOptions(NamedTuple):
    """What a run is asked for: the variables and flags of `make extract`.

    `auto` means what the table was created with, and where there is no table yet, the best that can be had.
    """

    data: str = default_of("DATA")
    store: str = default_of("STORE")
    features: str = default_of("FEATURES")
    weights: str = default_of("WEIGHTS")
    layers: str = default_of("LAYERS")
    engine: str = default_of("ENGINE")
    precision: str = default_of("PRECISION")
    exif_orientation: bool | None = None
    runner: str = LOCAL_RUNNER
    beam_args: tuple[str, ...] = ()
    max_rejected: float = 0.1
    retry_rejected: bool = False
    chunk_size: int = 4096
    if_running: str = IF_RUNNING[0]
    remove_gone: bool = False
    splits: Mapping[str, str] | None = None
    classes: str | None = None


class TrainOptions(NamedTuple):
    """What `make train-head` is asked for. Of several layers the deepest is trained from."""

    store: str = default_of("STORE")
    features: str = default_of("FEATURES")
    head: str = default_of("HEAD")
    layers: str = default_of("LAYERS")
    seed: int = 0
    hidden: int | None = None
    min_images: int = 1


class PredictOptions(NamedTuple):
    """What `make predict` is asked for."""

    images: str
    store: str = default_of("STORE")
    features: str = default_of("FEATURES")
    weights: str = default_of("WEIGHTS")
    engine: str = default_of("ENGINE")
    head_id: str | None = None
    output: Path | None = None
