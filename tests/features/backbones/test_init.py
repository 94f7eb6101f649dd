from __future__ import annotations

import pytest

from features import backbones
from features.backbones import DEFAULT_BACKBONE, get_backbone
from features.errors import BottleneckError


def test_a_backbone_is_found_by_its_name():
    assert backbones.BACKBONES[:4] == ("inception_v3", "resnet50", "resnet50_v2", "efficientnet_v2_s")
    assert [get_backbone(name).name for name in backbones.BACKBONES] == [*backbones.BACKBONES]
    assert DEFAULT_BACKBONE == "inception_v3"


def test_an_unknown_backbone_lists_the_known_ones():
    with pytest.raises(BottleneckError) as error:
        get_backbone("vgg16")
    assert str(error.value) == f"there is no backbone 'vgg16': choose from {', '.join(backbones.BACKBONES)}"
