from __future__ import annotations

import pytest

from features import decodings
from features.decodings import DECODING, formats_mended_since


def test_each_mend_says_which_formats_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(decodings.MENDED) == list(range(1, DECODING + 1))
    assert formats_mended_since(0) == {"jpeg", "png", "gif", "tiff"}
    assert formats_mended_since(DECODING) == frozenset()
    later = {1: frozenset({"jpeg"}), 2: frozenset({"png", "gif"}), 3: frozenset({"gif", "webp"})}
    monkeypatch.setattr(decodings, "MENDED", later)
    since = [formats_mended_since(number) for number in range(4)]
    assert since == [{"jpeg", "png", "gif", "webp"}, {"png", "gif", "webp"}, {"gif", "webp"}, set()]
