"""Making a head the current one, as a command, and what the commands that train say of it."""

from __future__ import annotations

import time
from typing import Any

from features.errors import BottleneckError
from heads import SavedHead, current_head, list_heads, load_head, promote_head, read_promotion
from heads.repeats import main_figures
from heads.training import seconds_since
from pipelines.agreement import check_backbone_of_head
from pipelines.json_line import json_line
from pipelines.options import Options, PromoteOptions
from pipelines.screen import Screen, new_run_id
from pipelines.wording import in_words_of_commands, table_name


def promote(options: PromoteOptions, *, debug: bool = False) -> str:
    """Compare a head with the current one, and make it current if it is no worse; what to print of it.

    Raises:
        BottleneckError: where there is no such head.
    """
    started = time.monotonic()
    if options.promote == "never":
        raise BottleneckError("`promote=never` leaves all as it is: expected evidence or always")
    saved = _find(options)
    check_backbone_of_head(saved, options)
    with Screen.of_run(options, new_run_id(), debug=debug):
        decision = promote_head(saved, options.promote)
    if options.json:
        done = "promoted" if decision.promoted else "not promoted"
        facts = {
            "status": "nothing to do" if decision.current == saved.id else done,
            **head_facts(saved),
            "why": decision.why,
        }
        return json_line({"command": options.command, **facts, "seconds": seconds_since(started)})
    return "\n".join([in_words_of_commands(decision.why, options), head_line(saved)])


def _find(options: PromoteOptions) -> SavedHead:
    """The head that is named, or the newest."""
    name = table_name(options)
    if options.head_id:
        return load_head(options.store, name, options.head_id)
    heads = list_heads(options.store, name)
    return load_head(options.store, name, heads[-1]["id"] if heads else None)


def head_facts(saved: SavedHead) -> dict[str, Any]:
    """What a scheduler is told of a head, and of the one that is current now."""
    current = current_head(saved.store, saved.facts["table"])
    return {
        "table": saved.facts["table"],
        "table_version": saved.facts["table_version"],
        "head": saved.id,
        "current_head": current,
        "promoted": current == saved.id,
        "why": why(saved),
        "comparisons": (read_promotion(saved) or {}).get("comparisons", []),
        "metrics": main_figures(saved.facts["metrics"]["test"]),
    }


def head_lines(saved: SavedHead, options: Options) -> list[str]:
    """What people are told of a head that was trained: whether it was promoted, and where it is."""
    return [in_words_of_commands(why(saved), options), head_line(saved)]


def head_line(saved: SavedHead) -> str:
    """Where a head is, and which one is current."""
    current = current_head(saved.store, saved.facts["table"])
    stays = f"the current one stays: {current}" if current else "no head is the current one"
    return f"head: {saved.directory} ({'now the current one' if current == saved.id else stays})"


def why(saved: SavedHead) -> str:
    """Why a head was promoted, or not."""
    decided = read_promotion(saved)
    return decided["why"] if decided else "not promoted, as was asked for"
