"""Evaluations to make pages from, as `heads.evidence` would give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heads.metrics import evaluate
from heads.multi_label import evaluate_labels

#: Names that would do harm where they are taken for anything but text.
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "{{7*7}}",
    "n" * 300,
    "evil\u202egnp.exe",
    "\U0001f33b sunflower %{meta[0]}",
    "var(--ink)",
]
FLOWERS = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


def metrics_of(classes: Sequence[str], count: int = 60) -> dict[str, Any]:
    """Figures of predictions that are mostly right."""
    random = np.random.default_rng(0)
    true = np.arange(count) % len(classes)
    probabilities = random.dirichlet(np.ones(len(classes)), count)
    probabilities[np.arange(count), true] += random.uniform(0, 0.9, count)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return evaluate(true, probabilities, classes, majority_class=classes[0])


def label_metrics_of(labels: Sequence[str], count: int = 60) -> dict[str, Any]:
    """The same of several labels an image."""
    random = np.random.default_rng(0)
    true = (random.random((count, len(labels))) < 0.3).astype(int)
    true[0] = 1
    probabilities = np.clip(0.3 + 0.4 * true + random.normal(scale=0.25, size=true.shape), 0, 1)
    return evaluate_labels(true, probabilities, labels, thresholds=np.full(len(labels), 0.5))


def evaluation(
    uris: Sequence[str], classes: Sequence[str] = FLOWERS, *, layers: Sequence[str] = ("mixed8", "avg_pool")
) -> dict[str, Any]:
    """A whole evaluation, of images and classes by any name; the images are named in turns."""
    first, second = classes[0], classes[1 % len(classes)]
    return {
        "format": 1,
        "created_at": "2026-11-26T20:00:00+00:00",
        "head": {
            "id": "20261126-190828-logistic-cf51",
            "kind": "logistic",
            "layers": list(layers),
            "created_at": "2026-11-26T19:08:28+00:00",
            "workflow": None,
            "parameters": {"C": None, "calibration": None, "class_weight": None, "seed": 0},
            "seed": 0,
        },
        "table": {
            "name": "inception_v3",
            "version": 1,
            "source": "/data/flowers",
            "recipe": "inception_v3, weights inception_v3, 299 pixels, float32",
            "untrained": False,
            "images": 500,
            "extracted_at": "2026-11-26T18:34:03+00:00",
        },
        "classes": {label: {"train": 77, "validation": 11, "test": 12} for label in classes},
        "multi_label": False,
        "skill": "accuracy",
        "settings": {"draws": 5, "seed": 0, "sample": 2000},
        "verdict": [
            "Transfer helps: the stored features reach 85% with 20 images of each class, "
            "pixels alone need more than there are.",
            "The head is right in 88% of images it has never seen (95% interval 77% to 94%).",
            f"It takes {first} for {second} more often than any other class.",
            "Training with views of the images does not make it better.",
            "3 test images have a near-duplicate in another split: the accuracy without them is 87%.",
            "About 12 labels are likely wrong: look at them before you train again.",
        ],
        "transfer": transfer(),
        "layers": [
            _measured(0.81, layers=["mixed7"], width=768, difference=[-0.07, -0.13, -0.01], noise=False),
            _measured(0.87, layers=["mixed8"], width=1280, difference=[-0.01, -0.05, 0.03], noise=True),
            _measured(0.88, layers=list(layers), width=3328, difference=None, noise=None, is_head=True),
        ],
        "views": [_measured(0.88, views=False), _measured(0.87, views=True)],
        "workflows": [
            _measured(0.879, name="stored features", head="20261126-190828-logistic-cf51", total_seconds=23.5)
            | {"extraction_seconds": 22.0, "seconds": 1.5, "epochs": None, "seconds_per_epoch": None},
            _measured(0.61, name="end-to-end", head="20261126-183703-end-to-end-e93e", total_seconds=1450.0)
            | {"extraction_seconds": None, "seconds": 1450.0, "epochs": 12, "seconds_per_epoch": 120.8},
        ],
        "trust": trust(uris, classes),
        "data": data(uris, classes),
        "missing": [
            {"part": "workflows", "what": "Fine-tuning was not compared", "how": "bottlenecks fine-tune"},
            {"part": "data", "what": "Groups: the images have none", "how": "Give a column 'group'."},
        ],
    }  # fmt: skip


def _measured(skill: float, **more: Any) -> dict[str, Any]:
    measured = {
        "skill": skill,
        "interval": [skill - 0.08, skill + 0.05],
        "log_loss": 1.2 - skill,
        "seconds": 1.2,
    }
    return measured | {"is_head": False} | more


def transfer() -> dict[str, Any]:
    amounts = [1, 2, 5, 10, 20, 50, None]
    curves = {
        "features": ("stored features (avg_pool)", [0.55, 0.64, 0.75, 0.81, 0.84, 0.86, 0.88]),
        "random": ("an untrained network (avg_pool)", [0.24, 0.26, 0.3, 0.34, 0.38, 0.42, 0.45]),
        "pixels": ("pixels", [0.22, 0.24, 0.27, 0.31, 0.34, 0.37, 0.39]),
    }
    return {
        "helps": True,
        "chance": 0.2,
        "images": 500,
        "tested": "the 60 images of the test split, each draw",
        "sources": [
            {"id": id, "name": name, "width": 2048,
             "points": [{"per_class": per_class, "mean": mean, "low": mean - 0.04, "high": mean + 0.04,
                         "draws": [mean] * 5} for per_class, mean in zip(amounts, means, strict=True)]}
            for id, (name, means) in curves.items()
        ],
        "claims": [
            {"id": "start", "title": "higher start", "helps": True,
             "sentence": "With one image of each class the stored features are 31 points ahead.",
             "against": [{"id": "random", "difference": 0.31, "interval": [0.25, 0.37]},
                         {"id": "pixels", "difference": 0.33, "interval": [0.27, 0.39]}]},
            {"id": "slope", "title": "steeper slope", "helps": True,
             "sentence": "They need at least 8 times fewer images for the same accuracy.",
             "against": [{"id": "random", "ratio": 8.0, "interval": None, "at_least": True}]},
            {"id": "asymptote", "title": "higher end", "helps": False,
             "sentence": "With all images the difference is no larger than chance.",
             "against": [{"id": "random", "difference": 0.43, "interval": [-0.02, 0.5]}]},
        ],
    }  # fmt: skip


def trust(uris: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    bins: list[dict[str, Any]] = [
        {"low": n / 10, "high": (n + 1) / 10, "count": 3 * n, "confidence": n / 10 + 0.05,
         "accuracy": min(1, n / 10 + 0.02), "interval": [max(0, n / 10 - 0.15), min(1, n / 10 + 0.2)]}
        if n else {"low": 0, "high": 0.1, "count": 0, "confidence": None, "accuracy": None, "interval": None}
        for n in range(10)
    ]  # fmt: skip
    board = [
        {"head": f"2026112{n}-190828-logistic-{n:04x}", "kind": "logistic", "layers": ["mixed8", "avg_pool"],
         "workflow": None, "skill": 0.89 - n / 50, "interval": [0.8 - n / 50, 0.94 - n / 50],
         "log_loss": 0.35 + n / 30,
         "difference": None if n == 1 else [0.02 - n / 50, -0.04 - n / 50, 0.06 - n / 50],
         "p_value": None if n == 1 else 0.4 / (n + 1), "noise": None if n == 1 else n < 4, "is_head": n == 1}
        for n in range(6)
    ]  # fmt: skip
    return {
        "tested": "the test split of version 1",
        "metrics": metrics_of(classes, max(60, 3 * len(classes))),
        "reliability": {"bins": bins, "calibration_error": 0.05},
        "leaderboard": board,
        "left_out": ["head 20261126-183405-logistic-9a1c: it was trained on another version of the table"],
        "without_duplicates": {"images": 3, "count": 55, "accuracy": 0.87, "accuracy_interval": [0.75, 0.94]},
        "worst": [
            {"uri": uri, "label": classes[n % len(classes)], "predicted": classes[(n + 1) % len(classes)],
             "probability": 0.01 * n}
            for n, uri in enumerate(uris[:8])
        ],
    }  # fmt: skip


def data(uris: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    def label(n: int) -> str:
        return classes[n % len(classes)]

    return {
        "label_errors": {
            "count": 12,
            "images": [
                {"uri": uri, "label": label(n), "suggested": label(n + 2), "probability": 0.02 * n,
                 "suggested_probability": 0.95 - 0.01 * n, "split": ("train", "validation", "test")[n % 3]}
                for n, uri in enumerate(uris[8:20])
            ],
        },
        "near_duplicates": {
            "pairs": [
                {"uris": [uris[n], uris[n + 1]], "splits": ["train", "test"],
                 "labels": [label(n), label(n + n)],
                 "cosine": 0.97 - n / 100, "correlation": None if n else 0.99, "identical": n == 0,
                 "mirrored": n == 1, "across_splits": True, "across_labels": n > 1}
                for n in range(3)
            ],
            "count": 3, "across_splits": 3, "across_labels": 1, "pixels": True,
            "method": "exact cosine of 500 images, then the pixels of 12 pairs were read",
        },
        "outliers": [
            {"uri": uri, "label": label(n), "split": "train", "distance": 0.6 - n / 50}
            for n, uri in enumerate(uris[20:26])
        ],
        "confused_classes": [
            {"classes": [label(0), label(1)], "wrong": 0.21, "interval": [0.12, 0.33], "images": 48,
             "indistinguishable": False},
            {"classes": [label(2), label(3)], "wrong": 0.48, "interval": [0.35, 0.6], "images": 40,
             "indistinguishable": True},
        ],
        "balance": {
            "differs": True,
            "splits": [
                {"split": "validation", "p_value": 0.4, "differs": False,
                 "sentence": "The validation split has the same shares of classes as train."},
                {"split": "test", "p_value": 0.001, "differs": True,
                 "sentence": f"The test split has more of {label(0)} than train."},
            ],
        },
    }  # fmt: skip


def multi_label(uris: Sequence[str], labels: Sequence[str] = FLOWERS) -> dict[str, Any]:
    """An evaluation of a head that gives several labels."""
    both = " | ".join(labels[:2])
    whole = evaluation(uris, labels)
    worst = [each | {"label": both} for each in whole["trust"]["worst"]]
    whole["trust"] |= {"metrics": label_metrics_of(labels), "worst": worst}
    return whole | {"multi_label": True, "skill": "macro average precision"}


def nothing() -> dict[str, Any]:
    """An evaluation in which nearly everything is null or missing."""
    whole = evaluation([f"/images/{n}.png" for n in range(30)])
    null = dict.fromkeys(["transfer", "views", "trust", "data"])
    empty: dict[str, Any] = {"layers": [], "workflows": [], "verdict": [], "classes": {}, "missing": []}
    return {name: whole[name] for name in ("format", "head", "table")} | null | empty
