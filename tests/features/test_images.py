from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from features.images import MAX_BYTES, REASONS, ImageError, decode, read_image, resize

SIZES = [(1, 1), (2, 3), (17, 33), (64, 48), (101, 97)]


def pixels_of(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """A picture with both smooth parts and noise, uint8 (height, width, channels)."""
    random = np.random.default_rng([height, width, channels, seed])
    small = random.integers(0, 256, (height // 4 + 2, width // 4 + 2, channels), np.uint8)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(
        height, width, channels
    )
    return np.clip(smooth + random.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, format: str, mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if mode == "CMYK":
        image = Image.frombytes("CMYK", image.size, pixels.tobytes())
    elif mode:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def reference(data: bytes) -> np.ndarray | None:
    """TensorFlow's pixels, or None where it refuses the data."""
    import tensorflow as tf

    try:
        return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError:
        return None


def assert_same_as_tensorflow(data: bytes, format: str) -> None:
    decoded = decode(data)
    assert decoded.format == format
    assert decoded.pixels.dtype == np.uint8
    np.testing.assert_array_equal(decoded.pixels, reference(data))


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason in REASONS
    assert caught.value.detail
    return caught.value.reason


# JPEG


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}, {"quality": 98}]
)
def test_color_jpeg(subsampling: str, options: dict[str, Any]) -> None:
    for size in SIZES:
        assert_same_as_tensorflow(saved(pixels_of(*size), "JPEG", subsampling=subsampling, **options), "jpeg")


def test_jpeg_with_chroma_halved_downwards() -> None:
    assert_same_as_tensorflow(simplejpeg.encode_jpeg(pixels_of(35, 41), colorsubsampling="440"), "jpeg")


@pytest.mark.parametrize("progressive", [False, True])
def test_gray_jpeg_and_jpeg_in_rgb(progressive: bool) -> None:
    for size in SIZES:
        assert_same_as_tensorflow(saved(pixels_of(*size, 1), "JPEG", progressive=progressive), "jpeg")
        rgb = saved(pixels_of(*size), "JPEG", progressive=progressive, keep_rgb=True)
        assert_same_as_tensorflow(rgb, "jpeg")


