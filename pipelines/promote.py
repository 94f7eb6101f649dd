"""Making a head the current one, as a command, and what the commands that train say of it."""

from __future__ import annotations

import time
from typing import Any

from features.errors import BottleneckError
from heads import SavedHead, current_head, load_head, promote_head, read_promotion
from heads.promotion import MODES, is_undecided
from heads.repeats import main_figures
from heads.saved import newest_heads
from heads.training import seconds_since
from pipelines.agreement import check_backbone_of_head
from pipelines.json_line import json_line
from pipelines.options import Options, PromoteOptions
from pipelines.screen import Screen, new_run_id
from pipelines.wording import in_words_of_commands, table_name


def promote(options: PromoteOptions, *, debug: bool = False) -> str:
    """Compare a head with the current one, and make it current if it is no worse; what to print of it.

    Raises:
        BottleneckError: where there is no such head, or it is damaged.
    """
    started = time.monotonic()
    if options.promote == "never":
        raise BottleneckError("`promote=never` leaves all as it is: expected evidence or always")
    saved = _find(options)
    check_backbone_of_head(saved, options)
    if _is_settled(saved, options):
        status, reason = "nothing to do", why(saved, options)
        before = f"head {saved.id} was decided on before; HEAD_ID={saved.id} decides again"
        said = f"nothing to do: {before}: {reason}"
    else:
        with Screen.of_run(options, new_run_id(), debug=debug):
            decision = promote_head(saved, options.promote or MODES[0])
        said = reason = in_words_of_commands(decision.why, options)
        done = "promoted" if decision.promoted else "not promoted"
        status = "nothing to do" if decision.current == saved.id else done
    if options.json:
        facts = {"command": options.command, "status": status, **head_facts(saved, options), "why": reason}
        return json_line({**facts, "seconds": seconds_since(started)})
    return "\n".join([said, head_line(saved)])


def _is_settled(saved: SavedHead, options: PromoteOptions) -> bool:
    """Whether nobody asks for a decision, and there was one."""
    asked = options.promote == "always" or (options.head_id and not options.if_undecided)
    return not asked and not is_undecided(saved)


def _find(options: PromoteOptions) -> SavedHead:
    """The head that is named, or the newest."""
    name = table_name(options)
    newest = None if options.head_id else next(newest_heads(options.store, name), None)
    return newest or load_head(options.store, name, options.head_id)


def head_facts(saved: SavedHead, options: Options) -> dict[str, Any]:
    """What a scheduler is told of a head: what was decided of it, and which one is current now."""
    current, decided = current_head(saved.store, saved.facts["table"]), read_promotion(saved)
    return {
        "table": saved.facts["table"],
        "table_version": saved.facts["table_version"],
        "head": saved.id,
        "current_head": current,
        "is_current": current == saved.id,
        "promoted": decided["promoted"] if decided else current == saved.id,
        "why": why(saved, options),
        "comparisons": (decided or {}).get("comparisons", []),
        "metrics": main_figures(saved.facts["metrics"]["test"]),
    }


def head_lines(saved: SavedHead, options: Options) -> list[str]:
    """What people are told of a head that was trained: whether it was promoted, and where it is."""
    return [why(saved, options), head_line(saved)]


def head_line(saved: SavedHead) -> str:
    """Where a head is, and which one is current."""
    current = current_head(saved.store, saved.facts["table"])
    stays = f"the current one stays: {current}" if current else "no head is the current one"
    return f"head: {saved.directory} ({'now the current one' if current == saved.id else stays})"


def why(saved: SavedHead, options: Options) -> str:
    """Why a head was promoted, or not."""
    if decided := read_promotion(saved):
        return in_words_of_commands(decided["why"], options)
    if current_head(saved.store, saved.facts["table"]) == saved.id:
        return "it is the current head already"
    return "not promoted, as was asked for"
