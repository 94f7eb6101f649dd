from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.machine import (
    allowed_cores,
    available_memory,
    processor_has_amx,
    processor_has_bfloat16,
    usable_cores,
)

GIB = 2**30


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def machine(root: Path, gib: int) -> None:
    write(root / "proc/meminfo", f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable: {gib * 2**20} kB")


def test_this_machine_has_some() -> None:
    available = available_memory()
    assert available is None or 2**20 < available < 2**50


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    assert available_memory(tmp_path) == 16 * GIB


def test_without_a_count_of_what_is_free_it_is_all_or_unknown(tmp_path: Path) -> None:
    """As on macOS, and on Linux before 3.14."""
    assert available_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    write(tmp_path / "proc/meminfo", "MemTotal: 8 kB\nXMemAvailable: 8 kB\nMemAvailable: ? kB")
    assert available_memory(tmp_path) is None


def test_a_limit_on_the_cgroup_or_on_one_around_it_counts(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    write(tmp_path / "proc/self/cgroup", "0::/pod/container")
    outer, inner = tmp_path / "sys/fs/cgroup/pod", tmp_path / "sys/fs/cgroup/pod/container"
    for group, limit, used in ((outer, 4 * GIB, 3 * GIB), (inner, "max", GIB)):
        write(group / "memory.max", limit)
        write(group / "memory.current", used)
        write(group / "memory.stat", "anon 5\ninactive_file 0")
    assert available_memory(tmp_path) == GIB
    (inner / "memory.current").unlink()
    (outer / "memory.current").unlink()
    assert available_memory(tmp_path) == 16 * GIB, "a limit alone tells nothing"


def test_cached_files_do_not_count_as_used(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    write(tmp_path / "proc/self/cgroup", "0::/")
    write(tmp_path / "sys/fs/cgroup/memory.max", 8 * GIB)
    write(tmp_path / "sys/fs/cgroup/memory.current", 7 * GIB)
    write(tmp_path / "sys/fs/cgroup/memory.stat", f"active_file 1\ninactive_file {3 * GIB}")
    assert available_memory(tmp_path) == 4 * GIB
    write(tmp_path / "sys/fs/cgroup/memory.stat", "active_file 1\nxinactive_file 5")
    assert available_memory(tmp_path) == GIB


def test_version_1_in_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    write(tmp_path / "proc/self/cgroup", "9:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/")
    group = tmp_path / "sys/fs/cgroup/memory"
    write(group / "memory.limit_in_bytes", 2 * GIB)
    write(group / "memory.usage_in_bytes", GIB)
    write(group / "memory.stat", "cache 7\ntotal_inactive_file 1000")
    assert available_memory(tmp_path) == GIB + 1000


def test_a_group_may_have_any_name(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    write(tmp_path / "proc/self/cgroup", "3:devices:/a\n0::/a:b")
    for name, gib in (("a:b", 2), ("devices/a", 1)):
        write(tmp_path / "sys/fs/cgroup" / name / "memory.max", gib * GIB)
        write(tmp_path / "sys/fs/cgroup" / name / "memory.current", 0)
        write(tmp_path / "sys/fs/cgroup" / name / "memory.stat", "")
    assert available_memory(tmp_path) == 2 * GIB


def test_bfloat16_is_read_off_the_processor_flags(tmp_path: Path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n")
    assert processor_has_bfloat16(cpuinfo) and processor_has_amx(cpuinfo)
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n")
    assert processor_has_bfloat16(cpuinfo) and not processor_has_amx(cpuinfo)
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n")
    assert not processor_has_bfloat16(cpuinfo)
    assert not processor_has_bfloat16(tmp_path / "missing")
    cpuinfo.write_text("processor\t: 0\nFeatures\t: amx_bf16\n")
    assert not processor_has_bfloat16(cpuinfo) and not processor_has_amx(cpuinfo)


@pytest.mark.parametrize(("name", "known"), [("x86_64", True), ("AMD64", True), ("aarch64", False)])
def test_flags_are_those_of_x86(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, known: bool
) -> None:
    (tmp_path / "cpuinfo").write_text("flags\t\t: amx_bf16\n")
    monkeypatch.setattr("platform.machine", lambda: name)
    assert processor_has_bfloat16(tmp_path / "cpuinfo") == processor_has_amx(tmp_path / "cpuinfo") == known


def test_allowed_cores_are_those_that_the_system_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0: {3, 5, 7}}[pid], raising=False)
    assert allowed_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert allowed_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert allowed_cores() == 1


def test_without_a_limit_every_allowed_core_is_used(tmp_path: Path):
    assert usable_cores(tmp_path) == allowed_cores() >= 1
    write(tmp_path / "proc/self/cgroup", "0::/pod")
    write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "max 100000")
    assert usable_cores(tmp_path) == allowed_cores()


def test_the_least_quota_of_a_container_counts_rounded_up(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("features.machine.allowed_cores", lambda: 64)
    write(tmp_path / "proc/self/cgroup", "0::/pod/container")
    write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "350000 100000")
    write(tmp_path / "sys/fs/cgroup/pod/container/cpu.max", "1200000 100000")
    assert usable_cores(tmp_path) == 4
    write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "6500000 100000")
    write(tmp_path / "sys/fs/cgroup/pod/container/cpu.max", "0 100000")
    assert usable_cores(tmp_path) == 1
    (tmp_path / "sys/fs/cgroup/pod/container/cpu.max").unlink()
    assert usable_cores(tmp_path) == 64


def test_quotas_of_version_1(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("features.machine.allowed_cores", lambda: 64)
    write(tmp_path / "proc/self/cgroup", "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", 250_000)
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", 100_000)
    assert usable_cores(tmp_path) == 3
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1)
    assert usable_cores(tmp_path) == 64
