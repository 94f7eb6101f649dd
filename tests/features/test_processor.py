from __future__ import annotations

from pathlib import Path

from features.processor import allowed_cores, processor_has_amx, processor_has_bfloat16, usable_cores


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_bfloat16_is_read_off_the_processor_flags(tmp_path: Path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n")
    assert processor_has_bfloat16(cpuinfo) and processor_has_amx(cpuinfo)
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n")
    assert processor_has_bfloat16(cpuinfo) and not processor_has_amx(cpuinfo)
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n")
    assert not processor_has_bfloat16(cpuinfo)
    assert not processor_has_bfloat16(tmp_path / "missing")


def test_without_a_limit_every_allowed_core_is_used(tmp_path: Path):
    assert usable_cores(tmp_path) == allowed_cores() >= 1
    write(tmp_path / "proc/self/cgroup", "0::/pod")
    write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "max 100000")
    assert usable_cores(tmp_path) == allowed_cores()


def test_the_least_quota_of_a_container_counts_rounded_up(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("features.processor.allowed_cores", lambda: 64)
    write(tmp_path / "proc/self/cgroup", "0::/pod/container")
    write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "350000 100000")
    write(tmp_path / "sys/fs/cgroup/pod/container/cpu.max", "1200000 100000")
    assert usable_cores(tmp_path) == 4


def test_quotas_of_version_1(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("features.processor.allowed_cores", lambda: 64)
    write(tmp_path / "proc/self/cgroup", "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", 50_000)
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", 100_000)
    assert usable_cores(tmp_path) == 1
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1)
    assert usable_cores(tmp_path) == 64
