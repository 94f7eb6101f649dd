"""Engines: what runs a backbone. Keras defines the network once, an engine made for inference runs it.

An engine is a module here with two functions, `convert` (a Keras model to a folder) and `load` (that folder
to an `Engine`), and an entry in `ENGINES`. Features from any of them may share a table: the engine is a fact
of a run, not of the recipe, and the same parity tests hold for each.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from features.errors import check_known

#: The engines, each a module `<name>_engine` here, with the packages whose versions a converted graph is of.
ENGINES = {
    "tensorflow": ("keras", "tensorflow"),
    "openvino": ("keras", "tensorflow", "openvino"),
}


class Engine(Protocol):
    """A loaded backbone.

    Attributes:
        name: in `ENGINES`.
        precision: the precision that the engine really computes in.
        batch_size: images that one call takes, always.
        streams: how many calls of `infer` may run at once, from different threads.
    """

    name: str
    precision: str
    batch_size: int
    streams: int

    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Features of one batch; safe to call from `streams` threads at once.

        Args:
            pixels: float32 (batch_size, input_size, input_size, 3), RGB from 0 to 255.

        Returns:
            For each layer the engine was loaded for, float32 (batch_size, width).
        """


def engine_module(name: str) -> Any:
    """The module of an engine, imported when it is needed."""
    return importlib.import_module(f"features.engines.{name}_engine")


def load_engine(name: str, folder: Path, layers: tuple[str, ...], precision: str) -> Engine:
    """Load a converted graph from the cache (`features.engines.graphs`)."""
    return engine_module(name).load(folder, layers, precision)


def choose_engine(name: str) -> str:
    """The engine that `auto` means here: OpenVINO on a CPU, TensorFlow where there is a GPU."""
    check_known("engine", name, ["auto", *ENGINES])
    if name != "auto":
        return name
    return "tensorflow" if os.path.exists("/dev/nvidia0") else "openvino"
