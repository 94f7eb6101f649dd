"""Which weights the backbone gets: what `WEIGHTS=` names, found or fetched. No TensorFlow here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from features import files
from features.downloads import DownloadError, cache_dir, fetch
from features.errors import BottleneckError
from features.locations import local_path

#: As `keras.applications.InceptionV3(include_top=False)` fetches it, with the hash that Keras checks:
#: https://github.com/keras-team/keras/blob/master/keras/src/applications/inception_v3.py
IMAGENET_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{IMAGENET_FILE}"
IMAGENET_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"

SUFFIXES = (".weights.h5", ".h5", ".keras")

UNTRAINED = (
    "UNTRAINED WEIGHTS: these features come from seeded random weights, good for trying the pipeline and for "
    "nothing else."
)
_BRING = (
    f"To bring the real ones, put {IMAGENET_FILE} into {{folder}} (or give WEIGHTS=PATH), "
    f"and name a new table with FEATURES=NAME."
)


class WeightsSource(NamedTuple):
    """Where the backbone's weights come from.

    Attributes:
        name: `imagenet`, `random`, or the file's name without its suffix.
        spec: what a later run would say as `WEIGHTS=` to get them again: `imagenet`, `random` or a path.
        path: the file; None for random weights.
        notices: what the user must be told, loudly.
    """

    name: str
    spec: str
    path: Path | None
    notices: tuple[str, ...] = ()


def find_weights(spec: str, *, imagenet_url: str = IMAGENET_URL) -> WeightsSource:
    """Find the weights that `spec` names, downloading them where needed.

    Args:
        spec: `auto` (ImageNet, or random where its host can't be reached), `imagenet`, `random`,
            or the path of a `.weights.h5`, `.h5` or `.keras` file, with or without the top.

    Raises:
        BottleneckError: for a file that is missing or of another kind, or a failed download.
    """
    if spec == "random":
        return _random_weights()
    if spec in ("auto", "imagenet"):
        try:
            path = fetch(
                imagenet_url, known_hash=f"md5:{IMAGENET_MD5}", path=cache_dir() / "models" / IMAGENET_FILE
            )
        except DownloadError as error:
            if spec == "imagenet":
                raise
            return _random_weights(str(error))
        return WeightsSource("imagenet", "imagenet", path)
    path = Path(local_path(spec))
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
    if suffix is None:
        raise BottleneckError(
            f"WEIGHTS={spec} is neither auto, imagenet, random nor a file that ends in {', '.join(SUFFIXES)}"
        )
    if not files.is_file(path):
        raise BottleneckError(f"there is no weights file {path}")
    return WeightsSource(path.name.removesuffix(suffix), str(path), path)


def _random_weights(why: str = "") -> WeightsSource:
    bring = _BRING.format(folder=cache_dir() / "models")
    reason = f" The ImageNet weights could not be had: {why}." if why else ""
    return WeightsSource("random", "random", None, (f"{UNTRAINED}{reason} {bring}",))
