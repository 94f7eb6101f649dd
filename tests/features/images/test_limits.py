"""What a file claims, on both sides of each limit."""

from __future__ import annotations

import pytest

from features.images import MAX_PIXELS, ImageError
from features.images.limits import check_held, check_size, check_unbounded


def test_the_largest_image_has_178_956_970_pixels() -> None:
    assert MAX_PIXELS == 178_956_970
    check_size(1, MAX_PIXELS)
    check_size(MAX_PIXELS // 2, 2)
    for size, text in (((MAX_PIXELS + 1, 1), "178,956,971 × 1"), ((2, 89_478_486), "2 × 89,478,486")):
        with pytest.raises(ImageError) as error:
            check_size(*size)
        assert str(error.value) == f"too_large: {text} pixels; the limit is 178,956,970"


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-3, -5)])
def test_an_image_of_no_size_is_corrupt(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"^corrupt: {size[0]} × {size[1]} pixels$"):
        check_size(*size)


def test_what_the_bytes_can_hold() -> None:
    check_held(10, 10, 300, 300)
    with pytest.raises(ImageError, match="^truncated: 10 × 10 pixels, which 299 bytes of data can't hold$"):
        check_held(10, 10, 300, 299)


def test_few_bytes_may_ask_for_modest_memory_only() -> None:
    check_unbounded(20_480, 10_000, 2**29, 1)
    check_unbounded(20_480, 10_000, 2**29 + 1, 100_000)
    with pytest.raises(ImageError) as error:
        check_unbounded(20_480, 10_000, 2**29 + 1, 99_999)
    assert str(error.value) == (
        "too_large: 20,480 × 10,000 pixels from 99,999 bytes: more than can be believed"
    )
