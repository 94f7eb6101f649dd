"""Puts small faults into the modules, one at a time, and says which of them the tests notice.

The faults (mutants) are mutmut's: an argument left out or None, a number one higher, a comparison turned
round, and so on. A module's tests are those in the file of the same place under tests/, and those that `ALSO`
adds: a module whose faults only the tests of others would notice has no tests.

    python tests/mutants.py --base main           the modules that changed since a revision
    python tests/mutants.py --all                 every module: an hour or more
    python tests/mutants.py features/splits.py    these

A run that was stopped goes on with the module that it was at. Of each module a seeded sample is tried. What
was noticed stays noticed until the module changes; what was not is tried again when its tests have changed.
Results, and the faults that went unnoticed: .mutants/MODULE/.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mutmut.configuration import reset_config
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".mutants"
ROOMS = ("features", "heads", "pipelines")

# Tests of a module besides those in the file of its own name.
ALSO: dict[str, tuple[str, ...]] = {
    "features/images/pillow.py": (
        "tests/features/images/test_families.py",
        "tests/features/images/test_jpeg.py",
    ),
    "features/images/others.py": ("tests/features/images/test_orientation.py",),
    "features/inputs/__init__.py": ("tests/features/inputs/test_list_images.py",),
    "heads/evidence/evaluation.py": ("tests/heads/evidence/test_gathering.py",),
    "heads/evidence/packages.py": ("tests/heads/page/test_document.py",),
    "heads/evidence/sources.py": ("tests/heads/evidence/test_gathering.py",),
    "heads/evidence/subject.py": ("tests/heads/evidence/test_gathering.py",),
    "heads/evidence/text.py": ("tests/heads/evidence/test_gathering.py",),
    **{
        f"heads/page/{name}.py": ("tests/heads/page/test_document.py",)
        for name in ("choices", "data", "map_section", "missing", "mistakes", "overview", "parts", "pictures")
    },
    **{
        f"heads/page/{name}.py": ("tests/heads/page/test_document.py",)
        for name in ("transfer", "trust", "writer")
    },
    "heads/fitting.py": ("tests/heads/test_training.py",),
    "pipelines/cli.py": ("tests/pipelines/test_options.py",),
    "pipelines/handler.py": ("tests/pipelines/test_extraction.py",),
    "pipelines/output_file.py": ("tests/pipelines/test_predict.py",),
    "pipelines/planning.py": ("tests/pipelines/test_plan_histories.py",),
}

# Imported before workers are forked, where the tests use them. None starts a thread until it is used.
PRELOADED = (
    "apache_beam",
    "cv2",
    "deltalake",
    "duckdb",
    "keras",
    "openvino",
    "sklearn.linear_model",
    "tensorflow",
)

# What the copy's conftest.py has besides. The code without a fault fills a cache of converted graphs, of
# which each fault has links of its own: none finds what another left. And the quickest tests come first.
CONFTEST = """
import importlib, json, os, shutil, sys, tempfile
from pathlib import Path

USED, STATS = Path("used.json"), Path("mutmut-stats.json")
if USED.exists():
    for package in json.loads(USED.read_text()):
        importlib.import_module(package)

def pytest_sessionstart(session):
    home = Path("{cache}")
    home.mkdir(parents=True, exist_ok=True)
    session.config.mutant = mutant = os.environ["MUTANT_UNDER_TEST"]
    if mutant == "stats":  # known to this process; those that tests start lack mutmut's settings
        del os.environ["MUTANT_UNDER_TEST"]
    if mutant not in ("", "stats", "list_all_tests"):
        own = tempfile.mkdtemp(dir="..", prefix="keras-")
        home = shutil.copytree(home, Path(own).resolve(), copy_function=os.link, dirs_exist_ok=True)
    os.environ["KERAS_HOME"] = str(home)

def pytest_sessionfinish(session):
    if session.config.mutant == "stats":
        USED.write_text(json.dumps([package for package in {preloaded} if package in sys.modules]))

def pytest_collection_modifyitems(items):
    durations = json.loads(STATS.read_text())["duration_by_test"] if STATS.exists() else {{}}
    items.sort(key=lambda item: durations.get(item.nodeid, 0))
