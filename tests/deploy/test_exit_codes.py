"""The exit codes on the page, in the code, and in each scheduler's settings are the same."""

import inspect

import features.errors
from pipelines import cli
from tests.deploy import schedules


def in_code() -> set[int]:
    """What the command can end with: argparse ends with 2."""
    errors = [kind for _, kind in inspect.getmembers(features.errors, inspect.isclass)]
    codes = {kind.exit_code for kind in errors if issubclass(kind, features.errors.BottleneckError)}
    return codes | {0, 2, cli._INTERRUPTED, cli._TERMINATED, cli._UNEXPECTED, cli._INPUT_OUTPUT}


def needs_a_person() -> list[int]:
    """The codes after which another try would fail the same way, as the page says."""
    return sorted(code for code, (_, again) in schedules.exit_codes().items() if again == "no")


def test_the_page_lists_the_codes_that_the_command_ends_with() -> None:
    assert set(schedules.exit_codes()) == in_code()


def test_codes_that_need_a_person_are_never_retried() -> None:
    expected = needs_a_person()
    assert expected == [1, 2, 3, 4, 5, 6]
    (restarts,) = schedules.unit()["RestartPreventExitStatus"]
    assert [int(code) for code in restarts.split()] == expected
    (rule,) = (
        rule
        for rule in schedules.cron_job()["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    )
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"operator": "In", "values": expected}
    assert schedules.dag_constant("NEEDS_A_PERSON") == expected


def test_only_0_lets_systemd_go_on_to_the_next_command() -> None:
    """A code that counts as success starts the next one, even in the middle of a stop."""
    unit = schedules.unit()
    assert len(unit["ExecStart"]) == 2 and "SuccessExitStatus" not in unit
