"""From a file's bytes to pixels, as `keras.utils.image_dataset_from_directory` would give them.

Use `image_bytes` and `read_pixels` (or `decode` and `resize`) wherever an image is turned into the network's
input: they need no TensorFlow, let go of Python's global lock while they work, and are safe to call from many
threads.

Where TensorFlow reads a format, its pixels are kept, because features change with them. What is kept, what
differs, and why: see "Where pixels differ from TensorFlow's" in docs/inputs.md.

Formats that TensorFlow can't decode (TIFF, HEIC, AVIF, JPEG 2000, …) go through Pillow. The format is known
by the content, never by the file's name. What is an image and can't be read, or has samples whose range
nobody knows (32-bit and signed integers, floats), is rejected as `unsupported`, never scaled by a guess.
"""

from features.decodings import DECODING
from features.images.decoding import Decoded, decode, decoded, read_pixels
from features.images.errors import REASONS, REMEDIES, ImageError
from features.images.files import MAX_BYTES, image_bytes, read_image
from features.images.limits import MAX_PIXELS
from features.images.resizing import resize

__all__ = [
    "DECODING",
    "MAX_BYTES",
    "MAX_PIXELS",
    "REASONS",
    "REMEDIES",
    "Decoded",
    "ImageError",
    "decode",
    "decoded",
    "image_bytes",
    "read_image",
    "read_pixels",
    "resize",
]
