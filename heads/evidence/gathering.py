"""All evidence on a head and its data, gathered from stored features in one call."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.backbones import DEFAULT_BACKBONE
from features.text import counted, printable
from heads.evidence import choices, curves, near_duplicates, trust
from heads.evidence.answers import Answers, NoAnswers, answers_of
from heads.evidence.balance import compare_splits
from heads.evidence.evaluation import FORMAT, head_facts, head_ids, table_facts
from heads.evidence.images import LabelledRows, sample
from heads.evidence.label_errors import find_confused_classes, find_label_errors, find_outliers
from heads.evidence.leaderboard import leaderboard
from heads.evidence.neighbours import Neighbours, find_neighbours
from heads.evidence.out_of_fold import out_of_fold
from heads.evidence.skill import skill_name
from heads.evidence.small_versions import SmallVersions, read_small
from heads.evidence.sources import compare_sources, find_sources
from heads.evidence.subject import Part, Settings, Subject, find_subject, nobody
from heads.evidence.verdict import verdict
from heads.progress import Progress, silent
from heads.saved import load_head

if TYPE_CHECKING:
    from features.store.table import FeatureTable

#: Images, pairs and classes that are named.
_NAMED = 50
_MOST_WRONG = 20


def gather_evidence(
    store: str | Path = "store",
    features: str = DEFAULT_BACKBONE,
    id: str | None = None,
    *,
    settings: Settings | None = None,
    random_features: FeatureTable | None = None,
    without_random: str = "",
    part: Part = nobody,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Gather the evidence on a head and its data, from the newest version of its table.

    Args:
        store: folder of the store.
        features: name of the table.
        id: of the head; the current one by default.
        settings: how much is measured.
        random_features: a table of features of the same backbone with random weights, of the images of
            `sample_of`; without it, learning curves are compared with raw pixels alone.
        without_random: why there is none, to be said on the page.
        part: called with the name of each part before it is made.
        progress: called at each step of a part.

    Returns:
        What `evaluation.json` holds: see docs/evidence.md.

    Raises:
        BottleneckError: where there is no such table or head, or no image of a label that the head knows.
    """
    settings = settings or Settings()
    subject = find_subject(load_head(store, features, id), settings, part, progress, without_random)
    sampled = _sample(subject)
    neighbours, small, same = _look_for_copies(subject, sampled)
    # From here on copies are on one side, like the images of a group.
    images = near_duplicates.with_copies(subject.images, same)
    subject = dataclasses.replace(subject, images=images)
    sampled = images.among(np.searchsorted(images.numbers, sampled.numbers))
    answers = _answers(subject)
    checked = None if answers is None else _trust(subject, answers, same)
    evaluation: dict[str, Any] = {
        "format": FORMAT,
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "head": head_facts(subject.saved),
        "heads": head_ids(subject.saved),
        "table": table_facts(subject.table, len(images)),
        "classes": images.counts(),
        "multi_label": images.multi_label,
        "skill": skill_name(multi_label=images.multi_label),
        "settings": dataclasses.asdict(settings),
        **_experiments(subject, sampled, small, random_features, checked),
        "trust": checked,
        "data": _data(subject, neighbours, small, same),
        "missing": subject.missing,
    }
    return {"verdict": verdict(evaluation), **evaluation}


def sample_of(
    store: str | Path = "store",
    features: str = DEFAULT_BACKBONE,
    id: str | None = None,
    *,
    settings: Settings | None = None,
) -> LabelledRows:
    """The images that learning curves are drawn from: arguments as of `gather_evidence`."""
    return _sample(find_subject(load_head(store, features, id), settings or Settings()))


def _sample(subject: Subject) -> LabelledRows:
    return sample(subject.images, subject.settings.sample, given_splits=subject.given_splits)


def _look_for_copies(
    subject: Subject, sampled: LabelledRows
) -> tuple[Neighbours, SmallVersions, list[near_duplicates.Pair]]:
    """Neighbours by features, small versions of the images that these propose and of the sample; copies."""
    images = subject.images
    subject.part(f"Finding the neighbours of {counted(len(images), 'image')}")
    neighbours = find_neighbours(images, subject.layers[-1:], subject.settings.seed, subject.progress)
    pairs, cosines = near_duplicates.proposals(neighbours, images.image_ids)
    numbers = np.union1d(near_duplicates.to_read(pairs), np.searchsorted(images.numbers, sampled.numbers))
    subject.part(f"Reading {counted(len(numbers), 'image')}")
    small = read_small(images, numbers, subject.progress)
    if not small.readable.any():
        subject.lacks(
            "data",
            "near-duplicates, thumbnails, and learning curves on raw pixels",
            f"the source images could not be read, such as {printable(images.uris[0])}: bring them back",
        )
    same = [
        *near_duplicates.identical_pairs(images),
        *near_duplicates.same_pictures(pairs, cosines, small),
    ]
    return neighbours, small, same


