"""What the processor at hand can do."""

from __future__ import annotations

import platform
from pathlib import Path

_FLAGS = {"amx_bf16", "avx512_bf16"}


def processor_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 in hardware: AMX or AVX512-BF16 on x86 Linux."""
    if platform.machine() not in ("x86_64", "AMD64") or not cpuinfo.is_file():
        return False
    lines = cpuinfo.read_text().splitlines()
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    return bool(_FLAGS.intersection(flags))
