"""What the processor at hand can do."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def processor_has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 in hardware: AMX or AVX512-BF16 on x86 Linux."""
    return bool({"amx_bf16", "avx512_bf16"} & _flags(cpuinfo))


def processor_has_amx(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor has AMX tiles for bfloat16."""
    return "amx_bf16" in _flags(cpuinfo)


def _flags(cpuinfo: Path) -> set[str]:
    if platform.machine() not in ("x86_64", "AMD64") or not cpuinfo.is_file():
        return set()
    lines = cpuinfo.read_text().splitlines()
    return set(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), []))