def _answers(subject: Subject) -> Answers | None:
    subject.part(f"Testing head {subject.saved.id}")
    try:
        return answers_of(subject.saved, subject.images)
    except NoAnswers as error:
        subject.lacks("trust", "test metrics of the head", str(error))
        return None


def _experiments(
    subject: Subject,
    sampled: LabelledRows,
    small: SmallVersions,
    random_features: FeatureTable | None,
    checked: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What is trained anew: `transfer`, `layers`, `views`, and `workflows` beside it."""
    settings, head = subject.settings, subject.new_head()
    parts: dict[str, Any] = {"transfer": None, "layers": [], "views": None}
    sampled, sources = find_sources(subject, sampled, small, random_features)
    draws = curves.draws_of(sampled, settings.draws, settings.seed, given_splits=subject.given_splits)
    if curves.can_learn(sampled.y, draws):
        parts["transfer"] = compare_sources(subject, sampled, draws, sources)
        subject.part("Comparing layers")
        parts["layers"] = choices.compare_layers(head, sampled, draws, subject.layers, subject.progress)
        parts["views"] = choices.compare_views(head, sampled, subject.layers, draws)
    else:
        what = "test split has" if subject.given_splits else "data have"
        how = f"add images: the {what} too few images, or groups, to share out"
        subject.lacks("transfer", "learning curves and comparisons of layers", how)
    if not subject.table.layers[1:]:
        how = "extract several into another table: `layers=mixed8,avg_pool`, `features=NAME`"
        subject.lacks("layers", "other layers", how)
    if not subject.table.views:
        subject.lacks("views", "augmented views", "extract again with some: `views=4`")
    # Of several labels it has another figure.
    board = checked["leaderboard"] if checked and not sampled.multi_label else []
    parts["workflows"] = choices.compare_workflows(subject.saved, subject.table, board)
    for workflow in choices.missing_workflows(parts["workflows"]):
        subject.lacks("workflows", *workflow)
    return parts


def _trust(subject: Subject, answers: Answers, same: list[near_duplicates.Pair]) -> dict[str, Any]:
    subject.part("Comparing heads")
    board, left_out = leaderboard(subject.saved, answers)
    marks = np.zeros(len(answers.images), bool)
    if not answers.dealt:  # else copies are in one fold
        of_all = near_duplicates.leaked(same, subject.images)
        marks = of_all[np.searchsorted(subject.images.numbers, answers.images.numbers)]
    return {
        "tested": answers.tested,
        "metrics": trust.metrics_of(subject.saved, answers),
        "intervals": trust.intervals_of(subject.saved, answers),
        "class_intervals": trust.class_intervals(subject.saved, answers),
        "reliability": trust.reliability(answers.images.y, answers.probabilities),
        "leaderboard": board,
        "left_out": left_out,
        "without_duplicates": trust.without(subject.saved, answers, marks) if marks.any() else None,
        "figure": "labels right" if answers.images.multi_label else "accuracy",
        "worst": trust.worst(answers, _MOST_WRONG),
    }


def _data(
    subject: Subject,
    neighbours: Neighbours,
    small: SmallVersions,
    same: list[near_duplicates.Pair],
) -> dict[str, Any]:
    images = subject.images
    subject.part("Looking for label errors")
    errors: dict[str, Any] = {"count": None, "images": []}
    confused = None
    if images.units.max() > 0:
        probabilities = out_of_fold(images, subject.table.layers, subject.settings.seed, subject.progress)
        errors = find_label_errors(images, probabilities, _NAMED)
        confused = find_confused_classes(images, probabilities, _NAMED)
    else:
        subject.lacks("data", "label errors", "add images of another group: all are of one")
    return {
        "label_errors": errors,
        "near_duplicates": {
            **near_duplicates.describe(same, images, _NAMED),
            "pixels": bool(small.detailed.any()),
            "compared": int(small.detailed.sum()),
            "not_compared": int((~small.detailed).sum()),
            "method": near_duplicates.method_text(len(images), small, exact=neighbours.exact),
        },
        "outliers": find_outliers(images, neighbours, _NAMED),
        "confused_classes": confused,
        "balance": None if images.multi_label else compare_splits(images.counts()),
    }
