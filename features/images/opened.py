"""An image whose header was read and whose pixels were not: what each format makes of a file's bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class OpenedImage(NamedTuple):
    """An image that is ready to be decoded; its size was checked against what the file holds.

    Attributes:
        format: as the content says: `jpeg`, `png`, …
        memory: bytes that decoding takes at the peak, the pixels included and the file's own bytes not.
        load: decodes: uint8 RGB pixels of shape (height, width, 3). Raises ImageError.
    """

    format: str
    memory: int
    load: Callable[[], np.ndarray]
