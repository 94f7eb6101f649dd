"""What a file claims against what it holds, asked before a decoder takes memory for it."""

from __future__ import annotations

from features.images.errors import ImageError

#: More pixels than this are taken for an attack or an accident: the limit of TensorFlow's JPEG decoder
#: (2**29 bytes of RGB) and, to the pixel, the one at which Pillow refuses (twice its MAX_IMAGE_PIXELS).
MAX_PIXELS = 2**29 // 3

#: Memory that a few bytes may ask for where the format puts no bound on what they hold.
_MODEST_MEMORY = 2**29
#: Pixels that each byte must stand for at most beyond that; photos need a thousandth.
_PIXELS_A_BYTE = 2048


def check_size(width: int, height: int) -> None:
    """Refuse an image of no size, or of more than `MAX_PIXELS`.

    Raises:
        ImageError: corrupt or too_large.
    """
    if width <= 0 or height <= 0:
        raise ImageError("corrupt", f"{width:,} × {height:,} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{width:,} × {height:,} pixels; the limit is {MAX_PIXELS:,}")


def check_held(width: int, height: int, least: float, held: int) -> None:
    """Refuse an image that needs `least` bytes in its format, however well it is compressed, and holds fewer.

    Raises:
        ImageError: truncated.
    """
    if least > held:
        raise ImageError(
            "truncated", f"{width:,} × {height:,} pixels, which {held:,} bytes of data can't hold"
        )


def check_unbounded(width: int, height: int, memory: int, held: int) -> None:
    """The same for a format in which a few bytes can hold any number of equal pixels.

    Args:
        memory: bytes that decoding takes.

    Raises:
        ImageError: too_large.
    """
    if memory > _MODEST_MEMORY and width * height > _PIXELS_A_BYTE * held:
        raise ImageError(
            "too_large", f"{width:,} × {height:,} pixels from {held:,} bytes: more than can be believed"
        )
