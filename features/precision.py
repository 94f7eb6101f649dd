"""The precision of a new table: what the processor has, and what the first images show."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np

from features.images import ImageError
from features.inception import InceptionV3
from features.processor import processor_has_bfloat16

#: Least cosine with the float32 features, of every layer of every image tried.
LEAST_COSINE = 0.999
_TRIED = 8


def choose_precision(load: Callable[[str], InceptionV3], images: Iterable[str]) -> tuple[str, str]:
    """The precision that `auto` means for a new table, and why, in a few words.

    bfloat16 is several times faster where the processor has it. It is taken when the first images' features
    keep a cosine of at least `LEAST_COSINE` with their float32 ones, layer by layer.

    Args:
        load: gives the extractor of a precision; bfloat16 is asked for last.
        images: paths, of which the first few are tried.
    """
    if not processor_has_bfloat16():
        return "float32", "this processor has no bfloat16 arithmetic"
    images = list(itertools.islice(images, _TRIED))
    found = {}
    for precision in ("float32", "bfloat16"):
        extractor = load(precision)
        if extractor.engine.precision != precision:
            return "float32", f"{extractor.engine.name} does not compute in bfloat16 here"
        outcomes = extractor.extract(images)
        found[precision] = [one.features for one in outcomes if not isinstance(one, ImageError)]
    cosines = [
        _cosine(reference, fast)
        for references, fasts in zip(found["float32"], found["bfloat16"], strict=True)
        for reference, fast in zip(references, fasts, strict=True)
    ]
    if not cosines:
        return "float32", "no image could be tried in bfloat16"
    told = f"cosine with float32 at least {min(cosines):.4f} on the first {len(found['float32'])} images"
    return ("bfloat16" if min(cosines) >= LEAST_COSINE else "float32"), told


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norms if norms else float(np.array_equal(a, b))
