"""Sections into one HTML file in which nothing from the data can act.

- Every text goes through `_shown` (no control characters, no change of direction, bounded) and is escaped.
- The page's Content-Security-Policy names the scripts that may run by their hashes and lets nothing load.
- Data for scripts are JSON in elements that do not run, and are put into the page as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from features.text import printable
from heads.page.figures import at
from heads.page.parts import Map, Plot, Section

#: Characters shown of any text; a path may have 4,096.
_LONGEST = 4096
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render(evaluation: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """The page as text; `heads.page.writer` has seen that its packages are there."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    template = environment.from_string(_package_file("template.html.j2"))
    plots = _plots(sections)
    scripts = [_plotly(), _package_file("page.js")] if plots else [_package_file("page.js")]
    page = template.render(
        title=f"Evaluation of head {at(evaluation, 'head', 'id') or 'without a name'}",
        head=at(evaluation, "head") or {},
        features_table=at(evaluation, "table") or {},
        date=str(evaluation.get("created_at") or "")[:10],
        sections=sections,
        policy=Markup(_policy(scripts)),
        style=Markup(_package_file("style.css")),
        scripts=[Markup(script) for script in scripts],
        trusted=Markup,
        data={id: Markup(to_json(value)) for id, value in plots.items()},
    )
    return page.lstrip()  # what defines the template's macros leaves lines behind


def _shown(value: Any) -> Any:
    """A value of the template as it is shown: text is made printable, and cut; markup is left alone."""
    from markupsafe import Markup

    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = printable(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def to_json(value: Any) -> str:
    """JSON that can stand within a script element: nothing in it ends the element or begins a comment."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _plots(sections: Sequence[Section]) -> dict[str, Any]:
    """What the scripts need, by the id of the element that holds it."""
    found: dict[str, Any] = {}
    for section in sections:
        for block in section.blocks:
            plot = block.plot if isinstance(block, Map) else block
            if isinstance(plot, Plot):
                found[f"{plot.id}-data"] = plot.figure
            if isinstance(block, Map):
                found["map-points"] = block.points
    return found


def _policy(scripts: Sequence[str]) -> str:
    """What the browser may do with this page: run these scripts, show pictures and style within it."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )


def _package_file(name: str) -> str:
    return resources.files("heads.page").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # As the browser reads it, or its hash is another: https://html.spec.whatwg.org/#normalize-newlines
    return get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
