"""Memory that images being decoded may take together, over all threads of the process."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator

from features.machine import available_memory

#: Share of the memory that is free when the first image is decoded; and what holds at least, in bytes.
_SHARE = 1 / 16
_LEAST = 2**28
#: Where the system does not tell what is free.
_UNKNOWN = 2**30


class MemoryBudget:
    """A number of bytes that threads take from and give back, in the order in which they ask.

    Args:
        limit: bytes; by default a sixteenth of the memory that the machine, or its container, has free at the
            first use. Whoever asks for more gets it, alone.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._taken = 0
        self._queue: collections.deque[object] = collections.deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserved(self, amount: int) -> Iterator[None]:
        """Hold `amount` bytes; waits until they are free. Never ask for more while holding some."""
        me = object()
        with self._changed:
            self._queue.append(me)
            try:
                self._changed.wait_for(lambda: self._queue[0] is me and self._fits(amount))
                self._taken += amount
            finally:
                self._queue.remove(me)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()

    def _fits(self, amount: int) -> bool:
        if self._limit is None:
            available = available_memory()
            self._limit = _UNKNOWN if available is None else max(_LEAST, int(available * _SHARE))
        return not self._taken or self._taken + amount <= self._limit


#: The one that all decoding in this process shares.
DECODING_BUDGET = MemoryBudget()
