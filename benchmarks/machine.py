"""The machine that was measured on, in words."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("apache-beam", "deltalake", "keras", "numpy", "onnxruntime", "opencv-python-headless", "openvino"),
    *("pyarrow", "scikit-learn", "simplejpeg", "tensorflow"),
)
_FLAGS = ("amx_bf16", "avx512_bf16")


def describe_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Processor, cores, bfloat16 units, memory, system and the packages' versions."""
    import psutil

    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "processor": name[1].strip() if name else platform.processor() or platform.machine(),
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
        "physical_cores": psutil.cpu_count(logical=False),
        "bfloat16": [flag for flag in _FLAGS if flags and flag in flags[1].split()],
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "packages": {package: found for package in _PACKAGES if (found := _version(package))},
    }


def machine_text(machine: dict[str, Any]) -> str:
    """One paragraph."""
    units = " and ".join(machine["bfloat16"]) or "no bfloat16 units"
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {units}, {machine['memory'] / 2**30:.0f} GiB of "
        f"memory, {machine['system']}; Python {machine['python']}, {packages}."
    )


def load() -> float:
    """How busy other programs keep the machine: its load average over the last minute."""
    return os.getloadavg()[0]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
