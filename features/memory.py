"""How much memory there is left, asked before a matrix is loaded rather than found out by the kernel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from features.cgroups import cgroups

#: Files of a group's limit and use, in version 2 and 1.
_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes this process can still take: the machine's, or less where a cgroup (a container) allows less.

    Args:
        root: where `proc` and `sys` are.

    Returns:
        None where the system does not tell.
    """
    return min([*_machine(root), *_cgroups(root)], default=None)


def _machine(root: Path) -> Iterator[int]:
    meminfo = root / "proc/meminfo"
    if meminfo.exists():
        if found := re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE):
            yield int(found[1]) * 1024
    elif "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # macOS tells what it has, not what is free
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroups(root: Path) -> Iterator[int]:
    """What each limit on this process leaves."""
    for group in cgroups("memory", root):
        for limit, usage in _FILES:
            if (group / limit).exists() and (group / usage).exists():
                yield from _left(group, limit, usage)


def _left(group: Path, limit: str, usage: str) -> Iterator[int]:
    allowed = (group / limit).read_text().strip()
    if allowed != "max":
        # Cached files count as used, and give way to whoever needs memory.
        cache = re.search(
            r"^(?:total_)?inactive_file (\d+)", (group / "memory.stat").read_text(), re.MULTILINE
        )
        yield int(allowed) - int((group / usage).read_text()) + (int(cache[1]) if cache else 0)
