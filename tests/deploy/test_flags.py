"""The command lines in the files of deploy/, and on their page, are ones that the command takes."""

import ast
import re

import pytest

from pipelines.options import options_of
from tests.deploy import schedules


def lines() -> dict[str, list[schedules.CommandLine]]:
    """By file; each file gives some."""
    read = {
        name: schedules.command_lines((schedules.ROOT / name).read_text())
        for name in ("deploy/cron/nightly.sh", "deploy/systemd/bottlenecks.service", "docs/schedule.md")
    }
    read["deploy/kubernetes/cronjob.yaml"] = [
        schedules.CommandLine(container["args"][0], schedules.flags(container["args"]))
        for container in schedules.containers()
    ]
    read["deploy/airflow/dags/bottlenecks.py"] = [
        schedules.CommandLine(
            task["command"], [f"--{name}" for name in task["takes"]] + schedules.flags([*task["flags"]])
        )
        for task in schedules.dag_tasks()
    ]
    return read


@pytest.mark.parametrize("file", lines())
def test_each_flag_is_one_of_the_command(file: str) -> None:
    found = lines()[file]
    assert {"extract", "train-head"} <= {line.command for line in found}
    for command, flags in found:
        known = {option.flag for option in options_of(command)} | {"--debug", "--help"}
        assert set(flags) <= known, f"{file}: {command}"


def test_every_schedule_extracts_first_and_then_trains() -> None:
    for file, found in lines().items():
        if file.startswith("deploy/"):
            commands = [line.command for line in found]
            assert commands[:2] == ["extract", "train-head"], file
            assert all("--store" in line.flags for line in found), file


def test_flags_that_are_given_as_examples_are_known() -> None:
    files = [
        path for path in schedules.DEPLOY.rglob("*") if path.suffix in (".env", ".sh", ".py", ".crontab")
    ]
    known = {option.flag for command in schedules.COMMANDS for option in options_of(command)}
    ours = {"--nonblock", "--version"}
    found = {flag for path in files for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text())}
    assert found and found - ours <= known


def test_the_params_of_the_dag_are_what_its_tasks_take() -> None:
    text = (schedules.DEPLOY / "airflow" / "dags" / "bottlenecks.py").read_text()
    params = set(re.findall(r'^ +"(\w+)": _param\("(\w+)"', text, re.MULTILINE))
    assert all(name == variable for name, variable in params)
    taken = {name for task in schedules.dag_tasks() for name in (*task["takes"], task.get("args"))} - {None}
    assert {name for name, _ in params} == taken
    for name in taken:
        assert f"BOTTLENECKS_{name.upper()}" in text, f"the module's text does not name {name}"


def test_the_dag_decides_on_the_head_that_it_trained_and_undoes_no_decision() -> None:
    """Without an id another head may be promoted; without `--if-undecided`, each night undoes a rollback."""
    *_, promote = schedules.dag_tasks()
    assert promote["command"] == "promote"
    assert promote["flags"][1:] == (
        "--if-undecided",
        "--head-id={{ ti.xcom_pull(task_ids='train-head')['head'] }}",
    )
    assert 'template_fields = ("flags",)' in ast.unparse(schedules.dag()).replace("'", '"')
