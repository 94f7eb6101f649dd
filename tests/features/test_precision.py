from __future__ import annotations

from pathlib import Path

from features.inception import InceptionV3
from features.precision import choose_precision
from features.processor import processor_has_amx, processor_has_bfloat16


def load(precision: str) -> InceptionV3:
    return InceptionV3("random", layers="mixed3,avg_pool", engine="openvino", precision=precision)


def test_bfloat16_is_read_off_the_processor_flags(tmp_path: Path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n")
    assert processor_has_bfloat16(cpuinfo) and processor_has_amx(cpuinfo)
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n")
    assert processor_has_bfloat16(cpuinfo) and not processor_has_amx(cpuinfo)
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n")
    assert not processor_has_bfloat16(cpuinfo)
    assert not processor_has_bfloat16(tmp_path / "missing")


def test_auto_takes_bfloat16_where_it_is_there_and_close_enough(photos: Path):
    paths = [str(path) for path in sorted(photos.rglob("*.jpg"))]
    precision, why = choose_precision(load, paths)
    if processor_has_bfloat16():
        assert precision == "bfloat16" and "cosine with float32 at least" in why
    else:
        assert precision == "float32" and "no bfloat16" in why


def test_auto_stays_with_float32_where_no_image_can_be_tried(tmp_path: Path):
    precision, _ = choose_precision(load, [str(tmp_path / "missing.jpg")])
    assert precision == "float32"
