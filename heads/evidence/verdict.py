"""The verdict: what the evidence says, in a few sentences for whoever reads nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from features.backbones.weights import UNTRAINED
from features.text import counted, printable
from heads.evidence.trust import headline

#: Tones of a sentence.
GOOD, BAD, CAUTION = "good", "bad", "caution"
#: An expected calibration error from which on probabilities should not be taken at their word.
_ROUGH = 0.1
#: An interval of the accuracy that is wider than this says little.
_WIDE = 0.1


def verdict(evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    """The sentences, each with its `tone`: `good`, `bad` or `caution`, and `text`.

    Args:
        evaluation: the other parts of `evaluation.json`.
    """
    return [{"tone": tone, "text": text} for tone, text in _sentences(evaluation)]


def _sentences(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _of_transfer(evaluation["transfer"])
    if evaluation["table"]["untrained"]:
        yield CAUTION, UNTRAINED
    if evaluation["trust"]:
        yield from _of_trust(evaluation["trust"])
    if evaluation["data"]:
        yield from _of_data(evaluation["data"], evaluation["trust"], evaluation["table"]["images"])


def _of_transfer(transfer: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if transfer is None or not transfer["claims"]:
        yield CAUTION, "Whether transfer helped can't be said: there is nothing to compare the features with."
        return
    holds = [claim["title"] for claim in transfer["claims"] if claim["helps"]]
    if holds:
        named = [f"a {title}" for title in holds]
        text = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
        yield GOOD, f"Transfer helped: it gave {text}."
    else:
        yield (
            BAD,
            "Transfer did not help: neither a higher start, nor a higher slope, nor a higher asymptote.",
        )


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
    error = trust["reliability"]["calibration_error"]
    if error > _ROUGH:
        yield (
            CAUTION,
            f"Its probabilities are {100 * error:.0f} points off, on average: train it with calibration, or "
            f"do not take them at their word.",
        )
    others = [row for row in trust["leaderboard"] if not row["is_head"]]
    better = [row for row in others if not row["noise"] and row["difference"][0] > 0]
    if better:
        yield CAUTION, f"Head {better[0]['head']} is better on the same images, and not by chance."
    elif others:
        yield GOOD, f"No other head of {len(others)} is better on the same images by more than chance."


def _of_data(
    data: Mapping[str, Any], trust: Mapping[str, Any] | None, images: int
) -> Iterator[tuple[str, str]]:
    pairs = data["near_duplicates"]
    across = pairs["across_splits"]
    if not pairs["pixels"]:
        yield CAUTION, "Near-duplicates could not be looked for: the source images can't be read."
    elif across:
        without = trust["without_duplicates"] if trust else None
        score = (
            f" Without the {counted(without['images'], 'test image')} with a copy in training, accuracy is "
            f"{without['accuracy']:.1%}."
            if without
            else ""
        )
        yield CAUTION, f"{counted(across, 'picture is', 'pictures are')} in two splits.{score}"
    else:
        yield GOOD, "No picture was seen to be in two splits."
    errors = data["label_errors"]
    if errors is not None and errors["count"]:
        wrong = counted(errors["count"], "label is", "labels are")
        yield (
            CAUTION,
            f"About {wrong} likely wrong, of {counted(images, 'image')}: the likeliest are named below.",
        )
    same = [pair["classes"] for pair in data["confused_classes"] if pair["indistinguishable"]]
    if same:
        names = "; ".join(" and ".join(map(printable, classes)) for classes in same[:3])
        yield (
            CAUTION,
            f"{counted(len(same), 'pair of classes', 'pairs of classes')} can't be told apart: {names}.",
        )
    if data["balance"]["differs"]:
        splits = [of["split"] for of in data["balance"]["splits"] if of["differs"]]
        yield CAUTION, f"The classes of {' and '.join(splits)} have other shares than those of train."
