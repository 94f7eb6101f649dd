"""A backbone converted for an engine, kept in a cache; and the hash of weights, kept likewise.

Building the network in Keras and converting it takes half a minute and a gigabyte, and gives the same
graph each time. So it is done once for each set of weights and versions of the packages, in a process
of its own, and a run that finds its graph here imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from features import files
from features.backbones import Backbone, get_backbone
from features.backbones.weights import WeightsSource
from features.downloads import cache_dir
from features.engines import ENGINES, engine_module
from features.errors import BottleneckError

#: Goes up when `features.backbones.network` builds another graph or other random weights.
_GENERATION = 3


class Graph(NamedTuple):
    """A converted graph: its file, and the hash of the weights in it."""

    path: Path
    weights_sha256: str


def weights_sha256(backbone: Backbone, source: WeightsSource) -> str:
    """Hash over the arrays of `source`, from the cache or by loading them once."""
    return known_sha256(backbone, source) or _convert(backbone, source, None)


def known_sha256(backbone: Backbone, source: WeightsSource) -> str | None:
    """Hash over the arrays of `source` where an earlier run left it."""
    note = _sha256_note(backbone, source)
    return json.loads(files.read(note))["weights_sha256"] if files.is_file(note) else None


def find_graph(backbone: Backbone, source: WeightsSource, engine: str) -> Graph:
    """The graph of a backbone with the weights of `source` for `engine`, from the cache or converted now.

    Raises:
        BottleneckError: where the weights are not those of the backbone.
    """
    sha256 = known_sha256(backbone, source)
    if sha256 is None or not files.is_folder(_graph_path(backbone, sha256, engine)):
        sha256 = _convert(backbone, source, engine)
    return Graph(_graph_path(backbone, sha256, engine), sha256)


def _graph_path(backbone: Backbone, sha256: str, engine: str) -> Path:
    versions = {package: version(package) for package in ENGINES[engine]}
    key = _key(sha256, json.dumps(versions, sort_keys=True))
    return cache_dir() / "bottlenecks" / "graphs" / f"{backbone.name}-{engine}-{key}"


def _sha256_note(backbone: Backbone, source: WeightsSource) -> Path:
    if source.path is None:
        key = _key(source.spec)
    else:
        facts = files.info(source.path)
        key = _key(str(source.path), str(facts.size), str(facts.mtime_ns))
    return cache_dir() / "bottlenecks" / "weights" / f"{backbone.name}-{source.name}-{key}.json"


def _key(*facts: str) -> str:
    return hashlib.sha256("\n".join([str(_GENERATION), *facts]).encode()).hexdigest()[:16]


def _convert(backbone: Backbone, source: WeightsSource, engine: str | None) -> str:
    """Load `source`, and convert it where an engine is named, in another process; the weights' hash."""
    path = str(source.path) if source.path else None
    facts = json.dumps([backbone.name, source.name, source.spec, path, engine])
    root = str(Path(__file__).parents[2])
    environment = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "KERAS_BACKEND": "tensorflow",
    }
    command = [sys.executable, "-m", "features.engines.graphs", facts]
    process = subprocess.run(command, capture_output=True, env=environment, check=False)
    if process.returncode:
        logging.getLogger(__name__).error("%s", process.stderr.decode(errors="replace"))
        raise BottleneckError(
            f"the weights {source.spec} could not be converted (exit code {process.returncode}): "
            f"the log has the messages of TensorFlow"
        )
    answer = json.loads(process.stdout.splitlines()[-1])
    if "error" in answer:
        raise BottleneckError(answer["error"])
    return answer["weights_sha256"]


def _convert_here(backbone: Backbone, source: WeightsSource, engine: str | None) -> str:
    from features.backbones.network import arrays_sha256, build_network, feature_model

    network = build_network(backbone, source.path)
    sha256 = arrays_sha256(network.get_weights())
    if engine is not None:
        model, convert = feature_model(backbone, network), engine_module(engine).convert
        if not files.is_folder(graph := _graph_path(backbone, sha256, engine)):
            with files.filling(graph) as folder:
                convert(backbone, model, folder)
    note = {"weights": source.spec, "weights_sha256": sha256}
    files.write(_sha256_note(backbone, source), json.dumps(note))
    return sha256


def _main() -> None:
    backbone, name, spec, path, engine = json.loads(sys.argv[1])
    source = WeightsSource(name, spec, Path(path) if path else None)
    try:
        answer = {"weights_sha256": _convert_here(get_backbone(backbone), source, engine)}
    except BottleneckError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main()
