"""What the processor at hand can do, and how much of it this process may use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from features.cgroups import cgroups

_CPUINFO = Path("/proc/cpuinfo")


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
    for group in cgroups("cpu", root):
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        elif (group / "cpu.cfs_quota_us").exists():
            quota, period = (
                (group / f"cpu.cfs_{what}_us").read_text().strip() for what in ("quota", "period")
            )
        else:
            continue
        if quota not in ("max", "-1"):
            yield math.ceil(int(quota) / int(period))


def _flags(cpuinfo: Path) -> set[str]:
    if platform.machine() not in ("x86_64", "AMD64") or not cpuinfo.is_file():
        return set()
    lines = cpuinfo.read_text().splitlines()
    return set(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), []))
