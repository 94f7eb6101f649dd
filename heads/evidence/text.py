"""Evidence as plain text: the verdict, then the figures behind it, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    yield f"Did transfer help? {skill} by images a class, of {transfer['images']:,}: {transfer['tested']}"
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
    yield "Which workflow? skill, 95 % interval, log loss, seconds with extraction, tested on"
    width = max(len(of["name"]) for of in workflows)
    for of in workflows:
        epochs = f", {of['seconds_per_epoch']:.1f} s an epoch" if of["seconds_per_epoch"] else ""
        total = "unknown" if of["total_seconds"] is None else f"{of['total_seconds']:.1f} s in all"
        figures = f"{_with_interval(of)}  {of['log_loss']:.3f}  {total}{epochs}, {of['tested']}"
        yield f"  {of['name']:<{width}}  {figures}"


def _head_lines(trust: Mapping[str, Any] | None) -> Iterable[str]:
    if trust is None:
        return
    columns = f"{trust['figure']}, 95 % interval, log loss, difference to this one"
    yield f"Which head? {columns}; on {trust['tested']}"
    board = trust["leaderboard"]
    for row in board[:_SHOWN]:
        mark = " (this one)" if row["is_head"] else f"  {_difference(row)}"
        yield f"  {row['head']}  {_with_interval(row)}  {row['log_loss']:.3f}{mark}"
    if board[_SHOWN:]:
        yield f"  … and {len(board) - _SHOWN:,} more"
    yield from (f"  left out: {line}" for line in trust["left_out"][:_SHOWN])
    yield f"Its probabilities are {trust['reliability']['calibration_error']:.3f} off, on average"


def _data_lines(data: Mapping[str, Any] | None) -> Iterable[str]:
    if data is None:
        return
    errors, pairs = data["label_errors"], data["near_duplicates"]
    if errors["images"]:
        about = f" (about {errors['count']:,})" if errors["count"] is not None else ""
        yield f"Labels to look at{about}, the likeliest errors first"
        yield from _first(errors["images"], _label_text)
    yield f"Near-duplicates: {counted(pairs['count'], 'pair')} ({pairs['method']})"
    yield from _first(pairs["pairs"], _pair_text, pairs["count"])
    if data["confused_classes"]:
        yield "Classes taken for each other, out of fold: share that is wrong, both classes alike"
        yield from _first(data["confused_classes"], _confused_text)
    if data["balance"]:
        yield from (f"Split {of['sentence']}" for of in data["balance"]["splits"])


def _first(
    cases: Sequence[Mapping[str, Any]], text: Callable[[Mapping[str, Any]], str], count: int | None = None
) -> Iterable[str]:
    """The first of them, and how many more there are."""
    yield from (f"  {text(case)}" for case in cases[:_SHOWN])
    if (more := (len(cases) if count is None else count) - _SHOWN) > 0:
        yield f"  … and {more:,} more: make report shows them"


def _label_text(of: Mapping[str, Any]) -> str:
    return f"{printable(of['uri'])}: {short(of['label'])}, or {short(of['suggested'] or 'no label')}?"


def _pair_text(of: Mapping[str, Any]) -> str:
    facts = [*dict.fromkeys(of["splits"]), *(dict.fromkeys(of["labels"]) if of["across_labels"] else ())]
    return f"{' = '.join(map(printable, of['uris']))} ({', '.join(map(printable, facts))})"


def _confused_text(of: Mapping[str, Any]) -> str:
    low, high = of["interval"]
    names = " and ".join(map(short, of["classes"]))
    return f"{names}: {of['wrong']:.1%} ({low:.1%} to {high:.1%}) of {of['images']:,} images"


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
