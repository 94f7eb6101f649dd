"""Which weights a backbone gets: from a file, from Keras's cache or downloaded. No TensorFlow here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from features import files
from features.backbones.base import Backbone
from features.downloads import DownloadError, DownloadProgress, cache_dir, fetch
from features.errors import BottleneckError
from features.locations import local_path

SUFFIXES = (".weights.h5", ".h5", ".keras")

UNTRAINED = (
    "UNTRAINED WEIGHTS: these features come from seeded random weights, good for trying the pipeline and for "
    "nothing else."
)


#: How the names of weights end that were made from random ones: what says that they are untrained, too.
UNTRAINED_SUFFIX = "-untrained"


def is_untrained(name: str) -> bool:
    """Whether weights of this name, as of `WeightsSource`, are random, or were made from random ones."""
    return name == "random" or name.endswith(UNTRAINED_SUFFIX)


class WeightsSource(NamedTuple):
    """Where the backbone's weights come from.

    Attributes:
        name: `imagenet`, `random`, or the file's name without its suffix.
        spec: what names them, on this machine: `imagenet`, `random` or a path.
        path: the file; None for random weights.
        notices: what the user must see, loudly.
    """

    name: str
    spec: str
    path: Path | None
    notices: tuple[str, ...] = ()


def find_weights(spec: str, backbone: Backbone, progress: DownloadProgress | None = None) -> WeightsSource:
    """Find the weights that `spec` names, downloading them where needed.

    Args:
        spec: `auto` (ImageNet, or random where its host can't be reached), `imagenet`, `random`,
            or the path of a `.weights.h5`, `.h5` or `.keras` file, with or without the top.
        progress: see `features.downloads.fetch`.

    Raises:
        BottleneckError: for a file that is missing or of another kind, or a failed download.
    """
    if spec == "random":
        return _random_weights(backbone)
    if spec in ("auto", "imagenet"):
        try:
            path = fetch(
                backbone.weights_url,
                known_hash=backbone.weights_hash,
                path=_published_path(backbone),
                progress=progress,
            )
        except DownloadError as error:
            if spec == "imagenet":
                raise
            return _random_weights(backbone, str(error))
        return WeightsSource("imagenet", "imagenet", path)
    path = Path(local_path(spec))
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
    if suffix is None:
        raise BottleneckError(
            f"`weights={spec}` is neither auto, imagenet, random nor a file that ends in "
            f"{', '.join(SUFFIXES)}"
        )
    if not files.is_file(path):
        raise BottleneckError(f"there is no weights file {path}")
    name = path.name.removesuffix(suffix)
    return WeightsSource(name, str(path), path, (UNTRAINED,) if is_untrained(name) else ())


def _published_path(backbone: Backbone) -> Path:
    """Where Keras keeps the ImageNet weights that it has downloaded."""
    return cache_dir() / "models" / backbone.weights_file


def _random_weights(backbone: Backbone, why: str = "") -> WeightsSource:
    path = _published_path(backbone)
    reason = f" The ImageNet weights could not be downloaded: {why}." if why else ""
    bring = (
        f" For the real ones, put {path.name} into {path.parent} (or give `weights=PATH`), "
        f"and name a new table with `features=NAME`."
    )
    return WeightsSource("random", "random", None, (f"{UNTRAINED}{reason}{bring}",))
