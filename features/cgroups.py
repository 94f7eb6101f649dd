"""The limits that a container puts on this process: the control groups it is in, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def cgroups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Folders of the groups whose limits hold for this process: its own, and those around it.

    The files in them are named differently in version 1 and 2: what is there tells which it is.

    Args:
        controller: `memory` or `cpu`.
        root: where `proc` and `sys` are.
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
