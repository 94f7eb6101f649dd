"""What is built from the project: the sdist that Beam's workers install, the wheel, the editable install.

`make test-wheel` installs them, which takes minutes and a package index.
"""

import email
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("features", "heads", "pipelines")
#: What has to be in both: every module, even where its folder has no `__init__.py`, and the types' markers.
MODULES = {
    path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
} | {f"{package}/py.typed" for package in PACKAGES}
MODULES |= {f"heads/page/{name}" for name in ("page.js", "style.css", "template.html.j2")}
#: What an sdist has besides them.
DESCRIPTION = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def python(folder: Path, *arguments: str) -> None:
    result = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files without what a set-up or an earlier build has left."""
    folder = tmp_path_factory.mktemp("build") / "clone"
    folder.mkdir()
    for name in DESCRIPTION:
        shutil.copy(ROOT / name, folder)
    for name in (*PACKAGES, "benchmarks", "deploy", "examples", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def sdist(clone: Path) -> Path:
    """What Beam's stager runs for `--setup_file=./setup.py`, unpacked."""
    target = clone.with_name("sdist")
    python(clone, "setup.py", "sdist", "--dist-dir", str(target))
    (archive,) = target.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    (folder,) = (path for path in target.iterdir() if path.is_dir())
    return folder


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> dict[str, str]:
    """The text of each file of the wheel that is built from the sdist, as a worker builds it."""
    (archive,) = built("build_wheel", sdist, sdist.parents[1] / "wheel").glob("*.whl")
    with zipfile.ZipFile(archive) as files:
        return {name: files.read(name).decode() for name in files.namelist()}


def built(hook: str, source: Path, target: Path) -> Path:
    """Run a hook of setuptools that builds into the folder `target`."""
    target.mkdir()
    python(source, "-c", f"from setuptools import build_meta; build_meta.{hook}({str(target)!r})")
    return target


def test_the_sdist_of_setup_py_has_all_that_a_build_needs_and_no_test(sdist: Path) -> None:
    names = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    generated = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert names - generated == MODULES | DESCRIPTION


def test_the_wheel_has_the_three_packages_their_types_and_the_command(wheel: dict[str, str]) -> None:
    described = {name.partition("/")[2]: text for name, text in wheel.items() if ".dist-info/" in name}
    assert {name for name in wheel if ".dist-info/" not in name} == MODULES
    assert "bottlenecks = pipelines.cli:run" in described["entry_points.txt"].splitlines()
    assert described["licenses/LICENSE"] == (ROOT / "LICENSE").read_text()
    metadata = email.message_from_string(described["METADATA"])
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert metadata["License-Expression"] == "Apache-2.0"


def test_an_editable_install_is_a_plain_path(clone: Path) -> None:
    """So that a package that is added later is found without another set-up."""
    (archive,) = built("build_editable", clone, clone.with_name("editable")).glob("*.whl")
    with zipfile.ZipFile(archive) as files:
        (path,) = (name for name in files.namelist() if ".dist-info/" not in name)
        assert path.endswith(".pth")
        assert files.read(path).decode().strip() == str(clone)
