"""Which layers, which views, which workflow: the skill of each choice, and the seconds that it takes."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from features.text import counted
from heads.evidence.curves import Draw, with_choices
from heads.evidence.images import LabelledRows
from heads.evidence.skill import skill
from heads.evidence.statistics import interval_of_draws
from heads.folds import fit_anew, probabilities_of
from heads.probabilities import log_loss
from heads.progress import Progress, silent
from heads.saved import SavedHead, list_heads
from heads.shares import originals_among

if TYPE_CHECKING:
    from features.store.table import FeatureTable
    from heads.base import Head

#: Workflows, by what `head.json` says, for people.
_WORKFLOWS = {None: "stored features", "end-to-end": "end to end (workflow 1)", "fine-tuned": "fine-tuning"}


def compare_layers(
    head: Head,
    images: LabelledRows,
    draws: Sequence[Draw],
    own: Sequence[str],
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Each layer of the table alone, all together, and those of the head: skill and seconds of a training.

    Args:
        draws: as of `heads.evidence.curves.draws_of`: all layers are tested on the same images.
        own: the layers of the head, which the others are compared with.
    """
    layers = list(images.table.layers)
    choices = list(dict.fromkeys([*((layer,) for layer in layers), tuple(layers), tuple(own)]))
    results = {}
    for number, choice in enumerate(choices, start=1):
        results[choice] = _try(head, images, choice, draws)
        progress(number, len(choices), {})
    values = {choice: result["values"] for choice, result in results.items()}
    for choice, result in results.items():
        difference = None
        if choice != tuple(own):
            difference = list(interval_of_draws(values[choice] - values[tuple(own)]))
        result["difference"] = difference
        result["noise"] = None if difference is None else difference[1] <= 0 <= difference[2]
        result["is_head"] = choice == tuple(own)
        del result["values"]
    return sorted(results.values(), key=lambda of: -of["skill"])


def _try(head: Head, images: LabelledRows, layers: Sequence[str], draws: Sequence[Draw]) -> dict[str, Any]:
    X = images.features(layers)
    measured = _measure(head, X, images.y, images.classes, draws)
    return {"layers": list(layers), "width": X.shape[1], **measured}


def _measure(
    head: Head,
    X: np.ndarray,
    y: np.ndarray,
    classes: Sequence[str],
    draws: Sequence[Draw],
    originals: np.ndarray | None = None,
) -> dict[str, Any]:
    """Skill, log loss and seconds of a training on all training rows of each draw.

    Args:
        originals: of the rows of X, as `Head.fit_matrix` takes it.
    """
    values, losses, seconds = [], [], []
    with threadpool_limits(1, user_api="blas"):
        shown = [None if originals is None else originals_among(originals, draw.train) for draw in draws]
        head = with_choices(head, X, y, classes, draws[0].train, shown[0])
        for draw, of_draw in zip(draws, shown, strict=True):
            started = time.monotonic()
            fitted = fit_anew(head, X[draw.train], y[draw.train], classes, originals=of_draw)
            seconds.append(time.monotonic() - started)
            probabilities = probabilities_of(fitted, X[draw.test], classes)
            values.append(skill(y[draw.test], probabilities))
            losses.append(log_loss(y[draw.test], probabilities))
    mean, low, high = np.clip(interval_of_draws(values), 0, 1).tolist()
    return {
        "values": np.array(values),
        "skill": mean,
        "interval": [low, high],
        "log_loss": float(np.mean(losses)),
        "seconds": float(np.median(seconds)),
    }


