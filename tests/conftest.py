"""What every test may use: a cache folder of the session's own, and generated photos."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

# The same examples in each run; on a loaded machine one may take long.
hypothesis.settings.register_profile(
    "tests",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")

# Before anything imports TensorFlow, or looks for a cache.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share the folder of the process that started them
    _keras_home = tempfile.TemporaryDirectory(prefix="keras-")
    os.environ["KERAS_HOME"] = _keras_home.name


@pytest.fixture(scope="session")
def keras_home() -> Path:
    """Keras's cache, and this project's in it, of this session: the user's is neither read nor written."""
    return Path(os.environ["KERAS_HOME"])


@pytest.fixture(scope="session")
def tiny(keras_home: Path) -> str:
    """The name of a backbone for tests where the network does not matter: see `tests.tiny`."""
    from tests.tiny import BACKBONE, register

    register()
    return BACKBONE.name


def photo(seed: int, width: int = 80, height: int = 60) -> Image.Image:
    """A smooth random picture, as different from another seed's as two photos are."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of ten photos: color JPEG, gray JPEG and PNG. Treat as read-only."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(20):
        image = photo(number, 60 + 13 * number, 50 + 7 * number)
        target = folder / ("daisy" if number % 2 else "rose")
        target.mkdir(exist_ok=True)
        if number % 5 == 3:
            image.convert("L").save(target / f"{number:02}.jpg", quality=90)
        elif number % 5 == 4:
            image.save(target / f"{number:02}.png")
        else:
            image.save(target / f"{number:02}.jpg", quality=90)
    return folder


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that extractors have read since, each as often as they did."""
    from features import extractor

    done: list[str] = []
    prepare = extractor.prepare

    def note_and_prepare(image, out, exif_orientation, choose, augmentation):
        done.append(str(image))
        return prepare(image, out, exif_orientation, choose, augmentation)

    monkeypatch.setattr(extractor, "prepare", note_and_prepare)
    return done
