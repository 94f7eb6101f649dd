"""What the files of deploy/ say, read from them: command lines, and the exit codes that nobody retries."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "schedule.md"
COMMANDS = ("extract", "train-head", "promote")


class CommandLine(NamedTuple):
    command: str
    flags: list[str]


def command_lines(text: str) -> list[CommandLine]:
    """Each command of a shell script, a unit or a page, with the flags that follow it in its line.

    What is in backquotes in a page ends with the backquote.
    """
    found = []
    for command, rest in re.findall(rf"\b({'|'.join(COMMANDS)})((?: +--?[^`\s]+)+)", text):
        found.append(CommandLine(command, flags(shlex.split(rest, comments=True))))
    return found


def flags(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def cron_job() -> dict[str, Any]:
    return resources()["CronJob"]


def resources() -> dict[str, Any]:
    """The Kubernetes resources, by kind; of several of one kind the last."""
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "cronjob.yaml").read_text())
    return {document["kind"]: document for document in documents}


def pod() -> dict[str, Any]:
    return cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def containers() -> list[dict[str, Any]]:
    return [*pod()["initContainers"], *pod()["containers"]]


def unit() -> dict[str, list[str]]:
    """The values of each setting of the service, in order."""
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / "bottlenecks.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def dag() -> ast.Module:
    return ast.parse((DEPLOY / "airflow" / "dags" / "bottlenecks.py").read_text())


def dag_constant(name: str) -> Any:
    """What a constant of the DAG's module is: the module itself needs Airflow."""
    for node in dag().body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "range":
                return list(range(*map(ast.literal_eval, node.value.args)))
            return ast.literal_eval(node.value)
    raise AssertionError(f"the DAG has no {name}")


def dag_tasks() -> list[dict[str, Any]]:
    """The arguments of each task of the DAG."""
    return [
        {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords}
        for node in ast.walk(dag())
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "BottlenecksOperator"
    ]


def exit_codes() -> dict[int, tuple[str, str]]:
    """The table of docs/schedule.md: what each code means, and whether another try may help."""
    rows = re.findall(r"^\| (\d+(?:, \d+)*) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    return {int(code): (meaning, again) for codes, meaning, again in rows for code in codes.split(", ")}
