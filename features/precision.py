"""The precision of a new table: what the processor has, and what the first images show."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from features.images import ImageError
from features.inception import Extracted, InceptionV3
from features.processor import processor_has_bfloat16

#: Least cosine with the float32 features, of every layer of every image tried.
LEAST_COSINE = 0.999
_TRIED = 8


def choose_precision(
    load_float32: Callable[[], InceptionV3],
    load_bfloat16: Callable[[], InceptionV3],
    images: Sequence[str],
) -> tuple[str, str]:
    """The precision that `auto` means for a new table, and why, in a few words.

    bfloat16 is several times faster where the processor has it. It is taken when the first images' features
    keep a cosine of at least `LEAST_COSINE` with their float32 ones, layer by layer.

    Images that give no features settle nothing: it goes on to the next ones.

    Args:
        load_float32: gives the reference; called on a thread of its own, beside the other.
        load_bfloat16: gives the extractor that is tried, and that will go on with the images where it does.
        images: paths, in the order of their extraction, of which the first few are tried.
    """
    if not processor_has_bfloat16():
        return "float32", "this processor has no bfloat16 arithmetic"
    with ThreadPoolExecutor(1) as aside:
        reference = aside.submit(load_float32)
        extractor = load_bfloat16()
        if extractor.engine.precision != "bfloat16":
            return "float32", f"{extractor.engine.name} does not compute in bfloat16 here"
        cosines: list[list[float]] = []
        start, stop = 0, _TRIED
        while not cosines and start < len(images):
            expected = aside.submit(
                lambda block: _features(reference.result().extract(block)), images[start:stop]
            )
            outcomes = itertools.chain.from_iterable(b.result() for b in extractor.begin(images[:stop]))
            found = _features(list(outcomes)[start:stop])
            cosines = [
                [_cosine(*layers) for layers in zip(*image, strict=True)]
                for image in zip(expected.result(), found, strict=True)
            ]
            start, stop = stop, 2 * stop
    if not cosines:
        return "float32", "no image could be tried in bfloat16"
    least = min(map(min, cosines))
    told = f"cosine with float32 at least {least:.4f} on the first {len(cosines)} images"
    return ("bfloat16" if least >= LEAST_COSINE else "float32"), told


def _features(outcomes: Iterable[Extracted | ImageError]) -> list[tuple[np.ndarray, ...]]:
    return [outcome.features for outcome in outcomes if isinstance(outcome, Extracted)]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norms if norms else float(np.array_equal(a, b))
