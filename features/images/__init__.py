"""From a file's bytes to pixels, as `keras.utils.image_dataset_from_directory` would give them.

Use `image_bytes` and `read_pixels` (or `decode` and `resize`) wherever an image is turned into the network's
input: they need no TensorFlow, let go of Python's global lock while they work, and are safe to call from many
threads.

What is kept the same as TensorFlow (https://www.tensorflow.org/api_docs/python/tf/io/decode_image with
`channels=3, expand_animations=False`, then `tf.image.resize`), because features change with the pixels:

- JPEG through libjpeg-turbo with the fast DCT and smooth chroma upsampling; CMYK by TensorFlow's formula.
- PNG: alpha and transparency are dropped, not blended; of 16 bits the high byte counts; of an animation the
  default image.
- GIF: the first frame, on a black canvas as large as the largest frame; transparent pixels are black.
- BMP of 24 and of 32 bits without bit fields, and WebP without alpha.
- Resize: bilinear, without antialiasing, never rounded (`features.images.resizing`).

What differs, and why:

- A BMP with a palette, with RLE or with bit fields gets its own colors. TensorFlow reads BMPs of 8, 24 and 32
  bits only: it takes the indices of 8 bits for gray levels, the bytes of bit fields for BGR, and refuses RLE.
- A JPEG whose chroma is sampled in a way that TurboJPEG has no name for (3×1, or 2×1 beside 1×2) is decoded
  by Pillow, with the slow DCT: 1 level apart on average; at most 6 at quality 85, and 19 at quality 98.
- A GIF or WebP that TensorFlow refuses for a fault in a later frame, or for its alpha, is read.

Formats that TensorFlow can't decode (TIFF, HEIC, AVIF, JPEG 2000, …) go through Pillow. The format is known
by the content, never by the file's name. What is an image and can't be read, or has samples whose range
nobody knows (32-bit and signed integers, floats), is rejected as `unsupported`, never scaled by a guess.
"""

from features.images.decoding import DECODING, Decoded, decode, read_pixels
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
    "image_bytes",
    "read_image",
    "read_pixels",
    "resize",
]
