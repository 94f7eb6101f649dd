"""Evidence as plain text: the verdict, then the figures behind it, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from features.text import counted, printable
from heads.metrics import short

#: Lines shown of a long list; the page, and `evaluation.json`, have more.
_SHOWN = 10


def format_evidence(evaluation: Mapping[str, Any]) -> str:
    """The evidence as text.

    Args:
        evaluation: what `evaluation.json` holds.
    """
    parts = [
        [sentence["text"] for sentence in evaluation["verdict"]],
        _transfer_lines(evaluation["transfer"], evaluation["skill"]),
        _layer_lines(evaluation["layers"], evaluation["skill"]),
        _view_lines(evaluation["views"] or (), evaluation["skill"]),
        _workflow_lines(evaluation["workflows"]),
        _head_lines(evaluation["trust"]),
        _data_lines(evaluation["data"]),
        [f"not measured: {of['what']}: {of['how']}" for of in evaluation["missing"]],
    ]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))


def _transfer_lines(transfer: Mapping[str, Any] | None, skill: str) -> Iterable[str]:
    if transfer is None:
        return
    yield f"Did transfer help? {skill} by images a class, {transfer['images']:,} images, {transfer['tested']}"
    yield from (f"  {claim['sentence']}" for claim in transfer["claims"])
    sizes = [
        "all" if point["per_class"] is None else f"{point['per_class']:,}"
        for point in transfer["sources"][0]["points"]
    ]
    names = [source["name"] for source in transfer["sources"]]
    width = max(map(len, names))
    yield f"  {'':<{width}}" + "".join(f"{size:>8}" for size in sizes)
    for source in transfer["sources"]:
        yield f"  {source['name']:<{width}}" + "".join(f"{point['mean']:>8.3f}" for point in source["points"])


def _layer_lines(layers: Sequence[Mapping[str, Any]], skill: str) -> Iterable[str]:
    if not layers[1:]:
        return
    names = [", ".join(of["layers"]) for of in layers]
    width = max(map(len, names))
    yield f"Which layer? {skill}, 95 % interval, log loss, seconds of a training, difference to this head's"
    for name, of in zip(names, layers, strict=True):
        figures = f"{_with_interval(of)}  {of['log_loss']:.3f}  {of['seconds']:.2f} s  {_difference(of)}"
        yield f"  {name:<{width}}  {figures}".rstrip()


def _view_lines(views: Sequence[Mapping[str, Any]], skill: str) -> Iterable[str]:
    if views:
        yield f"Do augmented views help? {skill}, 95 % interval, log loss, seconds of a training"
    for of in views:
        name = "with views" if of["views"] else "without"
        yield f"  {name:<10}  {_with_interval(of)}  {of['log_loss']:.3f}  {of['seconds']:.2f} s"


def _workflow_lines(workflows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield "Which workflow? As each head was tested when it was saved; seconds with extraction"
    width = max(len(of["name"]) for of in workflows)
    for of in workflows:
        epochs = f", {of['seconds_per_epoch']:.1f} s an epoch" if of["seconds_per_epoch"] else ""
        total = "unknown" if of["total_seconds"] is None else f"{of['total_seconds']:.1f} s in all"
        yield f"  {of['name']:<{width}}  {_with_interval(of)}  {of['log_loss']:.3f}  {total}{epochs}"


def _head_lines(trust: Mapping[str, Any] | None) -> Iterable[str]:
    if trust is None:
        return
    yield f"Which head? On {trust['tested']}: best first, difference to this one"
    board = trust["leaderboard"]
    for row in board[:_SHOWN]:
        mark = " (this one)" if row["is_head"] else f"  {_difference(row)}"
        yield f"  {row['head']}  {_with_interval(row)}  {row['log_loss']:.3f}{mark}"
    if board[_SHOWN:]:
        yield f"  … and {len(board) - _SHOWN:,} more"
    yield f"  calibration error {trust['reliability']['calibration_error']:.3f}"


def _data_lines(data: Mapping[str, Any] | None) -> Iterable[str]:
    if data is None:
        return
    errors, pairs = data["label_errors"], data["near_duplicates"]
    if errors["images"]:
        yield f"Likely label errors (about {errors['count']:,}), the likeliest first"
        for of in errors["images"][:_SHOWN]:
            suggested = short(of["suggested"] or "no label")
            yield f"  {printable(of['uri'])}: {short(of['label'])}, or {suggested}?"
    yield f"Near-duplicates: {counted(pairs['count'], 'pair')} ({pairs['method']})"
    for of in pairs["pairs"][:_SHOWN]:
        yield f"  {' = '.join(map(printable, of['uris']))} ({', '.join(dict.fromkeys(of['splits']))})"
    if data["confused_classes"]:
        yield "Classes taken for each other, out of fold"
        for of in data["confused_classes"][:_SHOWN]:
            low, high = of["interval"]
            names = " and ".join(map(short, of["classes"]))
            yield f"  {names}: {of['wrong']:.1%} wrong ({low:.1%} to {high:.1%}) of {of['images']:,} images"
    yield from (f"Split {of['sentence']}" for of in data["balance"]["splits"])


def _with_interval(of: Mapping[str, Any]) -> str:
    if of["interval"] is None:
        return f"{of['skill']:.3f}"
    low, high = of["interval"]
    return f"{of['skill']:.3f} ({low:.3f} to {high:.3f})"


def _difference(of: Mapping[str, Any]) -> str:
    if of["difference"] is None:
        return ""
    mean, low, high = of["difference"]
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f}{', noise' if of['noise'] else ''})"
