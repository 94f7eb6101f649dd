"""What the commands that train tell TensorBoard and MLflow, where that is asked for."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from features.errors import BottleneckError
from features.locations import logs_path
from heads import SavedHead
from heads.tracking import check_mlflow, log_to_mlflow, tensorboard_callback
from pipelines.options import Options
from pipelines.screen import Screen

if TYPE_CHECKING:
    import keras


class NotLogged(BottleneckError):
    """The head is trained and saved, but MLflow has not got it.

    Attributes:
        summary: what to print of the head.
    """

    def __init__(self, message: str, summary: str) -> None:
        super().__init__(message)
        self.summary = summary


class Tracking:
    """Of one command, whose options have `tensorboard` and `mlflow`.

    Args:
        options: of the command.
        run_id: names the folder of TensorBoard.

    Attributes:
        callbacks: of Keras, for the training.

    Raises:
        BottleneckError: where a package is missing.
    """

    def __init__(self, options: Options, run_id: str, screen: Screen) -> None:
        self._screen = screen
        self._uri = check_mlflow() if options.mlflow else None
        self.callbacks: list[keras.callbacks.Callback] = []
        if options.tensorboard:
            folder = logs_path(options.store) / "tensorboard" / run_id
            self.callbacks.append(tensorboard_callback(folder))
            screen.say(f"To watch: tensorboard --logdir {shlex.quote(str(folder))}")
        self._error: BottleneckError | None = None

    def log(self, saved: SavedHead) -> list[str]:
        """Log a head to MLflow, where that was asked for: the line that says where it is."""
        if self._uri is None:
            return []
        self._screen.say(f"Logging head {saved.id} to MLflow at {self._uri} …")
        try:
            run = log_to_mlflow(saved)
        except BottleneckError as error:
            self._error = error
            return []
        return [f"MLflow: run {run.id} of experiment {run.experiment!r} at {run.tracking_uri}"]

    def finish(self, summary: str) -> str:
        """The summary of the command, as it is.

        Raises:
            NotLogged: where the head could not be logged; it is saved all the same.
        """
        if self._error:
            raise NotLogged(f"the head is saved, but {self._error}", summary) from self._error
        return summary
