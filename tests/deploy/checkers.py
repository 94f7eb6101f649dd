"""Checks the files of deploy/ with the tools made for them. For `make test-deploy`.

That runs it with the Python of `.venv-deploy`, where three of the tools are. What is not on this machine is
left out, and said.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.executable).parent
#: Where the units look for the command; systemd-analyze refuses a program that is not there.
INSTALLED = "/opt/bottlenecks/bin/bottlenecks"
#: The oldest Kubernetes whose rules for failed pods are stable, and the newest that the checker knows.
KUBERNETES = ("1.31", "")


def main() -> int:
    results = [
        *(_kubernetes(version) for version in KUBERNETES),
        _run("Dockerfile", TOOLS / "hadolint", DEPLOY / "docker" / "Dockerfile"),
        _run("nightly.sh, as sh reads it", "sh", "-n", DEPLOY / "cron" / "nightly.sh"),
        _run("nightly.sh", TOOLS / "shellcheck", DEPLOY / "cron" / "nightly.sh"),
        _run("crontab", "crontab", "-n", DEPLOY / "cron" / "bottlenecks.crontab"),
        _systemd(),
    ]
    left_out = results.count(None)
    print(f"{results.count(True)} passed, {results.count(False)} failed, {left_out} left out", flush=True)
    return results.count(False)


def _kubernetes(version: str) -> bool | None:
    asked = ["--kubernetes-version", version] if version else []
    program, file = TOOLS / "kubernetes-validate", DEPLOY / "kubernetes" / "cronjob.yaml"
    return _run(f"cronjob.yaml, Kubernetes {version or 'newest'}", program, "--strict", *asked, file)


def _systemd() -> bool | None:
    with tempfile.TemporaryDirectory() as folder:
        units = []
        for unit in ("bottlenecks.service", "bottlenecks.timer"):
            text = (DEPLOY / "systemd" / unit).read_text()
            units.append(Path(folder, unit))
            units[-1].write_text(text.replace(INSTALLED, str(ROOT / ".venv" / "bin" / "bottlenecks")))
        return _run("service and timer", "systemd-analyze", "verify", *units)


def _run(what: str, program: str | Path, *arguments: str | Path) -> bool | None:
    """Whether the program accepts it; None where the program is missing or is of another kind."""
    name = Path(program).name
    if not shutil.which(program):
        print(f"  {what}: left out, {name} is not installed", flush=True)
        return None
    result = _output([str(program), *map(str, arguments)])
    if name == "crontab" and "invalid option" in result.stdout:
        print(f"  {what}: left out, this {name} cannot check a file without installing it", flush=True)
        return None
    # systemd-analyze ends with 0 for a setting that it does not know, and only says so.
    accepted = result.returncode == 0 and not (name == "systemd-analyze" and result.stdout.strip())
    print(f"  {what}: {name} {'accepts it' if accepted else 'refuses it'}", flush=True)
    if not accepted:
        print(result.stdout, flush=True)
    return accepted


def _output(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    sys.exit(main())