def test_cmyk_jpeg() -> None:
    for size in SIZES:
        adobe = saved(pixels_of(*size, 4), "JPEG", "CMYK")
        assert_same_as_tensorflow(adobe, "jpeg")
        start = adobe.index(b"\xff\xee")  # without Adobe's marker the inks are not inverted
        end = start + 2 + int.from_bytes(adobe[start + 2 : start + 4], "big")
        assert_same_as_tensorflow(adobe[:start] + adobe[end:], "jpeg")
        ycck = simplejpeg.encode_jpeg(pixels_of(*size, 4), colorspace="CMYK", colorsubsampling="420")
        assert_same_as_tensorflow(ycck, "jpeg")


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg_is_refused(progressive: bool) -> None:
    data = saved(pixels_of(64, 48), "JPEG", progressive=progressive)
    for cut in [
        3,
        4,
        10,
        21,
        200,
        620,
        *range(650, len(data), 150),
        len(data) - 3,
        len(data) - 2,
        len(data) - 1,
    ]:
        assert reason(data[:cut]) == "truncated", cut
    assert reason(data[: len(data) * 2 // 3] + bytes(len(data) // 3)) == "truncated"
    assert reason(data[:-2] + b"no end marker") == "truncated"


def test_harmless_damage_to_a_jpeg_is_accepted_like_by_tensorflow() -> None:
    data = saved(pixels_of(64, 48), "JPEG")
    tables = data.index(b"\xff\xdb")
    odd = [
        data + b"trailing bytes",
        data[:-2] + b"extraneous" + data[-2:],
        data[:tables] + b"\0\0\0" + data[tables:],
        data[:tables] + b"\xff\xff" + data[tables:],
        data[:tables] + b"stray\xff\0stray" + data[tables:],
    ]
    for jpeg in odd:
        assert_same_as_tensorflow(jpeg, "jpeg")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_damaged_jpegs_are_accepted_or_refused_like_by_tensorflow(options: dict[str, Any]) -> None:
    data = saved(pixels_of(64, 48), "JPEG", **options)
    random = np.random.default_rng(1)
    for position in random.integers(2, len(data), 60):
        damaged = bytearray(data)
        damaged[position] ^= 1 << random.integers(8)
        if reference(bytes(damaged)) is None:
            assert reason(bytes(damaged)) in ("corrupt", "truncated")
        else:
            assert_same_as_tensorflow(bytes(damaged), "jpeg")


def test_jpeg_whose_chroma_is_sampled_in_an_unknown_way_is_kept() -> None:
    data = bytearray(saved(np.full((40, 40, 3), 90, np.uint8), "JPEG", subsampling="4:4:4"))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = data[frame + 14] = 0x12
    assert decode(bytes(data)).pixels.shape == (40, 40, 3)


# PNG


def png(
    values: np.ndarray, depth: int, color: int, *chunks: tuple[bytes, bytes], interlaced: bool = False
) -> bytes:
    """A PNG with `values` (height, width, channels) of `depth` bits; Pillow writes only some kinds."""
    height, width, _ = values.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: each pass's first row, first column, and steps
        passes = [
            *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
            *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
        ]
    rows = b""
    for top, left, down, right in passes:
        for row in values[top::down, left::right]:
            if row.size:
                bits = np.unpackbits(row.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - depth :]
                rows += b"\0" + np.packbits(bits.ravel()).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]:
        check = struct.pack(">I", zlib.crc32(name + content))
        data += struct.pack(">I", len(content)) + name + content + check
    return data


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("color", "channels", "depth"),
    [(0, 1, 1), (0, 1, 2), (0, 1, 4), (0, 1, 8), (0, 1, 16), (2, 3, 8), (2, 3, 16), (4, 2, 8), (4, 2, 16)]
    + [(6, 4, 8), (6, 4, 16)],
)
def test_png(color: int, channels: int, depth: int, interlaced: bool) -> None:
    for height, width in SIZES:
        values = np.random.default_rng(depth).integers(0, 2**depth, (height, width, channels))
        assert_same_as_tensorflow(png(values, depth, color, interlaced=interlaced), "png")
    gamma = (b"gAMA", struct.pack(">I", 100_000))
    assert_same_as_tensorflow(png(values, depth, color, gamma), "png")
    if color in (0, 2):
        transparent = (b"tRNS", struct.pack(f">{channels}H", *values[0, 0]))
        assert_same_as_tensorflow(png(values, depth, color, transparent), "png")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_png(depth: int) -> None:
    random = np.random.default_rng(depth)
    values = random.integers(0, 2**depth, (17, 33, 1))
    palette = (b"PLTE", random.integers(0, 256, 3 * 2**depth, np.uint8).tobytes())
    transparency = (b"tRNS", random.integers(0, 256, 2 ** (depth - 1), np.uint8).tobytes())
    assert_same_as_tensorflow(png(values, depth, 3, palette), "png")
    assert_same_as_tensorflow(png(values, depth, 3, palette, transparency), "png")


def test_alpha_is_dropped_not_blended() -> None:
    pixels = pixels_of(20, 30, 4)
    np.testing.assert_array_equal(decode(saved(pixels, "PNG")).pixels, pixels[..., :3])
    np.testing.assert_array_equal(decode(saved(pixels, "TIFF")).pixels, pixels[..., :3])


