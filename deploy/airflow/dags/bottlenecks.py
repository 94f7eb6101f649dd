"""Each night: extract what is new, train a head, make it the current one if it is not worse.

The tasks call the installed command in its own environment; Airflow's needs none of this project's packages.
Copy this file into Airflow's folder of DAGs. Its settings are params, so that a run by hand can have others;
their defaults come from the environment of the DAG processor:

    BOTTLENECKS_COMMAND   the installed command; cannot be a param, since it says which program is run
    BOTTLENECKS_STORE, BOTTLENECKS_DATA, BOTTLENECKS_FEATURES, BOTTLENECKS_WEIGHTS
    BOTTLENECKS_EXTRACT_ARGS, BOTTLENECKS_TRAIN_ARGS   further flags: "--remove-gone --max-rejected 0.2"

The line that each command prints with `--json` is its task's XCom.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

#: Exit codes that a person has to look at: the same run again would fail the same way. docs/schedule.md
#: lists them all.
NEEDS_A_PERSON = range(1, 7)


class BottlenecksOperator(BaseOperator):
    """Runs one command of `bottlenecks`; what it prints for people is the task's log.

    Args:
        command: the sub-command.
        takes: the params of the DAG that are flags of it; one that is empty is left to the command.
        flags: further flags; templates of Airflow.
        args: name of a param that holds more of them.
    """

    template_fields = ("flags",)

    def __init__(
        self, *, command: str, takes: tuple[str, ...], flags: tuple[str, ...], args: str = "", **more: Any
    ) -> None:
        super().__init__(**more)
        self.command = command
        self.takes = takes
        self.flags = flags
        self.args = args
        self.process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Run it; what its line of JSON holds.

        Raises:
            AirflowFailException: for an exit code that no further try would change.
            AirflowException: for any other one; the task is tried again.
        """
        words = self.words(context["params"])
        self.log.info("Running %s", shlex.join(words))
        # A file, not a second pipe: whoever reads one pipe to its end must not block on the other.
        with tempfile.TemporaryFile("w+") as output:
            self.process = subprocess.Popen(words, stdout=output, stderr=subprocess.PIPE, text=True)
            assert self.process.stderr is not None
            for line in self.process.stderr:
                self.log.info("%s", line.rstrip())
            code = self.process.wait()
            output.seek(0)
            lines = output.read().splitlines()
        for line in lines:
            self.log.info("%s", line)
        if code in NEEDS_A_PERSON:
            raise AirflowFailException(f"bottlenecks {self.command} ended with {code}: a person has to look")
        if code:
            raise AirflowException(f"bottlenecks {self.command} ended with {code}")
        return json.loads(lines[-1])

    def words(self, params: dict[str, str | None]) -> list[str]:
        """The command line, for params of the run."""
        command = os.environ.get("BOTTLENECKS_COMMAND", "/opt/bottlenecks/bin/bottlenecks")
        given = [f"--{name}={params[name]}" for name in self.takes if params[name]]
        more = shlex.split((params[self.args] if self.args else "") or "")
        return [command, self.command, *given, *self.flags, *more]

    def on_kill(self) -> None:
        """Let it end in good order: what it has committed stays."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)


def _param(name: str, default: str, description: str) -> Param:
    default = os.environ.get(f"BOTTLENECKS_{name.upper()}", default)
    # Without "null" the form asks for a value of what may be left empty.
    return Param(default, type=["null", "string"], description=description)


with DAG(
    "bottlenecks",
    description="Bottleneck features of new images, and a head trained from them",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    # Each run does all that is new by then: nights that were missed need no run of their own.
    catchup=False,
    # Two runs on one table would only wait for each other.
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    params={
        "store": _param("store", "/var/lib/bottlenecks/store", "folder of the features and the heads"),
        "data": _param("data", "/srv/photos", "images"),
        "features": _param("features", "", "name of the table, if it is not the backbone's"),
        "weights": _param("weights", "", "weights, if they are not those of the table"),
        "extract_args": _param("extract_args", "", "further flags of extract"),
        "train_args": _param("train_args", "", "further flags of train-head"),
    },
    tags=["bottlenecks"],
):
    extract = BottlenecksOperator(
        task_id="extract",
        command="extract",
        takes=("store", "data", "features", "weights"),
        flags=("--json",),
        args="extract_args",
    )
    # Whether the head becomes the current one is the next task's to say: it can be run again by itself.
    train_head = BottlenecksOperator(
        task_id="train-head",
        command="train-head",
        takes=("store", "features"),
        flags=("--json", "--promote=never"),
        args="train_args",
    )
    # That head and no other; and where nothing was trained, a decision of a person's is left as it is.
    promote = BottlenecksOperator(
        task_id="promote",
        command="promote",
        takes=("store", "features"),
        flags=(
            "--json",
            "--if-undecided",
            "--head-id={{ ti.xcom_pull(task_ids='train-head')['head'] }}",
        ),
    )
    extract >> train_head >> promote
