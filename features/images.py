"""From a file's bytes to pixels, as `keras.utils.image_dataset_from_directory` would give them.

Use `read_image`, `decode` and `resize` wherever an image is turned into the network's input: they need
no TensorFlow, let go of Python's global lock while they work, and are safe to call from many threads.

What is kept the same as TensorFlow (https://www.tensorflow.org/api_docs/python/tf/io/decode_image with
`channels=3, expand_animations=False`, then `tf.image.resize`), because features change with the pixels:

- JPEG through libjpeg-turbo with the fast DCT and smooth chroma upsampling; CMYK by TensorFlow's formula.
- PNG: alpha and transparency are dropped, not blended; of 16 bits the high byte counts.
- GIF: the first frame alone, at its own size, transparent pixels black.
- Resize: bilinear, without antialiasing, never rounded (`features.resizing`).

Formats that TensorFlow can't decode (TIFF, 16-bit and palette BMP, WebP with alpha, …) go through Pillow.
The format is told by the content, never by the file's name.
"""

from __future__ import annotations

import io
import os
import stat
from typing import NamedTuple, NoReturn

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from features.resizing import resize as resize

#: Why an image is rejected: the word in the table, and what it means.
REASONS: dict[str, str] = {
    "missing": "no such file (a dangling link, or removed since it was listed)",
    "not_a_file": "a folder or device with an image's name",
    "unreadable": "the file can't be read (permission, disk or network error)",
    "empty": "the file holds no bytes",
    "not_an_image": "the content is of no known image format",
    "truncated": "the image ends too early",
    "corrupt": "the image's data are damaged",
    "too_large": "more pixels or bytes than can be decoded safely",
    "not_finite": "the features came out as NaN or infinite",
}

#: More pixels than this are taken for an attack or an accident: the limit of TensorFlow's JPEG decoder
#: (2**29 bytes of RGB) and, to the pixel, the one at which Pillow refuses (twice its MAX_IMAGE_PIXELS).
MAX_PIXELS = 2**29 // 3

#: No photo within MAX_PIXELS needs more: 16-bit RGB without compression is 6 bytes a pixel.
MAX_BYTES = 2**30

#: Drawings which Pillow would hand to another program (Ghostscript) to be run.
_DRAWINGS = {"EPS", "WMF", "EMF"}

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"


class ImageError(Exception):
    """An image that can't be used: `reason` is a key of REASONS, `detail` says what exactly was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Decoded(NamedTuple):
    """A decoded image: uint8 RGB pixels of shape (height, width, 3), and its format (`jpeg`, `png`, …)."""

    pixels: np.ndarray
    format: str


def read_image(uri: str) -> bytes:
    """The bytes of the file at `uri`, an absolute path.

    Raises:
        ImageError: missing, not_a_file, unreadable, empty or too_large.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for someone to write to it.
        descriptor = os.open(uri, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not_a_file", "not a regular file")
            if status.st_size > MAX_BYTES:
                raise ImageError("too_large", f"{status.st_size:,} bytes; the limit is {MAX_BYTES:,}")
            data = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError("missing", error.strerror or "no such file") from error
    except IsADirectoryError as error:
        raise ImageError("not_a_file", "a folder") from error
    except (OSError, ValueError) as error:
        raise ImageError("unreadable", str(getattr(error, "strerror", None) or error)) from error
    if not data:
        raise ImageError("empty", "0 bytes")
    return data


def decode(data: bytes, *, exif_orientation: bool = False) -> Decoded:
    """Decode an image of any format that TensorFlow or Pillow reads; of several frames the first.

    Args:
        data: the file's bytes.
        exif_orientation: turn the image as its EXIF data say (TensorFlow and Keras do not).

    Raises:
        ImageError: empty, not_an_image, truncated, corrupt or too_large.
    """
    if not data:
        raise ImageError("empty", "0 bytes")
    if data.startswith(_JPEG):
        pixels, kind = _decode_jpeg(data), "jpeg"
    elif data.startswith(_PNG):
        pixels, kind = _decode_png(data), "png"
    else:
        pixels, kind = _decode_with_pillow(data)
    if exif_orientation:
        pixels = np.ascontiguousarray(_turn(pixels, _orientation(data)))
    return Decoded(pixels, kind)


def _decode_jpeg(data: bytes) -> np.ndarray:
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(int(width), int(height))
        wanted = "CMYK" if colors in ("CMYK", "YCCK") else "RGB"
        pixels = simplejpeg.decode_jpeg(data, wanted, fastdct=True)
    except ValueError as complaint:
        pixels = _decode_odd_jpeg(data, str(complaint))
    return pixels if pixels.shape[2] == 3 else _cmyk_to_rgb(pixels, data)


def _decode_odd_jpeg(data: bytes, complaint: str) -> np.ndarray:
    """A JPEG with which libjpeg has a quarrel: refused where TensorFlow refuses it, else decoded.

    libjpeg tells only its first complaint, and one that is harmless may hide that the data end early;
    Pillow's way of feeding libjpeg, like TensorFlow's, finds that out.
    """
    if "Premature end of JPEG file" in complaint:
        raise ImageError("truncated", complaint)
    image = _open_with_pillow(data)
    fallback = _load_with_pillow(image)
    try:
        wanted = "CMYK" if image.mode == "CMYK" else "RGB"
        return simplejpeg.decode_jpeg(_without_stray_bytes(data), wanted, fastdct=True, strict=False)
    except ValueError:
        # Chroma sampled in a way that this decoder doesn't know: Pillow's pixels are near enough to
        # keep the image (it has no fast DCT: a level or two apart).
        return fallback


def _without_stray_bytes(jpeg: bytes) -> bytes:
    """The same JPEG without what may lie between the segments of its header, which no decoder reads."""
    segments, start = [jpeg[:2]], jpeg.find(b"\xff", 2)
    while 0 <= start < len(jpeg) - 3:
        marker = jpeg[start + 1]
        if marker in (0x00, 0xFF):
            end = start + 1
        elif marker == 0xDA:
            return b"".join([*segments, jpeg[start:]])
        else:
            end = start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")
            segments.append(jpeg[start:end])
        start = jpeg.find(b"\xff", end)
    return jpeg


def _cmyk_to_rgb(cmyk: np.ndarray, jpeg: bytes) -> np.ndarray:
    """TensorFlow's formula, in tensorflow/core/lib/jpeg/jpeg_mem.cc: Adobe stores the inks inverted."""
    inks = cmyk.astype(np.uint16)
    if "adobe" not in _open_with_pillow(jpeg).info:
        inks = 255 - inks
    return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)


