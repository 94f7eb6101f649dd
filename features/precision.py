"""The precision of a new table: what the processor has, and what the first images show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.extractor import Extractor
from features.machine import processor_has_bfloat16
from features.store.vectors import matrix

#: Least cosine with the float32 features, of every layer of every image tried.
LEAST_COSINE = 0.999
_TRIED = 8


def choose_precision(
    load_float32: Callable[[], Extractor], load_bfloat16: Callable[[], Extractor], images: pa.ChunkedArray
) -> tuple[str, str]:
    """The precision that `auto` means for a new table, and why, in a few words.

    bfloat16 is several times faster where the processor has it. It is taken when the first images' features
    keep a cosine of at least `LEAST_COSINE` with their float32 ones, layer by layer.

    Images that give no features settle nothing: it goes on to the next ones.

    Args:
        load_float32: gives the reference; called on a thread of its own, beside the other.
        load_bfloat16: gives the extractor that is tried, and that will go on with the images where it does.
        images: paths, a column in the order of their extraction, of which the first few are tried.
    """
    if not processor_has_bfloat16():
        return "float32", "this processor has no bfloat16 arithmetic"
    with ThreadPoolExecutor(1) as aside:
        reference = aside.submit(load_float32)
        extractor = load_bfloat16()
        if extractor.engine.precision != "bfloat16":
            return "float32", f"{extractor.engine.name} does not compute in bfloat16 here"
        cosines: list[float] = []
        start, stop = 0, _TRIED
        while not cosines and start < len(images):
            block = images.slice(start, stop - start).to_pylist()
            expected = aside.submit(lambda block: _features(reference.result(), block), block)
            features = _features(extractor, block)
            cosines = [min(map(_cosine, *rows)) for rows in zip(expected.result(), features, strict=True)]
            start, stop = stop, 2 * stop
    if not cosines:
        return "float32", "no image could be tried in bfloat16"
    least = min(cosines)
    message = f"cosine with float32 at least {least:.4f} on the first {len(cosines)} images"
    return ("bfloat16" if least >= LEAST_COSINE else "float32"), message


def _features(extractor: Extractor, images: Sequence[str]) -> list[list[np.ndarray]]:
    """For each image that gives features, those of each layer."""
    table = pa.Table.from_batches(extractor.extract(images), extractor.schema)
    table = table.filter(pc.is_null(table.column("reason")))
    layers = [matrix(table.column(layer), extractor.backbone.layers[layer]) for layer in extractor.layers]
    return [list(rows) for rows in zip(*layers, strict=True)]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norms if norms else float(np.array_equal(a, b))
