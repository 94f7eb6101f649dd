"""Backbones: the networks whose bottleneck features are stored.

A backbone is a module here that holds one `Backbone`, named `BACKBONE`, and a line in `BACKBONES`. Everything
else asks the `Backbone`: nothing outside this room knows a layer's name, a width or an input size.
"""

from __future__ import annotations

import functools
import importlib

from features.backbones.base import Backbone
from features.errors import check_known

#: Names of the backbones: each is a module of this package.
BACKBONES: tuple[str, ...] = (
    "inception_v3",
    "resnet50",
    "resnet50_v2",
    "efficientnet_v2_s",
)

DEFAULT_BACKBONE = "inception_v3"

__all__ = ["BACKBONES", "DEFAULT_BACKBONE", "Backbone", "get_backbone"]


@functools.cache
def get_backbone(name: str) -> Backbone:
    """The backbone of this name.

    Raises:
        BottleneckError: for a name that is not in `BACKBONES`.
    """
    check_known("backbone", name, BACKBONES)
    return importlib.import_module(f"features.backbones.{name}").BACKBONE
