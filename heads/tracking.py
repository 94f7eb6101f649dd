"""Training shown in other tools: a run in MLflow for each saved head, and curves in TensorBoard.

Use it where heads are compared in MLflow, or training is watched in TensorBoard. Both are optional (the
extras `mlflow` and `tensorboard`), and no head needs them. Where runs go is set as MLflow's users are used
to, by `MLFLOW_TRACKING_URI` and its like; there are no settings of our own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features import files
from features.errors import BottleneckError
from heads.registry import head_class
from heads.saved import SavedHead

if TYPE_CHECKING:
    import keras
    from mlflow.tracking import MlflowClient

#: A model file of more bytes than this stays in the store alone.
_LARGEST_MODEL = 10_000_000
#: The loggers that MLflow gives handlers of its own, which write to the standard error stream.
_LOGGERS = ("mlflow", "alembic", "sqlalchemy.engine")


class MlflowRun(NamedTuple):
    """Where MLflow has a head.

    Attributes:
        id: of the run.
        experiment: its name.
        tracking_uri: of the server or the store, without credentials.
    """

    id: str
    experiment: str
    tracking_uri: str


def check_mlflow() -> str:
    """Refuse, before anything is trained, what could not be logged afterwards.

    A server is not asked: it may be away now and back when training is done.

    Returns:
        The tracking URI, without credentials.

    Raises:
        BottleneckError: where MLflow is not installed, or can't use its tracking store.
    """
    uri = _tracking_uri()
    try:
        with _quiet():
            _client()
    except Exception as error:
        raise BottleneckError(
            f"MLflow can't use the tracking store {uri}: set MLFLOW_TRACKING_URI to a server, or install "
            f"sqlalchemy and alembic for a database on this machine, or set MLFLOW_ALLOW_FILE_STORE=true "
            f"for a folder (MLflow says: {_message(error).split('. ')[0]})"
        ) from error
    return uri


def log_to_mlflow(saved: SavedHead, *, experiment: str | None = None) -> MlflowRun:
    """Log a head as one run of MLflow, named after the head.

    It has what `mlflow_params`, `mlflow_metrics` and `mlflow_tags` give, and as artifacts the files of the
    head, but for a model of more than 10 MB. MLflow tries for four minutes to reach a server that is down,
    unless `MLFLOW_HTTP_REQUEST_MAX_RETRIES` says otherwise.

    Args:
        saved: the head.
        experiment: name of the experiment, made if there is none; by default `MLFLOW_EXPERIMENT_NAME`, or the
            name of the feature table.

    Raises:
        BottleneckError: where MLflow is not installed, or anything could not be logged. A run that was
            begun is marked as failed.
    """
    uri = _tracking_uri()
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or saved.facts["table"]
    try:
        with _quiet():
            client = _client()
            tags = mlflow_tags(saved.facts)
            run = client.create_run(_experiment_id(client, name), run_name=saved.id, tags=tags)
            _fill(client, run.info.run_id, saved)
    except Exception as error:  # MLflow's, those of its HTTP client, and of the artifact store's library
        raise BottleneckError(
            f"head {saved.id} could not be logged to MLflow at {uri}: {_message(error)}"
        ) from error
    return MlflowRun(run.info.run_id, name, uri)


def mlflow_params(facts: Mapping[str, Any]) -> dict[str, str]:
    """What was trained and how: kind, layers, weights, workflow, parameters, and what training chose."""
    chosen = {
        f"training.{name}": value
        for name, value in (facts["training"] or {}).items()
        if isinstance(value, str | int | float)
    }
    params = {
        "kind": facts["kind"],
        "layers": ",".join(column["layer"] for column in facts["columns"]),
        "weights": facts["columns"][0]["recipe"]["weights"],
        **{name: facts[name] for name in ("workflow", "from_head", "blocks") if name in facts},
        **{f"augment.{name}": strength for name, strength in facts.get("augmentation", {}).items()},
        **facts["parameters"],
        **chosen,
    }
    return {name: str(value) for name, value in params.items()}


def mlflow_metrics(facts: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are numbers, as `test.accuracy` and `test.f1.macro`; an interval as two.

    Those of single classes are in `head.json`.
    """
    metrics: dict[str, float] = {}

    def add(key: str, value: Any) -> None:
        if _is_number(value):
            metrics[key] = value
        elif key.endswith("_interval"):
            metrics[f"{key}_low"], metrics[f"{key}_high"] = value
        elif isinstance(value, dict) and not key.endswith("per_class"):
            for name, inner in value.items():
                add(f"{key}.{name}", inner)

    for split, of_split in facts["metrics"].items():
        add(split, of_split)
    return metrics


