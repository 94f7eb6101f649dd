from __future__ import annotations

from pathlib import Path

from features.memory import available_memory

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


def test_a_limit_on_the_cgroup_or_on_one_around_it_counts(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    write(tmp_path / "proc/self/cgroup", "0::/pod/container")
    outer, inner = tmp_path / "sys/fs/cgroup/pod", tmp_path / "sys/fs/cgroup/pod/container"
    for group, limit, used in ((outer, 4 * GIB, 3 * GIB), (inner, "max", GIB)):
        write(group / "memory.max", limit)
        write(group / "memory.current", used)
        write(group / "memory.stat", "anon 5\ninactive_file 0")
    assert available_memory(tmp_path) == GIB


def test_cached_files_do_not_count_as_used(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    write(tmp_path / "proc/self/cgroup", "0::/")
    write(tmp_path / "sys/fs/cgroup/memory.max", 8 * GIB)
    write(tmp_path / "sys/fs/cgroup/memory.current", 7 * GIB)
    write(tmp_path / "sys/fs/cgroup/memory.stat", f"active_file 1\ninactive_file {3 * GIB}")
    assert available_memory(tmp_path) == 4 * GIB


def test_version_1_in_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    machine(tmp_path, 16)
    write(tmp_path / "proc/self/cgroup", "9:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/")
    group = tmp_path / "sys/fs/cgroup/memory"
    write(group / "memory.limit_in_bytes", 2 * GIB)
    write(group / "memory.usage_in_bytes", GIB)
    write(group / "memory.stat", "cache 7\ntotal_inactive_file 0")
    assert available_memory(tmp_path) == GIB
