"""What the machine at hand can do, and how much of it this process may use: cores and memory.

A container's limits count too: the control groups that the process is in, versions 1 and 2.
"""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

_CPUINFO = Path("/proc/cpuinfo")
#: Files of a group's limit and use, in version 2 and 1.
_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def processor_has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 in hardware: AMX or AVX512-BF16 on x86 Linux."""
    return bool({"amx_bf16", "avx512_bf16"} & _flags(cpuinfo))


def processor_has_amx(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor has AMX tiles for bfloat16."""
    return "amx_bf16" in _flags(cpuinfo)


def usable_cores(root: Path = Path("/")) -> int:
    """Cores this process may keep busy: those it may run on, or fewer where a container's quota is less.

    Threads beyond a quota would only be stopped again and again by the kernel.

    Args:
        root: where `proc` and `sys` are.
    """
    return max(1, min([allowed_cores(), *_quotas(root)]))


def allowed_cores() -> int:
    """Cores this process may run on, whatever share of them its container grants."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[int]:
    """Cores that each limit on this process comes to, rounded up."""
    for group in _cgroups("cpu", root):
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        elif (group / "cpu.cfs_quota_us").exists():
            files = [group / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
            quota, period = (file.read_text().strip() for file in files)
        else:
            continue
        if quota not in ("max", "-1"):
            yield math.ceil(int(quota) / int(period))


def _flags(cpuinfo: Path) -> set[str]:
    if platform.machine() not in ("x86_64", "AMD64") or not cpuinfo.is_file():
        return set()
    lines = cpuinfo.read_text().splitlines()
    return set(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), []))


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes this process can still take: the machine's, or less where a cgroup (a container) allows less.

    Args:
        root: where `proc` and `sys` are.

    Returns:
        None where the system does not tell.
    """
    return min([*_free_memory(root), *_memory_limits(root)], default=None)


def _free_memory(root: Path) -> Iterator[int]:
    meminfo = root / "proc/meminfo"
    if meminfo.exists():
        if match := re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE):
            yield int(match[1]) * 1024
    elif "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # macOS tells what it has, not what is free
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _memory_limits(root: Path) -> Iterator[int]:
    """What each limit on this process leaves."""
    for group in _cgroups("memory", root):
        for limit, usage in _FILES:
            if (group / limit).exists() and (group / usage).exists():
                yield from _left(group, limit, usage)


def _left(group: Path, limit: str, usage: str) -> Iterator[int]:
    allowed = (group / limit).read_text().strip()
    if allowed != "max":
        # Cached files count as used, and give way to whoever needs memory.
        facts = (group / "memory.stat").read_text()
        cache = re.search(r"^(?:total_)?inactive_file (\d+)", facts, re.MULTILINE)
        yield int(allowed) - int((group / usage).read_text()) + (int(cache[1]) if cache else 0)


def _cgroups(controller: Literal["memory", "cpu"], root: Path) -> Iterator[Path]:
    """Folders of the groups whose limits hold for this process: its own, and those around it.

    The files in them are named differently in version 1 and 2: what is there tells which it is.
    """
    membership = root / "proc/self/cgroup"
    if not membership.exists():
        return
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        own = top / path.lstrip("/")
        yield from (group for group in [own, *own.parents] if group.is_relative_to(top) and group.is_dir())
