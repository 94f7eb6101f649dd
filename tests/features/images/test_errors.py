from __future__ import annotations

import pickle

from features.images import REASONS, REMEDIES, ImageError


def test_each_reason_has_a_meaning_and_a_remedy() -> None:
    assert REASONS.keys() == REMEDIES.keys()
    assert all([*REASONS.values(), *REMEDIES.values()])


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ImageError("empty", "0 bytes")))
    assert isinstance(error, ImageError)
    assert (error.args, error.reason, error.detail) == (("empty", "0 bytes"), "empty", "0 bytes")
    assert str(error) == "empty: 0 bytes"