def test_damaged_png_is_refused() -> None:
    data = saved(pixels_of(64, 48), "PNG")
    for cut in [8, 20, 30, 100, len(data) // 2, len(data) - 12, len(data) - 1]:
        assert reason(data[:cut]) == "truncated", cut
    for position in [30, len(data) // 2, len(data) - 14]:
        damaged = bytearray(data)
        damaged[position] ^= 255
        assert reason(bytes(damaged)) == "corrupt", position


# Other formats


def test_gif() -> None:
    first, second = (Image.fromarray(pixels_of(64, 33, seed=seed)).quantize(64) for seed in (0, 1))
    for image in (first, Image.fromarray(pixels_of(64, 33, 1)[..., 0])):
        for options in [
            {},
            {"interlace": 1},
            {"transparency": 5},
            {"save_all": True, "append_images": [second]},
        ]:
            file = io.BytesIO()
            image.save(file, "GIF", **options)
            assert_same_as_tensorflow(file.getvalue(), "gif")


def test_gif_whose_frame_does_not_fill_its_canvas() -> None:
    data = bytearray(saved(pixels_of(64, 33), "GIF"))
    data[6:10] = struct.pack("<HH", 40, 70)
    assert_same_as_tensorflow(bytes(data), "gif")
    frame = data.index(b",\0\0\0\0")
    expected = decode(bytes(data)).pixels
    data[frame + 1 : frame + 5] = struct.pack("<HH", 5, 3)  # TensorFlow would shift the frame out of view
    np.testing.assert_array_equal(decode(bytes(data)).pixels, expected)


def test_bmp() -> None:
    for size in SIZES:
        for data in (saved(pixels_of(*size), "BMP"), saved(pixels_of(*size, 1), "BMP")):
            assert_same_as_tensorflow(data, "bmp")
        assert_same_as_tensorflow(saved(pixels_of(*size, 4), "BMP"), "bmp")


def test_palette_bmp_has_its_colors() -> None:
    # TensorFlow takes the indices for gray levels.
    image = Image.fromarray(pixels_of(20, 30)).quantize(16)
    file = io.BytesIO()
    image.save(file, "BMP")
    np.testing.assert_array_equal(decode(file.getvalue()).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("lossless", [False, True])
def test_webp(lossless: bool) -> None:
    assert_same_as_tensorflow(saved(pixels_of(64, 33), "WEBP", lossless=lossless), "webp")
    several = saved(pixels_of(20, 30), "WEBP", save_all=True, append_images=[Image.new("RGB", (30, 20))])
    assert decode(several).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("format", ["TIFF", "PPM", "TGA", "PCX", "AVIF", "JPEG2000"])
def test_what_only_pillow_reads(format: str) -> None:
    data = saved(pixels_of(40, 30), format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.format == format.lower()


def test_of_16_bits_the_high_byte_is_kept() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (9, 7)).astype(np.uint16)
    for format in ("PNG", "TIFF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(values).save(file, format)
        expected = np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
        np.testing.assert_array_equal(decode(file.getvalue()).pixels, expected)


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "WEBP"])
def test_truncated_files_of_other_formats_are_refused(format: str) -> None:
    data = saved(pixels_of(64, 48), format)
    assert reason(data[: len(data) // 2]) in ("truncated", "corrupt")


@pytest.mark.parametrize(
    "data",
    [b"a text file\n" * 20, b"<html>", b"\0" * 100, b"%PDF-1.4", b"BM", bytes(range(256))]
    + [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert reason(data) == "not_an_image"


def test_empty() -> None:
    assert reason(b"") == "empty"


def test_absurd_sizes_are_refused_before_they_are_decoded() -> None:
    jpeg = bytearray(saved(pixels_of(8, 8), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    gif = bytearray(saved(pixels_of(8, 8), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    image = bytearray(saved(pixels_of(8, 8), "PNG"))
    image[16:24] = struct.pack(">II", 60_000, 60_000)
    bmp = bytearray(saved(pixels_of(8, 8), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    assert [reason(bytes(data)) for data in (jpeg, gif, image, bmp)] == ["too_large"] * 4


# EXIF


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(format: str, orientation: int) -> None:
    pixels = pixels_of(20, 30)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if format == "WEBP" else {}
    plain = decode(saved(pixels, format, **lossless)).pixels
    data = saved(pixels, format, exif=exif, **lossless)
    np.testing.assert_array_equal(decode(data).pixels, plain)
    image = Image.fromarray(plain)
    image.getexif()[0x0112] = orientation
    turned = decode(data, exif_orientation=True).pixels
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    assert turned.flags.c_contiguous


def test_damaged_exif_data_do_not_lose_the_photo() -> None:
    data = saved(pixels_of(20, 30), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data, exif_orientation=True).pixels.shape == (20, 30, 3)


# Files


def test_read_image(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(b"content")
    assert read_image(str(tmp_path / "good.jpg")) == b"content"


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    expected = {
        **{
            "folder.jpg": "not_a_file",
            "pipe.jpg": "not_a_file",
            "empty.jpg": "empty",
            "huge.jpg": "too_large",
        },
        **{"none.jpg": "missing", "dangling.jpg": "missing", "empty.jpg/x.jpg": "missing"},
        **{"loop.jpg": "unreadable", "nul\0.jpg": "unreadable"},
    }
    found = {}
    for name in expected:
        with pytest.raises(ImageError) as caught:
            read_image(f"{tmp_path}/{name}")
        found[name] = caught.value.reason
    assert found == expected


def test_many_threads_at_once() -> None:
    images = [saved(pixels_of(60 + n, 90, seed=n), "JPEG" if n % 3 else "PNG") for n in range(24)]
    images += [saved(pixels_of(40, 50, 4), "JPEG", "CMYK"), saved(pixels_of(40, 50), "GIF")]

    def run(data: bytes) -> np.ndarray:
        out = np.empty((299, 299, 3), np.float32)
        resize(decode(data).pixels, out)
        return out

    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(map(run, images * 2), pool.map(run, images * 2), strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_tensorflow_is_needed() -> None:
    code = "import features.images, sys; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