def extraction_seconds(table: FeatureTable) -> float | None:
    """Seconds from the start of each run to the last rows that it wrote, where the names of the runs tell."""
    rows = table.metadata(["run_id", "extracted_at"])
    last = rows.group_by("run_id").aggregate([("extracted_at", "max")]).to_pylist()
    seconds = 0.0
    for run in last:
        if not (begin := re.match(r"\d{8}T\d{6}", run["run_id"])):
            return None
        started = datetime.datetime.strptime(begin[0], "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC)
        seconds += (run["extracted_at_max"] - started).total_seconds()
    return seconds


def compare_workflows(
    saved: SavedHead, table: FeatureTable, board: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The newest head of each workflow: its skill and what it took, by what it was saved with.

    The head that evidence is about stands for its own workflow.

    Args:
        board: heads as `heads.evidence.leaderboard` tested them on the same images, whose figures come first.
    """
    heads = list_heads(saved.store, saved.directory.parent.name)
    newest = {facts.get("workflow"): facts for facts in heads if facts.get("workflow") in _WORKFLOWS}
    newest[saved.facts.get("workflow")] = saved.facts
    extraction = extraction_seconds(table)
    same_images = {row["head"]: row for row in board}
    rows = []
    for workflow, facts in sorted(newest.items(), key=lambda of: list(_WORKFLOWS).index(of[0])):
        own = same_images.get(facts["id"])
        figures = (
            {name: own[name] for name in ("skill", "interval", "log_loss")} if own else _saved_figures(facts)
        )
        rows.append(
            {
                "name": _WORKFLOWS[workflow],
                "head": facts["id"],
                "tested": "this head's test images" if own else _tested_text(facts),
                **figures,
                **_seconds(facts, extraction if workflow != "end-to-end" else 0.0),
            }
        )
    return rows


def _saved_figures(facts: Mapping[str, Any]) -> dict[str, Any]:
    metrics = facts["metrics"]["test"]
    several = "hamming_loss" in metrics
    return {
        "skill": metrics["average_precision"]["macro"] if several else metrics["accuracy"],
        "interval": None if several else metrics["accuracy_interval"],
        "log_loss": metrics["log_loss"],
    }


def _tested_text(facts: Mapping[str, Any]) -> str:
    count = counted(facts["metrics"]["test"]["count"], "image")
    return f"{count} for testing" if "test" in facts["splits"]["tested"] else f"{count} by folds"


def _seconds(facts: Mapping[str, Any], extraction: float | None) -> dict[str, Any]:
    """What training took, an epoch of it, and with extraction; None where nobody wrote it down."""
    history = (facts["training"] or {}).get("history") or []
    of_epochs = [step["seconds"] for step in history if "seconds" in step]
    seconds = facts.get("seconds", sum(of_epochs) if of_epochs else None)
    return {
        "extraction_seconds": extraction,
        "seconds": seconds,
        "epochs": len(of_epochs) or None,
        "seconds_per_epoch": float(np.mean(of_epochs)) if of_epochs else None,
        "total_seconds": seconds + extraction if seconds is not None and extraction is not None else None,
    }


def missing_workflows(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The workflows of which there is no head, and how to train one."""
    how = {"end-to-end": "train a head end to end first", "fine-tuned": "fine-tune a head first"}
    there = {row["name"] for row in rows}
    return [
        (_WORKFLOWS[workflow], text) for workflow, text in how.items() if _WORKFLOWS[workflow] not in there
    ]


def compare_views(
    head: Head, images: LabelledRows, layers: Sequence[str], draws: Sequence[Draw]
) -> list[dict[str, Any]] | None:
    """Training with and without the augmented views of the images; None where the table has none."""
    rows, of_image = images.views()
    if not len(rows):
        return None
    X = np.concatenate([images.features(layers), images.table.take(rows, layers=layers)])
    originals = np.concatenate([np.arange(len(images)), of_image])
    y, more = images.y[originals], [_with_views(draw, of_image, len(images)) for draw in draws]
    results = []
    for with_views in (False, True):
        on, shown = (more, originals) if with_views else (draws, None)
        result = _measure(head, X, y, images.classes, on, shown)
        del result["values"]
        results.append({"views": with_views, **result})
    return results


def _with_views(draw: Draw, of_image: np.ndarray, images: int) -> Draw:
    added = images + np.flatnonzero(np.isin(of_image, draw.train))
    return Draw(np.concatenate([draw.train, added]), draw.test)