def _decode_png(data: bytes) -> np.ndarray:
    _check_size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("corrupt", str(error).strip()) from error
    if pixels is None:
        _refuse_png(data)
    return pixels


def _refuse_png(data: bytes) -> NoReturn:
    """Say whether a PNG that OpenCV gave up (it doesn't tell why) ends early or is damaged."""
    start = len(_PNG)
    while start + 12 <= len(data):
        if data[start + 4 : start + 8] == b"IEND":
            raise ImageError("corrupt", "damaged PNG data")
        start += 12 + int.from_bytes(data[start : start + 4], "big")
    raise ImageError("truncated", "the PNG ends before its last chunk")


def _decode_with_pillow(data: bytes) -> tuple[np.ndarray, str]:
    image = _open_with_pillow(data)
    kind = (image.format or "unknown").lower()
    if kind == "gif":
        return _load_gif(image), kind
    orientation = _orientation_of(image) if kind == "tiff" else 1
    pixels = _load_with_pillow(image)
    if orientation != 1:
        # Pillow turns TIFFs (and no other format) while it loads them: here that is the caller's choice.
        pixels = np.ascontiguousarray(_turn(pixels, {6: 8, 8: 6}.get(orientation, orientation)))
    return pixels, kind


def _open_with_pillow(data: bytes) -> ImageFile.ImageFile:
    """Read the header only."""
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        if data.startswith((_JPEG, _PNG, b"GIF8")):
            raise ImageError("truncated", "the image ends within its header") from error
        raise ImageError("not_an_image", f"unknown format; it begins with {data[:8]!r}") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers let many kinds through when the header is damaged
        raise _damage(error) from error
    if image.format in _DRAWINGS:
        raise ImageError("not_an_image", f"a drawing ({image.format}), not a photo")
    _check_size(*image.size)
    return image


def _load_with_pillow(image: ImageFile.ImageFile) -> np.ndarray:
    """The first frame as uint8 RGB; alpha is dropped, of 16 bits the high byte is kept."""
    try:
        image.load()
        if image.mode.startswith("I"):
            gray = (np.clip(np.asarray(image), 0, 2**16 - 1) >> 8).astype(np.uint8)
            return np.repeat(gray[:, :, None], 3, axis=2)
        opaque = image.convert("RGBA") if image.mode == "RGBa" else image
        return np.asarray(opaque.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # as above: OSError, SyntaxError, EOFError, struct.error, …
        raise _damage(error) from error


def _load_gif(image: ImageFile.ImageFile) -> np.ndarray:
    """The first frame as TensorFlow reads it: cut to its own size, transparent pixels black."""
    frame = image.tile[0][1]
    pixels = _load_with_pillow(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels = np.where(np.asarray(image)[:, :, None] == transparent, np.uint8(0), pixels)
    left, top, right, bottom = frame or (0, 0, *image.size)
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _damage(error: Exception) -> ImageError:
    detail = str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too_large", detail)
    return ImageError("truncated" if "truncated" in detail.lower() else "corrupt", detail)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{width:,} × {height:,} pixels; the limit is {MAX_PIXELS:,}")


def _orientation(data: bytes) -> int:
    try:
        return _orientation_of(Image.open(io.BytesIO(data)))
    except Exception:  # Pillow is choosier about headers than the decoders of JPEG and PNG used here
        return 1


def _orientation_of(image: Image.Image) -> int:
    """EXIF orientation, from 1 (upright) to 8; 1 where there is none, or none that can be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block is no reason to lose the photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A view of pixels (h, w, 3) turned upright from an EXIF orientation."""
    if orientation >= 5:  # stored with rows and columns exchanged
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