"""

NOTICED, UNNOTICED = ("killed", "timeout", "segfault"), ("survived", "no tests")

# A worker that takes this many times as long as the tests without a fault, and some seconds, hangs.
PATIENCE, SECONDS = 6.0, 5.0


class MutmutError(Exception):
    """The mutants of a module can't be tried."""


@dataclasses.dataclass
class Result:
    """What became of the mutants of one module.

    Attributes:
        source: hash of the module.
        tests: hash of its tests.
        outcomes: of each mutant that was tried, in mutmut's words: "killed", "survived", "timeout", ...
        diffs: what the mutants that went unnoticed change.
    """

    source: str
    tests: str = ""
    outcomes: dict[str, str] = dataclasses.field(default_factory=dict)
    diffs: dict[str, str] = dataclasses.field(default_factory=dict)


def tests_of(module: str) -> list[str]:
    """The test files of a module, relative to the root."""
    own = f"tests/{Path(module).with_name('test_' + Path(module).name)}"
    if Path(module).name == "__init__.py":
        own = f"tests/{Path(module).parent}/test_init.py"
    return [test for test in (own, *ALSO.get(module, ())) if (ROOT / test).exists()]


def modules_changed_since(base: str) -> list[str]:
    """The modules that differ from a revision, or whose tests do."""
    changed = set(git("diff", "--name-only", base)) | set(git("ls-files", "--others", "--exclude-standard"))
    return [module for module in all_modules() if not changed.isdisjoint([module, *tests_of(module)])]


def all_modules() -> list[str]:
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return [str(path.relative_to(ROOT)) for path in paths]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """While no other run is at work on the same results."""
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"another run is at work in {RESULTS}")
        yield


def git(*arguments: str) -> list[str]:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def digest(paths: Sequence[str]) -> str:
    return hashlib.sha256(b"\0".join((ROOT / path).read_bytes() for path in paths)).hexdigest()


def folder_of(module: str) -> Path:
    return RESULTS / module.removesuffix(".py").replace("/", ".")


def earlier_result(module: str) -> Result | None:
    """What an earlier run found of the module as it is now."""
    path = folder_of(module) / "result.json"
    if not path.exists():
        return None
    result = Result(**json.loads(path.read_text()))
    return result if result.source == digest([module]) else None


def try_module(module: str, sample: int, processes: int) -> Result:
    """Try the mutants of one module that no earlier run has an answer for, and keep what came of them."""
    tests = tests_of(module)
    result = earlier_result(module) or Result(digest([module]))
    with tree(module, tests):
        names = sampled(module, sample)
        if result.tests != digest(tests):
            for name in result.diffs:
                del result.outcomes[name]
            result = Result(result.source, digest(tests), result.outcomes)
        to_try = [name for name in names if name not in result.outcomes]
        if to_try and tests:
            result.outcomes |= run_mutmut(module, to_try, processes)
            for name in to_try:
                if result.outcomes.get(name) in UNNOTICED:
                    result.diffs[name] = get_diff_for_mutant(name, path=Path(module))
        else:
            result.outcomes |= dict.fromkeys(to_try, "no tests")
            result.diffs |= dict.fromkeys(to_try, "")
    folder = folder_of(module)
    (folder / "result.json").write_text(json.dumps(dataclasses.asdict(result), indent=1))
    diffs = [f"# {name}: {result.outcomes[name]}\n{diff}\n" for name, diff in result.diffs.items()]
    (folder / "unnoticed.diff").write_text("\n".join(diffs))
    return result


@contextlib.contextmanager
def tree(module: str, tests: Sequence[str]) -> Iterator[None]:
    """A copy of the tree of the module's own, for mutmut to work in, as the current folder."""
    folder_of(module).mkdir(parents=True, exist_ok=True)
    # A new one each time: workers of a run that was interrupted may still write to theirs.
    with tempfile.TemporaryDirectory(dir=folder_of(module), ignore_cleanup_errors=True) as name:
        prepare_tree(Path(name), module, tests)
        with contextlib.chdir(name):
            yield


