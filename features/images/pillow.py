"""Pillow's readers: headers, pixels as 8-bit RGB, and what its errors mean.

Of 16 bits the high byte counts. Samples whose range nobody knows (32-bit and signed integers, floats) are
refused: a guess at it would turn some images black in silence.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from features.images.errors import ImageError
from features.images.families import family_of
from features.images.limits import check_size

#: Larger images are converted in bands of so many pixels, and smaller ones at once.
_BAND_PIXELS = 2**22

_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_SAMPLE_FORMAT = 339
_WHITE_IS_ZERO = 0

#: How Pillow's readers say that they know the format and not this kind of it.
_UNSUPPORTED = re.compile(
    r"unsupported|unknown|unimplemented|not supported|not implemented|no loader|cannot find loader"
    r"|samples per pixel|invalid palette size|conversion from \S+ to",
    re.IGNORECASE,
)


@contextlib.contextmanager
def readers_errors() -> Iterator[None]:
    """Whatever one of Pillow's readers raises, as an ImageError: many kinds, when the data are damaged."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # OSError, SyntaxError, EOFError, struct.error, …
        raise damage(error) from error


def open_with_pillow(data: bytes, format: str | None = None) -> ImageFile.ImageFile:
    """Read the header only.

    Args:
        format: Pillow's name of the one format that it can be, where that is known.

    Raises:
        ImageError: not_an_image, unsupported, truncated, corrupt or too_large.
    """
    with readers_errors():
        try:
            image = Image.open(io.BytesIO(data), formats=None if format is None else [format])
        except UnidentifiedImageError as error:
            raise _why_unidentified(data) from error
    check_size(*image.size)
    return image


def _why_unidentified(data: bytes) -> ImageError:
    """Pillow swallows its readers' words while it looks for one: that of the right format says them again."""
    family = family_of(data)
    if family is None:
        return ImageError("not_an_image", f"unknown format; it begins with {data[:8]!r}")
    reader = Image.OPEN[family.pillow][0] if family.pillow in Image.OPEN else None
    if reader is None:
        return ImageError("unsupported", f"{family.name}: there is no reader for it here")
    try:
        with readers_errors():
            reader(io.BytesIO(data), "")
    except ImageError as error:
        return ImageError(error.reason, f"{family.name}: {error.detail}{_tiff_samples(data, family.pillow)}")
    return ImageError("unsupported", f"{family.name} of an unknown kind")


def _tiff_samples(data: bytes, format: str | None) -> str:
    """What the samples of a TIFF are, where its header can be read that far."""
    if format != "TIFF":
        return ""
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(directory.next)
        directory.load(file)
        bits = directory.get(_BITS_PER_SAMPLE, (1,))
        kinds = {1: "unsigned", 2: "signed", 3: "float"}
        kind = kinds.get(directory.get(_SAMPLE_FORMAT, (1,))[0], "unknown")
    except Exception:  # no more than a nicer message was at stake
        return ""
    return f" ({len(bits)} bands of {'/'.join(str(bit) for bit in sorted(set(bits)))} bits, {kind})"


def load_rgb(image: ImageFile.ImageFile) -> np.ndarray:
    """The first frame as uint8 RGB of shape (height, width, 3); alpha is dropped, not blended.

    Raises:
        ImageError: unsupported, truncated, corrupt or too_large.
    """
    with readers_errors():
        image.load()
    if image.mode.startswith("I"):
        return np.repeat(_high_bytes(image)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ImageError("unsupported", "samples are floats, whose range nobody knows: convert to 8 bits")
    return _converted(image, "RGB")


def load_cmyk(image: ImageFile.ImageFile) -> np.ndarray:
    """The same for a CMYK image: its four inks as they are stored."""
    with readers_errors():
        image.load()
    return _converted(image, "CMYK")


def _converted(image: Image.Image, mode: str) -> np.ndarray:
    """uint8 pixels in `mode`; a large image in bands, since each step of a conversion is a copy of it."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    pixels = np.empty((height, width, len(mode)), np.uint8)
    try:
        for top in range(0, height, rows):
            band = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
            if band.mode in ("RGBa", "La"):  # premultiplied, and only convertible to this
                band = band.convert(band.mode.upper())
            pixels[top : top + rows] = np.asarray(band if band.mode == mode else band.convert(mode))
    except ValueError as error:
        raise damage(error) from error
    return pixels


def _high_bytes(image: ImageFile.ImageFile) -> np.ndarray:
    """The high byte of each 16-bit sample, uint8 (height, width)."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    if image.mode == "I" and image.format != "PPM":  # Pillow reads 16-bit PPM into 32 bits
        kind = "signed" if bits == 16 else f"{bits}-bit" if tags else "32-bit"
        raise ImageError(
            "unsupported",
            f"samples are {kind} integers, whose range nobody knows: convert to 8 or to unsigned 16 bits",
        )
    samples = np.asarray(image).astype(np.uint16, copy=False)
    samples = samples << 16 - bits if bits < 16 else samples
    high = (samples >> 8).astype(np.uint8)
    return ~high if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else high


def damage(error: Exception) -> ImageError:
    """What an error of one of Pillow's readers means."""
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too_large", detail)
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(detail):
        return ImageError("unsupported", detail)
    ends = re.search(r"truncated|unexpected end|not enough data|end of (file|data)", detail, re.IGNORECASE)
    return ImageError("truncated" if ends else "corrupt", detail)
