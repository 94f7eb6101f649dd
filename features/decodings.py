"""How bytes become pixels has a number: what each mend of it concerns. Imports no decoder."""

from __future__ import annotations

from collections.abc import Mapping

#: Goes up when the pixels of some images are mended. It is stored with every row, and is no part of the
#: recipe.
#:
#: 0: until it was recorded.
#: 1: JPEGs of JFIF revision 0, animated PNGs, GIFs whose frames are of several sizes or do not begin in the
#:    corner, TIFFs of 12 bits or whose zero is white; integers and floats of unknown range are refused.
DECODING = 1

#: Which formats each mend concerns: images of others have the same pixels since.
MENDED: Mapping[int, frozenset[str]] = {1: frozenset({"jpeg", "png", "gif", "tiff"})}


def formats_mended_since(number: int) -> frozenset[str]:
    """The formats of which some images are read otherwise now than by decoding `number`."""
    return frozenset().union(*(formats for mend, formats in MENDED.items() if mend > number))