def prepare_tree(folder: Path, module: str, tests: Sequence[str]) -> None:
    """Copy what git knows, or would, and add mutmut's settings."""
    for name in git("ls-files", "--cached", "--others", "--exclude-standard"):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    lists = {
        "source_paths": ROOMS,
        "only_mutate": [module],
        "also_copy": [path.name for path in folder.iterdir() if path.name not in ROOMS],
        "pytest_add_cli_args_test_selection": tests,
        "pytest_add_cli_args": ["-m", "not slow", "-p", "no:cacheprovider"],
    }
    single = {
        # No process that has read a table or run a network can be forked: workers come from one that has not.
        "process_isolation": "forkserver",
        "timeout_multiplier": PATIENCE,
        "timeout_constant": SECONDS,
        "debug": "true",  # else mutmut keeps the messages of tests that fail without a fault to itself
    }
    config = [f"{key} =" + "".join(f"\n    {value}" for value in values) for key, values in lists.items()]
    config += [f"{key} = {value}" for key, value in single.items()]
    with open(folder / "tests/conftest.py", "a") as conftest:
        conftest.write(CONFTEST.format(cache=cache(), preloaded=PRELOADED))
    (folder / "mutants").mkdir()  # before Python looks for modules in it
    (folder / "setup.cfg").write_text("\n".join(["[mutmut]", *config, ""]))


def cache() -> Path:
    """The folder of graphs that this version of the code converts."""
    code = [path for path in all_modules() if path.startswith(("features/backbones", "features/engines"))]
    return RESULTS / f"keras-{digest(code)[:16]}"


def sampled(module: str, sample: int) -> list[str]:
    """Names of mutants of the module: the same ones at each call, while the module is the same."""
    reset_config()
    mutated = mutate_file_contents(module, Path(module).read_text())
    names = [get_mutant_name(Path(module), name) for name in mutated.mutant_names]
    return sorted(random.Random(module).sample(names, min(sample, len(names))))


def run_mutmut(module: str, names: Sequence[str], processes: int) -> dict[str, str]:
    """What became of each mutant.

    Raises:
        MutmutError: mostly because the tests fail without a fault, too.
    """
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
    # What a test starts as a process of its own finds the mutants too.
    environment = os.environ | {"PYTHONPATH": str(Path("mutants").resolve())}
    log = folder_of(module) / "log"
    with open(log, "w") as file:
        process = subprocess.run(command, check=False, env=environment, stdout=file, stderr=subprocess.STDOUT)
    if process.returncode:
        if "could not find any test case" in log.read_text():
            return dict.fromkeys(names, "no tests")
        raise MutmutError(
            f"{module}: mutmut ended with code {process.returncode}: see {log.relative_to(ROOT)}"
        )
    codes = json.loads(Path(f"mutants/{module}.meta").read_text())["exit_code_by_key"]
    # Not those that were interrupted.
    outcomes = {name: status_by_exit_code[codes[name]] for name in names}
    return {name: outcome for name, outcome in outcomes.items() if outcome in (*NOTICED, *UNNOTICED)}


def row(module: str, result: Result) -> str:
    tried, noticed = len(result.outcomes), len(result.outcomes) - len(result.diffs)
    crashed = sum(outcome in ("timeout", "segfault") for outcome in result.outcomes.values())
    return f"| {module} | {tried} | {noticed} | {crashed or ''} | {noticed / tried:.0%} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="paths of modules, such as features/splits.py")
    parser.add_argument(
        "--base", default="HEAD", help="revision: the modules changed since (default: %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="every module")
    parser.add_argument(
        "--sample", type=int, default=100, help="mutants of a module at most (default: %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: %(default)s")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.modules) - set(all_modules())):
        parser.error(f"there is no module {', '.join(unknown)}")
    modules = all_modules() if options.all else options.modules
    if not modules:
        try:
            modules = modules_changed_since(options.base)
        except subprocess.CalledProcessError as error:
            parser.error(f"--base {options.base}: {error.stderr.strip()}")
    if not modules:
        parser.exit(message=f"no module has changed since {options.base}, nor have its tests\n")
    failed = False
    with alone():
        print("| module | tried | noticed | hung or crashed | share |", "|---|--:|--:|--:|--:|", sep="\n")
        for module in modules:
            if options.fresh:
                shutil.rmtree(folder_of(module), ignore_errors=True)
            try:
                result = try_module(module, options.sample, options.processes)
            except MutmutError as error:
                failed = True
                print(error, file=sys.stderr)
            else:
                if result.outcomes:
                    print(row(module, result), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
