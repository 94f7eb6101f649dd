"""The machine that was measured on, in words."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    *("apache-beam", "deltalake", "keras", "numpy", "onnxruntime", "opencv-python-headless", "openvino"),
    *("pyarrow", "scikit-learn", "simplejpeg", "tensorflow"),
)
_UNITS = ("amx_bf16", "avx512_bf16")


def describe_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Processor, cores, bfloat16 units, memory, system and the packages' versions, in a sentence."""
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
    processor = name[1].strip() if name else platform.processor() or platform.machine()
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    units = [unit for unit in _UNITS if flags and unit in flags[1].split()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return (
        f"{processor}, {cores} cores, {' and '.join(units) or 'no bfloat16 units'}, {memory:.0f} GiB of "
        f"memory, {system}; Python {platform.python_version()}, {', '.join(_installed())}."
    )


def _installed() -> list[str]:
    installed = []
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            installed.append(f"{package} {version(package)}")
    return installed
