"""Where things lie in a store. Paths only: nothing is looked up or made."""

from __future__ import annotations

from pathlib import Path


def store_path(store: str | Path) -> Path:
    """The folder of a store, absolute and with `~` expanded."""
    return Path(store).expanduser().absolute()


def features_path(store: str | Path, name: str) -> Path:
    """The Delta table of a feature table."""
    return store_path(store) / "features" / name


def rejected_path(store: str | Path, name: str) -> Path:
    """The Delta table of the images rejected beside it."""
    return store_path(store) / "rejected" / name


def heads_path(store: str | Path, name: str) -> Path:
    """The folder of the heads trained from it."""
    return store_path(store) / "heads" / name


def logs_path(store: str | Path) -> Path:
    """The folder of the runs' log files."""
    return store_path(store) / "logs"
