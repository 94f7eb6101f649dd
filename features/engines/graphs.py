"""The backbone converted for an engine, kept in a cache; and the hash of weights, kept likewise.

Building the network in Keras and converting it takes half a minute and a gigabyte, and gives the same
graph each time. So it is done once for each set of weights and versions of the packages, in a process
of its own, and a run that finds its graph here imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from features import files
from features.backbones.weights import WeightsSource
from features.downloads import cache_dir
from features.errors import BottleneckError

#: Packages whose version decides what a converted graph looks like.
CONVERTERS = {"openvino": ("keras", "tensorflow", "openvino"), "tensorflow": ("keras", "tensorflow")}
#: Goes up when `features.backbones.network` builds another graph or other random weights.
_GENERATION = 2


class Graph(NamedTuple):
    """A converted graph: its file, and the hash of the weights in it."""

    path: Path
    weights_sha256: str


def weights_sha256(source: WeightsSource) -> str:
    """Hash over the arrays of `source`, from the cache or by loading them once."""
    return known_sha256(source) or _convert(source, None)


def known_sha256(source: WeightsSource) -> str | None:
    """Hash over the arrays of `source` where an earlier run left it."""
    note = _sha256_note(source)
    return json.loads(files.read(note))["weights_sha256"] if files.is_file(note) else None


def find_graph(source: WeightsSource, engine: str) -> Graph:
    """The graph of `source` for `engine`, from the cache or converted now.

    Raises:
        BottleneckError: where the weights are not those of Inception V3.
    """
    sha256 = known_sha256(source)
    if sha256 is None or not files.is_folder(_graph_path(sha256, engine)):
        sha256 = _convert(source, engine)
    return Graph(_graph_path(sha256, engine), sha256)


def _graph_path(sha256: str, engine: str) -> Path:
    versions = {package: version(package) for package in CONVERTERS[engine]}
    key = _key(sha256, json.dumps(versions, sort_keys=True))
    return cache_dir() / "bottlenecks" / "graphs" / f"inception_v3-{engine}-{key}"


def _sha256_note(source: WeightsSource) -> Path:
    if source.path is None:
        key = _key(source.spec)
    else:
        facts = files.info(source.path)
        key = _key(str(source.path), str(facts.size), str(facts.mtime_ns))
    return cache_dir() / "bottlenecks" / "weights" / f"{source.name}-{key}.json"


def _key(*facts: str) -> str:
    return hashlib.sha256("\n".join([str(_GENERATION), *facts]).encode()).hexdigest()[:16]


def _convert(source: WeightsSource, engine: str | None) -> str:
    """Load `source`, and convert it where an engine is named, in another process; the weights' hash."""
    command = [
        sys.executable,
        "-m",
        "features.engines.graphs",
        json.dumps([source.name, source.spec, engine]),
    ]
    if source.path is not None:
        command.append(str(source.path))
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "PYTHONPATH": path,
        "KERAS_BACKEND": "tensorflow",
    }
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    if "error" in answer:
        raise BottleneckError(answer["error"])
    if done.returncode:
        raise BottleneckError(
            f"the weights {source.spec} could not be converted (exit code {done.returncode}): "
            f"see the messages of TensorFlow above or in the run's log"
        )
    return answer["weights_sha256"]


def _convert_here(name: str, spec: str, engine: str | None, path: Path | None) -> str:
    from features.backbones.network import arrays_sha256, build_backbone, feature_model

    base = build_backbone(path)
    sha256 = arrays_sha256(base.get_weights())
    if engine is not None:
        from features.engines import engine_module

        model = feature_model(base)
        if not files.is_folder(graph := _graph_path(sha256, engine)):
            with files.filling(graph) as folder:
                engine_module(engine).convert(model, folder)
    note = {"weights": spec, "weights_sha256": sha256}
    files.write(_sha256_note(WeightsSource(name, spec, path)), json.dumps(note))
    return sha256


def _main() -> int:
    name, spec, engine = json.loads(sys.argv[1])
    try:
        answer = {
            "weights_sha256": _convert_here(name, spec, engine, Path(sys.argv[2]) if sys.argv[2:] else None)
        }
    except BottleneckError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))
    return "error" in answer


if __name__ == "__main__":
    sys.exit(_main())
