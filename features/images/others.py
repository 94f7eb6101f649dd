"""Every other format that Pillow reads: BMP, WebP, TIFF, AVIF, JPEG 2000, PNM, TGA, …"""

from __future__ import annotations

import numpy as np
from PIL import ImageFile

from features.images.errors import ImageError
from features.images.limits import check_held, check_unbounded
from features.images.opened import OpenedImage
from features.images.orientation import orientation_of, turned
from features.images.pillow import load_rgb, open_with_pillow

#: What Pillow would hand to another program (Ghostscript) to be run, and what is no picture.
_NO_PHOTOS = {"EPS", "WMF", "GRIB", "BUFR", "HDF5", "MPEG"}

#: Bytes of pixels that a byte of data can stand for at most, by Pillow's name of the decoder. What is not
#: here has no bound that is known.
_EXPANSION = {
    "raw": 1.0,
    "bit": 1.0,
    "packbits": 64.0,
    "tga_rle": 128.0,
    "pcx": 63.0,
    "sgi_rle": 127.0,
    "zip": 1032.0,
    "tiff_lzw": 1366.0,
    "tiff_adobe_deflate": 1032.0,
    "tiff_deflate": 1032.0,
}
#: Bits that a pixel takes at least, before compression, by Pillow's mode.
_LEAST_BITS = {"RGB": 8, "RGBA": 16, "RGBX": 16, "CMYK": 16, "YCbCr": 8, "I;16": 12, "F": 16}

#: At the peak: what the decoder holds, Pillow's image, and the pixels.
_BYTES_A_PIXEL = {"WEBP": 20, "AVIF": 18, "JPEG2000": 32}
_BYTES_A_PIXEL_ELSE = 11


def open_other(data: bytes) -> OpenedImage:
    """Read the header with whichever of Pillow's readers knows the format.

    Raises:
        ImageError: not_an_image, unsupported, truncated, corrupt or too_large.
    """
    image = open_with_pillow(data)
    if image.format in _NO_PHOTOS:
        raise ImageError("not_an_image", f"not a photo ({image.format})")
    width, height = image.size
    memory = _BYTES_A_PIXEL.get(image.format or "", _BYTES_A_PIXEL_ELSE) * width * height
    ratio = _expansion(image)
    if ratio is None:
        check_unbounded(width, height, memory, len(data))
    else:
        check_held(width, height, width * height * _LEAST_BITS.get(image.mode, 1) / 8 / ratio, len(data))
    return OpenedImage((image.format or "unknown").lower(), memory, lambda: _load(image))


def _expansion(image: ImageFile.ImageFile) -> float | None:
    """The largest expansion among the decoders of the image's tiles; None where one is unknown."""
    if image.format in _BYTES_A_PIXEL:  # these decode elsewhere, and hand Pillow what came out
        return None
    names = {tile[0] for tile in image.tile} or {"?"}
    if names == {"libtiff"}:
        names = {str(image.info.get("compression"))}
    ratios = [_EXPANSION.get(name) for name in names]
    return None if None in ratios else max(ratio for ratio in ratios if ratio is not None)


def _load(image: ImageFile.ImageFile) -> np.ndarray:
    orientation = orientation_of(image) if image.format == "TIFF" else 1
    pixels = load_rgb(image)
    # Pillow turns TIFFs (and no other format) while it loads them: here that is the caller's choice.
    return np.ascontiguousarray(turned(pixels, {6: 8, 8: 6}.get(orientation, orientation)))