def mlflow_tags(facts: Mapping[str, Any]) -> dict[str, str]:
    """What it was trained from and with: table and version, recipe, fingerprints, package versions."""
    recipe = facts["columns"][0]["recipe"]
    return {
        "table": facts["table"],
        **({} if facts["table_version"] is None else {"table_version": str(facts["table_version"])}),
        **{name: str(recipe[name]) for name in ("backbone", "weights_sha256", "precision")},
        **{f"fingerprint.{column['layer']}": column["fingerprint"] for column in facts["columns"]},
        **{f"package.{name}": version for name, version in facts["packages"].items()},
    }


def tensorboard_callback(folder: str | Path) -> keras.callbacks.TensorBoard:
    """Keras's callback that logs to `folder` for TensorBoard, for `train_head(callbacks=…)`.

    Raises:
        BottleneckError: where TensorBoard is not installed, which TensorFlow writes its logs with.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise BottleneckError(
            "TensorBoard is not installed, and TensorFlow writes no logs for it without: "
            "`pip install tensorboard`"
        )
    from keras.callbacks import TensorBoard

    # The graph would be that of the folded form a head is trained in, which Keras can't write down.
    return TensorBoard(folder, write_graph=False)


def _tracking_uri() -> str:
    """MLflow's tracking URI, without credentials; a BottleneckError where there is no MLflow."""
    try:
        import mlflow
    except ImportError as error:
        raise BottleneckError(
            f"MLflow can't be imported ({error}): `pip install mlflow-skinny`, or mlflow with all it has"
        ) from error
    return _without_credentials(mlflow.get_tracking_uri())


def _client() -> MlflowClient:
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def _experiment_id(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    try:
        return client.create_experiment(name)
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # somebody else has just made it
            return found.experiment_id
        raise


def _fill(client: MlflowClient, run_id: str, saved: SavedHead) -> None:
    """Log all of a head to a run that was begun, and end the run."""
    from mlflow.entities import Metric, Param

    now = time.time_ns() // 10**6
    metrics = [Metric(name, value, now, 0) for name, value in mlflow_metrics(saved.facts).items()]
    params = [Param(name, value) for name, value in mlflow_params(saved.facts).items()]
    try:
        client.log_batch(run_id, metrics, params)
        for path in _artifacts(saved):
            client.log_artifact(run_id, str(path))
        client.set_terminated(run_id)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            client.set_terminated(run_id, "FAILED")
        raise


def _artifacts(saved: SavedHead) -> list[Path]:
    """The files of a head, but for a large model."""
    model = head_class(saved.facts["kind"]).model_file
    paths = [saved.directory / name for name in files.names(saved.directory)]
    return [path for path in paths if path.name != model or files.info(path).size <= _LARGEST_MODEL]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MLflow prints nothing (by default the URL of a run, with any password in it), and logs as others do."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [], True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


def _message(error: Exception) -> str:
    """What an error says, in one line."""
    text = " ".join(_without_credentials(str(error)).split()).rstrip(".")
    return text or type(error).__name__


def _without_credentials(text: str) -> str:
    """`text` without what stands before the host, or after a question mark, in any URL."""
    return re.sub(r"(?<=\w://)[^\s/]*@|\?\S+", "", text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
