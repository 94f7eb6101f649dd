"""Images that end the process which decodes them: the real command, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from features import store as feature_store
from features.store.commit import rejected_rows
from pipelines.runs import dead_runs
from tests.conftest import photo

ROOT = Path(__file__).parents[2]

#: In every process that is started: a decoder of PNGs that aborts in the place of the real one, and a network
#: that takes no time.
SITECUSTOMIZE = """
import os
from features.images import decoding, png
from tests.tiny import register

def open_png(data):
    if data.endswith(b"abort"):
        os.abort()
    return png.open_png(data)

decoding._OPENERS = ((png.SIGNATURE, open_png), *decoding._OPENERS)
register()
"""


@pytest.fixture
def environment(tmp_path: Path, tiny: str) -> dict[str, str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return os.environ | {"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Nine good images, and one that ends the process."""
    folder = tmp_path / "data" / "rose"
    folder.mkdir(parents=True)
    for number in range(10):
        photo(number).save(folder / f"{number}.png")
    with open(folder / "5.png", "ab") as file:
        file.write(b"abort")
    return folder.parent


def test_an_image_that_ends_the_process_twice_is_rejected(
    tmp_path: Path, data: Path, environment: dict[str, str]
):
    store = tmp_path / "store"
    command = [
        *(sys.executable, "-m", "pipelines.cli", "extract", "--data", str(data), "--store", str(store)),
        *("--weights", "random", "--precision", "float32", "--engine", "openvino", "--chunk-size", "4"),
        *("--max-rejected", "1", "--backbone", "tiny"),
    ]
    codes = []
    for _ in range(3):
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        codes.append(ended.returncode)
    assert codes == [-signal.SIGABRT, -signal.SIGABRT, 0], ended.stderr
    assert "10 images seen = 9 stored + 1 rejected" in ended.stdout
    table = feature_store.open(store, "tiny")
    (rejected,) = rejected_rows(table).to_pylist()
    assert (rejected["uri"], rejected["reason"]) == (str(data / "rose" / "5.png"), "crashed")
    assert "SIGABRT" in rejected["detail"]
    assert dead_runs(table) == [], "what the runs that ended had planned is done"
