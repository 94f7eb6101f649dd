"""Is what is installed here the whole distribution and nothing else, and does it run? For `make test-wheel`.

That runs it with `-I` in an environment without the tools of development. `-I` keeps the folder of this file
out of the search: the tests of `features` are a package of that name, too.
"""

import importlib
import subprocess
import sys
import tempfile
from importlib.metadata import files, version
from pathlib import Path

NAME = "bottleneck-features"
PACKAGES = {"features", "heads", "pipelines"}
COMMAND = Path(sys.executable).with_name("bottlenecks")
STORE = Path(__file__).parent / "fixtures" / "old_store" / "store"


def main() -> None:
    check_files()
    import_everything()
    with tempfile.TemporaryDirectory() as empty:
        result = subprocess.run([COMMAND, "info", "--store", empty], capture_output=True, text=True)
        # One sentence, whether an empty store is a fault or not.
        check(len((result.stdout + result.stderr).splitlines()) == 1, result.stdout + result.stderr)
        print((result.stdout + result.stderr).strip(), flush=True)
    subprocess.run([COMMAND, "info", "--store", STORE], check=True)


def check_files() -> None:
    names = {file.as_posix() for file in files(NAME) or []}
    packages = {name.partition("/")[0] for name in names if name.endswith(".py")}
    check(packages == PACKAGES, f"these packages are installed: {sorted(packages)}")
    for package in PACKAGES:
        check(f"{package}/py.typed" in names, f"{package} has no py.typed")


def import_everything() -> None:
    modules = sorted(file.with_suffix("").parts for file in files(NAME) or [] if file.suffix == ".py")
    for parts in modules:
        importlib.import_module(".".join(parts).removesuffix(".__init__"))
    print(f"{NAME} {version(NAME)}: {len(modules)} modules imported", flush=True)


def check(condition: bool, message: str) -> None:
    if not condition:
        sys.exit(message)


if __name__ == "__main__":
    main()
