"""Damaged images by the thousand, decoded in this process: a program, so that a crash is seen as one.

    python -m tests.features.images.fuzz png --count 3000 --seed 1

Ends with one line of JSON: how many images ended as what, and the peak memory. The seeds are small pictures
of every kind that Pillow writes of a format; each is damaged in one of several ways.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import io
import itertools
import json
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from features.images import ImageError, decode

_PNG_HEADER = 8
_ORIENTATION = 0x0112


def seeds_of(format: str) -> list[bytes]:
    """Whole images of a format, named as Pillow names it, in lower case."""
    if format == "heif":
        import pillow_heif

        pillow_heif.register_heif_opener()
    return [data for save in _SAVES.get(format, _PLAIN) if (data := _saved(format, save)) is not None]


def _picture(mode: str) -> Image.Image:
    pixels = np.random.default_rng(7).integers(0, 256, (12, 16, 3), np.uint8)
    image = Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    return image.convert(mode)


def _animations() -> Iterator[bytes]:
    """Animated PNGs of a few hundred bytes."""
    for mode in ("1", "RGB"):
        frames = [Image.new(mode, (16, 12), number) for number in range(3)]
        file = io.BytesIO()
        frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=mode == "1")
        yield file.getvalue()


_Save = tuple[str, dict]
_PLAIN: list[_Save] = [(mode, {}) for mode in ("RGB", "L", "P", "RGBA", "1", "CMYK")]
_ANIMATED = {"save_all": True, "append_images": [_picture("P"), _picture("P").resize((30, 20))]}
_SAVES: dict[str, list[_Save]] = {
    "jpeg": [
        *(("RGB", {"subsampling": sampling}) for sampling in ("4:4:4", "4:2:2", "4:2:0")),
        *(("RGB", {"progressive": True}), ("L", {}), ("L", {"progressive": True}), ("CMYK", {})),
        *(("RGB", {"restart_marker_blocks": 3}), ("CMYK", {"progressive": True})),
    ],
    "png": [
        *((mode, {}) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")),
        *(("P", {"bits": bits}) for bits in (1, 2, 4)),
        ("RGB", {"save_all": True, "append_images": [_picture("RGB"), _picture("RGB").resize((30, 20))]}),
    ],
    "gif": [("P", {}), ("L", {"interlace": 1}), ("P", {"transparency": 3}), ("P", _ANIMATED)],
    "webp": [
        *(("RGB", {}), ("RGBA", {}), ("RGB", {"lossless": True}), ("RGBA", {"lossless": True})),
        ("RGB", {"save_all": True, "append_images": [_picture("RGB")]}),
    ],
    "tiff": [
        *((mode, {}) for mode in ("RGB", "L", "P", "RGBA", "1", "CMYK", "I;16", "F", "LAB")),
        *(("RGB", {"compression": how}) for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
        *(("RGB", {"compression": how}) for how in ("jpeg", "zstd")),
        *(("1", {"compression": how}) for how in ("group3", "group4", "tiff_ccitt")),
        ("RGB", {"save_all": True, "append_images": [_picture("L")]}),
        ("L", {"big_tiff": True}),
    ],
    "tga": [*_PLAIN, *((mode, {"compression": "tga_rle"}) for mode in ("RGB", "L", "P", "RGBA"))],
    "jpeg2000": [
        *(("RGB", {}), ("L", {}), ("RGBA", {})),
        *(("RGB", {"irreversible": True}), ("RGB", {"no_jp2": True})),
    ],
    "ico": [("RGBA", {"sizes": [(32, 32), (16, 16)]}), ("RGBA", {"bitmap_format": "bmp"})],
}  # fmt: skip


def _saved(format: str, save: _Save) -> bytes | None:
    mode, options = save
    file = io.BytesIO()
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    try:
        _picture(mode).save(file, format, exif=exif.tobytes(), **options)
    except (OSError, KeyError, ValueError):  # a mode that the format has not
        return None
    return file.getvalue()


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """The same image with one kind of damage; a PNG mostly with right checksums, or few would be decoded."""
    changed = _DAMAGES[random.integers(len(_DAMAGES))](bytearray(data), random)
    if data.startswith(b"\x89PNG") and random.random() < 0.8:
        changed = _with_checksums(changed)
    return bytes(changed)


def _flip(data: bytearray, random: np.random.Generator) -> bytearray:
    for position in random.integers(0, len(data), random.integers(1, 12)):
        data[position] ^= 1 << random.integers(8)
    return data


def _overwrite(data: bytearray, random: np.random.Generator) -> bytearray:
    """Extremes, where a number may stand; half of them in the header."""
    end = len(data) if random.random() < 0.5 else min(len(data), 200)
    number = random.choice([0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF])
    size = random.choice([1, 2, 4])
    order: str = random.choice(["<", ">"])
    position = random.integers(0, max(1, end - size))
    code = {1: "B", 2: "H", 4: "I"}[int(size)]
    data[position : position + size] = struct.pack(order + code, int(number) & (1 << 8 * int(size)) - 1)
    return data


def _cut(data: bytearray, random: np.random.Generator) -> bytearray:
    return data[: random.integers(1, len(data))]


def _repeat(data: bytearray, random: np.random.Generator) -> bytearray:
    start, end = sorted(random.integers(0, len(data), 2))
    return data[:end] + data[start:]


def _leave_out(data: bytearray, random: np.random.Generator) -> bytearray:
    start = int(random.integers(0, len(data)))
    return data[:start] + data[start + int(random.integers(1, 40)) :]


def _noise(data: bytearray, random: np.random.Generator) -> bytearray:
    start = int(random.integers(0, len(data)))
    noise = random.bytes(int(random.integers(1, 60)))
    return data[:start] + noise + data[start + len(noise) :]


_DAMAGES: list[Callable[[bytearray, np.random.Generator], bytearray]] = [
    *(_flip, _flip, _overwrite, _overwrite, _overwrite, _cut, _repeat, _leave_out, _noise)
]


def _with_checksums(png: bytearray) -> bytearray:
    start = _PNG_HEADER
    while start + 12 <= len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        if end > len(png):
            break
        png[end - 4 : end] = zlib.crc32(png[start + 4 : end - 4]).to_bytes(4, "big")
        start = end
    return png


def every_bit(data: bytes) -> Iterator[bytes]:
    """A PNG with one bit changed, each bit in turn, and right checksums."""
    for position in range(_PNG_HEADER, len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            yield bytes(_with_checksums(changed))


def images(format: str, count: int, seed: int) -> Iterator[bytes]:
    """Damaged images, the same for the same seed."""
    random = np.random.default_rng(seed)
    seeds = seeds_of(format)
    for number in range(count):
        yield damaged(seeds[number % len(seeds)], random)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("format")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every-bit", action="store_true", help="of small animated PNGs")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    faulthandler.enable()
    outcomes: collections.Counter[str] = collections.Counter()
    damaged_images = (
        itertools.chain.from_iterable(map(every_bit, _animations()))
        if arguments.every_bit
        else images(arguments.format, arguments.count, arguments.seed)
    )
    for number, data in enumerate(damaged_images):
        try:
            outcomes[decode(data, exif_orientation=number % 2 == 1).format] += 1
        except ImageError as error:
            outcomes[error.reason] += 1
    # Not of getrusage: it counts what the process that started this one took, too.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps({"outcomes": outcomes, "peak": int(peak) * 1024}))


if __name__ == "__main__":
    main()
