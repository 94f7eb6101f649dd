"""The verdict: what the evidence says, in a few sentences for whoever reads nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from features.text import counted, printable, some
from heads.evidence.transfer import LARGE_GAIN
from heads.evidence.trust import headline

#: Tones of a sentence.
GOOD, BAD, CAUTION = "good", "bad", "caution"
#: An expected calibration error from which on probabilities should not be taken at their word.
_ROUGH = 0.1
#: Of fewer test images it is mostly chance.
_ENOUGH = 30
#: An interval of the accuracy that is wider than this says little.
_WIDE = 0.1


def verdict(evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    """The sentences, each with its `tone`: `good`, `bad` or `caution`, and `text`.

    Args:
        evaluation: the other parts of `evaluation.json`.
    """
    return [{"tone": tone, "text": text} for tone, text in _sentences(evaluation)]


def _sentences(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    table = evaluation["table"]
    yield from _of_transfer(evaluation["transfer"], untrained=table["untrained"])
    if table["tuned"]:
        yield (
            CAUTION,
            "The weights of the backbone were tuned on labels of these images: only images for testing are "
            "new to it, and wrong labels that it has learned are not seen.",
        )
    if evaluation["trust"]:
        yield from _of_trust(evaluation["trust"])
    if evaluation["data"]:
        yield from _of_data(evaluation["data"], evaluation["trust"])


def _of_transfer(transfer: Mapping[str, Any] | None, *, untrained: bool) -> Iterator[tuple[str, str]]:
    if untrained:
        yield CAUTION, "Nothing was transferred: the features come from random weights, good for trying only."
        return
    if transfer is None or not transfer["claims"]:
        yield CAUTION, "Whether transfer helped can't be said: there is nothing to compare the features with."
        return
    holds = [f"a {claim['title']}" for claim in transfer["claims"] if claim["helps"]]
    if holds:
        text = " and ".join(filter(None, [", ".join(holds[:-1]), holds[-1]]))
        yield GOOD, f"Transfer helped: it gave {text}."
        return
    none = "neither a higher start, nor a higher slope, nor a higher asymptote"
    if transfer["unseen"] > LARGE_GAIN:
        yield (
            CAUTION,
            f"Transfer was not seen to help: {none}. But {counted(transfer['images'], 'image')} can't rule "
            f"out a gain of {100 * transfer['unseen']:.0f} points: more would tell.",
        )
    else:
        yield BAD, f"Transfer did not help: {none}."


def _of_trust(trust: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    metrics = trust["metrics"]
    low, high = metrics["accuracy_interval"]
    if "majority_accuracy" in metrics and low <= metrics["majority_accuracy"]:
        majority = f"{metrics['majority_accuracy']:.1%}"
        yield (
            BAD,
            f"The head has {headline(metrics)}, which is not clearly more than the {majority} of always "
            f"answering {printable(metrics['majority_class'])}.",
        )
    elif high - low > _WIDE:
        yield CAUTION, f"The head has {headline(metrics)}: more test images would narrow that."
    else:
        yield GOOD, f"The head has {headline(metrics)}."
    untested = [label for label, of in metrics["per_class"].items() if not of["support"]]
    if untested:
        classes = counted(len(untested), "class has", "classes have")
        yield CAUTION, f"{classes} no test image, so that the figures say nothing of {some(untested)}."
    error = trust["reliability"]["calibration_error"]
    if error > _ROUGH and metrics["count"] >= _ENOUGH:
        yield (
            CAUTION,
            f"Its probabilities are {100 * error:.0f} points off, on average: train it with "
            f"calibration=temperature, or do not take them at their word.",
        )
    yield from _of_heads([row for row in trust["leaderboard"] if not row["is_head"]])


def _of_heads(others: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    others = [row for row in others if row["noise"] is not None]
    better = [row for row in others if not row["noise"] and row["difference"][0] > 0]
    if better:
        yield CAUTION, f"Head {better[0]['head']} is better on the same images, and not by chance."
    elif others:
        several = f"None of the {len(others)} other heads is"
        none = several if others[1:] else "The one other head is not"
        yield GOOD, f"{none} better on the same images by more than chance."


def _of_data(data: Mapping[str, Any], trust: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    pairs = data["near_duplicates"]
    could = f" among the {counted(pairs['compared'], 'image')} that could be compared"
    read = could if pairs["not_compared"] else ""
    if pairs["across_splits"]:
        pictures = counted(pairs["across_splits"], "picture is", "pictures are")
        yield CAUTION, f"{pictures} in two splits{read}.{_score_without(trust)}"
    elif pairs["pixels"]:
        yield GOOD, f"No picture was seen to be in two splits{read}."
    else:
        yield (
            CAUTION,
            "Near-duplicates could not be looked for: images can't be read, or have too few pixels.",
        )
    if pairs["across_labels"]:
        pictures = counted(pairs["across_labels"], "picture has", "pictures have")
        yield CAUTION, f"{pictures} different labels in different files: one of them is wrong."
    errors = data["label_errors"]
    if errors["count"] and errors["images"]:
        wrong = counted(errors["count"], "label is", "labels are")
        yield CAUTION, f"About {wrong} likely wrong: those to look at first are named below."
    same = [pair["classes"] for pair in data["confused_classes"] or () if pair["indistinguishable"]]
    if same:
        names = "; ".join(" and ".join(map(printable, classes)) for classes in same[:3])
        pairs_of = counted(len(same), "pair of classes", "pairs of classes")
        yield CAUTION, f"{pairs_of} can't be told apart by the features: {names}."
    if data["balance"] and data["balance"]["differs"]:
        splits = " and ".join(of["split"] for of in data["balance"]["splits"] if of["differs"])
        yield CAUTION, f"Classes have other shares in {splits} than in train: figures may not hold elsewhere."


def _score_without(trust: Mapping[str, Any] | None) -> str:
    without = trust["without_duplicates"] if trust else None
    if not without:
        return ""
    images = counted(without["images"], "test image")
    return f" Without the {images} with a copy in training, accuracy is {without['accuracy']:.1%}."
