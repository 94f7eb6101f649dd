"""The front door: what `make` runs, what `make help` says, and what set-up installs.

The Makefile is tried in a folder of its own, where nothing is set up. `make -n` says what would be run.
"""

import ast
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipelines.options import OPTIONS, options_of, table

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
(TARGETS,) = re.findall(r"^\.PHONY: (help .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

#: What each round of `test-older` installs.
OLDER_PACKAGES = [
    line.split(",") for line in re.findall(r"^    (\S+==\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
]


LOCKS_OF_EXTRAS = [f"requirements-{name}.lock" for name in ("bench", "tracking", "report", "page")]
#: Of environments of their own, which hold nothing of the project.
LOCKS_OF_OTHERS = [f"requirements-{name}.lock" for name in ("airflow", "deploy")]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone as far as make needs one, with a space and a quote in its path, and no `.venv`."""
    folder = tmp_path / "the user's clone"
    (folder / "pipelines").mkdir(parents=True)
    locks = ("requirements.lock", "requirements-report.lock")
    for name in ("Makefile", "pipelines/options.py", *locks, "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


#: Says that it is of one version, makes a folder with a copy of itself for `-m venv`, and passes every test.
PRETENDED_PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then [ "${{3:-{version}}}" = {version} ]
elif [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
elif [ "$2" = pytest ]; then echo "{version} passed $*"; [ "$FAIL" != {version} ]
fi
"""


def make(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell of its own: none of the variables, and none of make's own, are inherited."""
    ours = {option.variable for option in OPTIONS} | {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        ["make", *arguments], cwd=clone, env=inherited | environment, capture_output=True, text=True
    )


def commands(clone: Path, *arguments: str) -> list[list[str]]:
    """The command lines of `bottlenecks` that make would run, in words as the shell takes them."""
    result = make(clone, "-n", *arguments)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith(".venv/bin/bottlenecks")]
    return [shlex.split(line)[1:] for line in lines]


def pretend_set_up(clone: Path, python: str) -> None:
    """Leave what a finished set-up leaves, with `python` as the shell script of its interpreter."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").write_text(f"#!/bin/sh\n{python}\n")
    (clone / ".venv" / "bin" / "python").chmod(0o755)
    (clone / ".venv" / "set-up").write_text(f"{clone}\n")


@pytest.mark.parametrize("arguments", [(), ("help",)])
def test_help_lists_targets_variables_and_defaults_before_any_set_up(
    clone: Path, arguments: tuple[str, ...]
) -> None:
    result = make(clone, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    for target in TARGETS.split():
        assert sum(line.startswith(f"  {target} ") for line in lines) == 1, target
    for option in OPTIONS:
        found = [line for line in lines if line.startswith(f"  {option.variable} ")]
        assert len(found) == option.make and all(option.default_text in line for line in found)
    assert not (clone / ".venv").exists()


def test_the_table_of_options_needs_no_new_python_and_nothing_installed() -> None:
    script = ROOT / "pipelines" / "options.py"
    ast.parse(script.read_text(), feature_version=(3, 8))
    # With -S and -I nothing but the standard library is found.
    command = [sys.executable, "-S", "-I", str(script)]
    result = subprocess.run(command, capture_output=True, text=True, env={"LC_ALL": "C"})
    assert (result.returncode, result.stderr, result.stdout) == (0, "", f"{table()}\n")
    result = subprocess.run([*command, "info"], capture_output=True, text=True)
    assert result.stdout == "STORE=--store BACKBONE=--backbone FEATURES=--features\n"


def test_what_is_not_set_is_left_to_the_command(clone: Path) -> None:
    assert commands(clone, "extract") == [["extract"]]
    assert commands(clone, "extract", "VIEWS=0") == [["extract", "--views=0"]]


def test_what_is_given_empty_reaches_the_command_which_refuses_it(clone: Path) -> None:
    assert commands(clone, "extract", "DATA=", "BEAM_ARGS=") == [["extract", "--data=", "--beam-args="]]
    assert "--data=''" in make(clone, "-n", "extract", DATA="").stdout


def test_values_reach_the_command_as_they_are(clone: Path) -> None:
    values = (
        "~/my photos", "it's here", "two  spaces", "a#b", "a$b", "$(HOME)", "mixed8,avg_pool", "a;b|c&d",
        '"x" `y`', "(", "-x",
    )  # fmt: skip
    pairs = list(zip(options_of("extract", make=True), itertools.cycle(values), strict=False))
    assert len(pairs) >= len(values)
    given = [f"{option.variable}={value}" for option, value in pairs]
    assert commands(clone, "extract", *given) == [
        ["extract", *(f"{option.flag}={value}" for option, value in pairs)]
    ]


def test_beam_args_are_one_word_and_args_are_many(clone: Path) -> None:
    (words,) = commands(
        clone, "extract", "BEAM_ARGS=--project=mine --region=here", "ARGS=--debug --max-rejected 0.5"
    )
    assert words == [
        "extract",
        "--beam-args=--project=mine --region=here",
        "--debug",
        "--max-rejected",
        "0.5",
    ]


def test_each_target_takes_its_own_of_the_variables(clone: Path) -> None:
    settings = [f"{option.variable}=x" for option in OPTIONS if option.make and option.commands]
    commands_of_make = (
        *("extract", "train-head", "train-end-to-end", "fine-tune", "promote", "predict"),
        *("evaluate", "report", "info"),
    )
    found = commands(clone, *commands_of_make, *settings)
    assert found == [
        [command, *(f"{option.flag}=x" for option in options_of(command, make=True))]
        for command in commands_of_make
    ]
    assert "--data=x" not in found[1]
    assert "--head=x" not in found[0]


def test_variables_may_come_from_the_environment(clone: Path) -> None:
    result = make(clone, "-n", "info", STORE="elsewhere")
    assert shlex.split(result.stdout.splitlines()[-1]) == [
        ".venv/bin/bottlenecks",
        "info",
        "--store=elsewhere",
    ]


def test_only_what_the_command_prints_is_printed(clone: Path) -> None:
    pretend_set_up(clone, 'exec python3 "$@"')
    (clone / ".venv" / "bin" / "bottlenecks").write_text("#!/bin/sh\necho image,label\n")
    (clone / ".venv" / "bin" / "bottlenecks").chmod(0o755)
    result = make(clone, "predict", "IMAGES=photos")
    assert (result.returncode, result.stdout, result.stderr) == (0, "image,label\n", "")


def test_set_up_says_in_one_sentence_that_no_python_will_do(clone: Path) -> None:
    result = make(clone, "setup", "PYTHON=/nowhere/python3")
    assert result.returncode != 0
    assert result.stderr.startswith(
        "No Python 3.11, 3.12 or 3.13 with its venv module under the name /nowhere/python3"
    )
    assert not (clone / ".venv").exists()


def test_set_up_is_skipped_until_the_lock_or_the_folder_changes(clone: Path) -> None:
    pretend_set_up(clone, 'echo "$@"')
    assert make(clone, "-q", "setup").returncode == 0
    os.utime(clone / ".venv" / "set-up", (0, 0))
    assert make(clone, "-q", "setup").returncode == 1

    result = make(clone, "setup")
    assert result.returncode == 0, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "-r requirements.lock" in (clone / ".venv" / "set-up.log").read_text()

    assert make(clone, "-q", "setup").returncode == 0
    moved = clone.rename(clone.with_name("moved"))
    assert make(moved, "-q", "setup").returncode == 1


def test_a_set_up_that_fails_shows_the_log_and_is_tried_again(clone: Path) -> None:
    pretend_set_up(clone, "echo no such package; exit 3")
    os.utime(clone / ".venv" / "set-up", (0, 0))
    result = make(clone, "setup")
    assert result.returncode != 0
    assert "no such package\n" in result.stderr
    assert not (clone / ".venv" / "set-up").exists()
    assert make(clone, "-q", "setup").returncode == 1


def test_each_python_that_is_found_is_set_up_and_tested_in_a_folder_of_its_own(clone: Path) -> None:
    bin, home = clone / "bin", clone / "home"
    bin.mkdir()
    other = home / ".pyenv/versions/3.13.9/bin/python"
    other.parent.mkdir(parents=True)
    for path, version in ((bin / "python3.11", "3.11"), (bin / "python3.12", "3.10"), (other, "3.13")):
        path.write_text(PRETENDED_PYTHON.format(version=version))
        path.chmod(0o755)
    found = {"PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(home), "PYENV_ROOT": ""}
    result = make(clone, "test-pythons", "ARGS=-k splits", **found)
    assert result.stdout.splitlines()[-3:] == [
        "  Python 3.11: 3.11 passed -m pytest -q -m not slow -o cache_dir=.venv-3.11/pytest -k splits",
        "  Python 3.12: not found",
        "  Python 3.13: 3.13 passed -m pytest -q -m not slow -o cache_dir=.venv-3.13/pytest -k splits",
    ]
    assert result.returncode == 0, result.stderr
    assert not (clone / ".venv").exists()
    assert make(clone, "test-pythons", **found | {"FAIL": "3.11"}).returncode != 0
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(clone), "PYENV_ROOT": ""}
    if not shutil.which("python3.11", path=bare["PATH"]):
        assert make(clone, "test-pythons", **bare).returncode != 0


def test_older_packages_replace_the_locked_ones_in_a_folder_of_their_own(clone: Path) -> None:
    pretend_set_up(clone, """echo "$@" | tee -a calls; [ "$2" != "$FAIL" ]""")
    (clone / ".venv").rename(clone / ".venv-older")
    result = make(clone, "test-older", "ARGS=-k splits")
    assert result.returncode == 0, result.stderr
    calls = [line.split() for line in (clone / "calls").read_text().splitlines()]
    installs = [words for words in calls if "install" in words and "--editable" not in words]
    runs = [words for words in calls if "pytest" in words]
    assert len(runs) == len(OLDER_PACKAGES) > 1
    for words, packages in zip(installs[-len(runs) :], OLDER_PACKAGES, strict=True):
        assert words[-len(packages) :] == packages
    for words in runs:
        assert words[-2:] == ["-k", "splits"]
        tests = [word for word in words if word.startswith("tests/")]
        assert tests and all((ROOT / test).exists() for test in tests)
    assert not (clone / ".venv").exists()
    assert make(clone, "test-older", FAIL="pytest").returncode != 0


def test_older_packages_are_within_the_ranges_and_older_than_the_locked_ones() -> None:
    ranges = {wanted.name: wanted for wanted in map(Requirement, PROJECT["dependencies"])}
    pins = {pin.name: pin for pin in locked("requirements.lock")}
    for packages in OLDER_PACKAGES:
        older = {pin.name: Version(str(pin.specifier)[2:]) for pin in map(Requirement, packages)}
        assert {"pandas", "opencv-python-headless"} <= set(older)
        for name, version in older.items():
            assert ranges[name].specifier.contains(version), name
            assert version < Version(str(pins[name].specifier)[2:])


def test_mlflow_and_tensorboard_are_installed_when_first_asked_for(clone: Path) -> None:
    options = 'case "$1" in pipelines/*) exec python3 "$@";; esac'
    pretend_set_up(clone, f'{options}; echo "$@" >>calls; [ "$2" != "$FAIL" ]')
    (clone / ".venv" / "bin" / "bottlenecks").write_text('#!/bin/sh\necho "$@" >>calls\n')
    (clone / ".venv" / "bin" / "bottlenecks").chmod(0o755)
    (clone / "requirements-tracking.lock").touch()

    def calls(*arguments: str, **environment: str) -> list[str]:
        (clone / "calls").write_text("")
        make(clone, *arguments, **environment)
        lines = (clone / "calls").read_text().splitlines()
        return [line for line in lines if "-tracking" in line or line.startswith("train-head")]

    assert calls("train-head", "ARGS=--seed 1") == ["train-head --seed 1"]
    *installed, trained = calls("train-head", "ARGS=--seed 1 --mlflow")
    assert trained == "train-head --seed 1 --mlflow"
    assert [line.split()[-2:] for line in installed] == [["-r", "requirements-tracking.lock"]]
    assert calls("train-head", "ARGS=--tensorboard") == ["train-head --tensorboard"], "it is there"
    (clone / ".venv" / "set-up-tracking").unlink()
    (failed,) = calls("train-head", "ARGS=--tensorboard", FAIL="pip")
    assert "pip install" in failed
    assert (
        "Set-up failed: the whole log is in .venv/set-up.log"
        in make(clone, "train-head", "ARGS=--mlflow", FAIL="pip").stderr
    )


@pytest.mark.parametrize("target", ["evaluate", "report"])
def test_what_evidence_needs_is_installed_when_it_is_first_asked_for(clone: Path, target: str) -> None:
    options = 'case "$1" in pipelines/*) exec python3 "$@";; esac'
    pretend_set_up(clone, f'{options}; echo "$@" >>calls')
    (clone / ".venv" / "bin" / "bottlenecks").write_text('#!/bin/sh\necho "$@" >>calls\n')
    (clone / ".venv" / "bin" / "bottlenecks").chmod(0o755)
    (clone / "calls").touch()
    assert make(clone, "predict", "IMAGES=x").returncode == 0
    assert "requirements-report.lock" not in (clone / "calls").read_text()
    for _ in range(2):
        assert make(clone, target, "ARGS=--json").returncode == 0
    calls = (clone / "calls").read_text()
    assert calls.count("-r requirements-report.lock") == 1 and calls.count(f"{target} --json\n") == 2


@pytest.mark.parametrize("name", ["airflow", "deploy"])
def test_other_environments_are_set_up_once_from_their_lock(clone: Path, name: str) -> None:
    own, lock = clone / f".venv-{name}", clone / f"requirements-{name}.lock"
    lock.touch()
    python = clone / "python"
    python.write_text(
        '#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi\n'
        'echo "$@"; [ "$2" != "$FAIL" ]\n'
    )
    python.chmod(0o755)

    def set_up(**environment: str) -> subprocess.CompletedProcess[str]:
        return make(clone, f".venv-{name}/set-up", f"PYTHON={python}", **environment)

    failed = set_up(FAIL="pip")
    assert failed.returncode != 0 and "Set-up failed: the whole log is in" in failed.stderr
    assert set_up().returncode == 0
    assert f"--no-deps -r requirements-{name}.lock\n" in (own / "set-up.log").read_text()
    assert make(clone, "-q", f".venv-{name}/set-up").returncode == 0
    os.utime(own / "set-up", (0, 0))
    assert make(clone, "-q", f".venv-{name}/set-up").returncode == 1
    assert not (clone / ".venv").exists()


def test_clean_leaves_the_store(clone: Path) -> None:
    pretend_set_up(clone, "exit 1")
    rooms = ("features/__pycache__", "heads", "benchmarks", "examples", "tests")
    for folder in ("store/features", *rooms, ".mypy_cache", ".venv-older/bin", ".venv-airflow/bin"):
        (clone / folder).mkdir(parents=True)
    assert make(clone, "clean").returncode == 0
    assert (clone / "store" / "features").is_dir()
    assert (clone / "features").is_dir()
    for folder in (".venv", ".venv-older", ".venv-airflow", "features/__pycache__", ".mypy_cache"):
        assert not (clone / folder).exists()


def locked(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize(
    ("extra", "locks"),
    [
        ("dev", ["requirements.lock"]),
        ("bench", ["requirements.lock", "requirements-bench.lock"]),
        ("mlflow", ["requirements.lock", "requirements-tracking.lock"]),
        ("tensorboard", ["requirements.lock", "requirements-tracking.lock"]),
        ("report", ["requirements.lock", "requirements-report.lock"]),
        ("page-test", ["requirements.lock", "requirements-page.lock"]),
    ],
)
def test_the_locks_hold_a_fitting_version_of_all_that_the_project_asks_for(
    extra: str, locks: list[str]
) -> None:
    pins = {canonicalize_name(pin.name): pin for name in locks for pin in locked(name)}
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]:
        wanted = Requirement(text)
        (pin,) = pins[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(pin.version), f"{text} but {pin} is locked: run `make lock`"


@pytest.mark.parametrize("name", LOCKS_OF_EXTRAS)
def test_what_an_extra_adds_changes_nothing_that_is_locked(name: str) -> None:
    pins = {canonicalize_name(pin.name) for pin in locked("requirements.lock")}
    assert not pins & {canonicalize_name(pin.name) for pin in locked(name)}


@pytest.mark.parametrize("name", ["airflow", "deploy"])
def test_the_locks_of_other_environments_hold_what_these_are_for(name: str) -> None:
    folder = "deploy/airflow" if name == "airflow" else "deploy"
    pins = {canonicalize_name(pin.name): pin for pin in locked(f"requirements-{name}.lock")}
    for wanted in locked(f"{folder}/requirements.in"):
        (pin,) = pins[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(pin.version), f"{wanted} but {pin} is locked: run `make lock`"


@pytest.mark.parametrize("name", ["requirements.lock", *LOCKS_OF_EXTRAS, *LOCKS_OF_OTHERS])
def test_the_locks_are_plain_pins(name: str) -> None:
    for requirement in locked(name):
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
        assert requirement.url is None
