"""The packages that evidence and its page need besides those of heads: the extra `report`."""

from __future__ import annotations

import importlib.util

from features.errors import BottleneckError

#: What gathering evidence imports of them, and what the page does.
EVIDENCE = ("cleanlab", "faiss")
PAGE = ("jinja2", "plotly")


def check_packages(modules: tuple[str, ...] = EVIDENCE) -> None:
    """Refuse to begin where a package is missing, before anything is measured.

    Raises:
        BottleneckError: the message names what to install.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise BottleneckError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: this needs the "
            f"extra `report`, pip install 'bottleneck-features[report]'"
        )
