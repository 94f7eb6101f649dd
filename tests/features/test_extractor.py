"""The extractor against Keras's own way from file to feature, for every engine."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from features.backbones import get_backbone
from features.backbones.network import arrays_sha256, build_network
from features.errors import BottleneckError
from features.extractor import InceptionV3
from features.store.vectors import matrix

ROOT = Path(__file__).parents[2]
ENGINES = ["openvino", "tensorflow"]


@pytest.fixture(scope="module")
def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.*"))


@pytest.fixture(scope="module")
def reference(photos: Path, paths: list[Path]) -> dict[str, np.ndarray]:
    """The reference: image_dataset_from_directory, preprocess_input, InceptionV3, as in Keras's guides."""
    base = build_network(get_backbone("inception_v3"), None)
    layers = ["mixed0", "mixed8", "mixed10"]
    model = keras.Model(base.inputs, [base.get_layer(layer).output for layer in layers])
    images = keras.utils.image_dataset_from_directory(
        photos, image_size=(299, 299), shuffle=False, batch_size=len(paths), verbose=False
    )
    assert [Path(path) for path in images.file_paths] == paths
    pixels = next(iter(images))[0].numpy()
    maps = model.predict(keras.applications.inception_v3.preprocess_input(pixels), verbose=0)
    return dict(
        zip(["mixed0", "mixed8", "avg_pool"], (found.mean(axis=(1, 2)) for found in maps), strict=True)
    )


@pytest.fixture(scope="module", params=ENGINES)
def extractor(request: pytest.FixtureRequest, keras_home: Path) -> InceptionV3:
    return InceptionV3("random", layers="mixed0,mixed8,avg_pool", engine=request.param)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


def least_cosine(found: np.ndarray, expected: np.ndarray) -> float:
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(axis=1) / norms).min())


def test_float32_features_are_those_of_keras(
    extractor: InceptionV3, paths: list[Path], reference: dict[str, np.ndarray]
):
    found = extractor.features(paths)
    assert list(found) == ["mixed0", "mixed8", "avg_pool"]
    for layer, expected in reference.items():
        assert found[layer].shape == (len(paths), extractor.backbone.layers[layer])
        assert relative_error(found[layer], expected) < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_bfloat16_features_are_close(engine: str, paths: list[Path], reference: dict[str, np.ndarray]):
    extractor = InceptionV3("random", precision="bfloat16", engine=engine)
    assert extractor.engine.precision in ("float32", "bfloat16")
    found = extractor.features(paths)["avg_pool"]
    assert least_cosine(found, reference["avg_pool"]) > 0.999
    if extractor.engine.precision == "float32":
        assert relative_error(found, reference["avg_pool"]) < 1e-4


def extracted(extractor: InceptionV3, images: list) -> pa.Table:
    return pa.Table.from_batches(extractor.extract(images), extractor.schema)


def test_bad_images_cost_no_other_image(extractor: InceptionV3, paths: list[Path], tmp_path: Path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    alone = extractor.features(paths[:3])["avg_pool"]
    mixed = [paths[0], text, paths[1], tmp_path / "missing.jpg", paths[2]]
    found = extracted(extractor, mixed)
    assert found.column("reason").to_pylist() == [None, "not_an_image", None, "missing", None]
    assert found.column("avg_pool").is_null().to_pylist() == [False, True, False, True, False]
    assert found.column("image_id").is_null().to_pylist() == [False, True, False, True, False]
    good = matrix(found.column("avg_pool").drop_null(), 2048)
    np.testing.assert_allclose(good, alone, rtol=1e-4, atol=1e-5)
    assert extracted(extractor, [text] * 3).column("avg_pool").null_count == 3
    with pytest.raises(BottleneckError, match="text.jpg: not_an_image"):
        extractor.features(mixed)


def test_more_images_than_fit_in_flight_come_back_in_order(extractor: InceptionV3, paths: list[Path]):
    many = [paths[number % 5] for number in range(120)]
    ids = extracted(extractor, many).column("image_id").to_pylist()
    assert len(ids) == 120 and len(set(ids)) == 5
    assert ids == ids[:5] * 24


def test_bytes_do_as_well_as_paths(extractor: InceptionV3, paths: list[Path]):
    from_bytes = extractor.features([path.read_bytes() for path in paths[:2]])["avg_pool"]
    np.testing.assert_allclose(from_bytes, extractor.features(paths[:2])["avg_pool"], rtol=1e-4, atol=1e-5)
    assert extractor.features([])["avg_pool"].shape == (0, 2048)


def test_what_the_first_image_says_of_itself(extractor: InceptionV3, paths: list[Path]):
    (row,) = extracted(extractor, paths[:1]).drop_columns(list(extractor.layers)).to_pylist()
    image_id = hashlib.sha256(paths[0].read_bytes()).hexdigest()
    assert row == {
        "image_id": image_id, "format": "jpeg", "width": 73, "height": 57, "reason": None, "detail": None,
    }  # fmt: skip


def test_the_recipe_names_the_arrays(extractor: InceptionV3):
    assert extractor.recipe.weights == "random"
    assert extractor.recipe.weights_sha256 == arrays_sha256(
        build_network(get_backbone("inception_v3"), None).get_weights()
    )


def test_a_wrong_layer_lists_the_right_ones():
    with pytest.raises(BottleneckError, match="unknown layer 'avgpool'.*mixed0"):
        InceptionV3("random", layers="avgpool")


def test_a_photo_lying_on_its_side_is_turned_when_asked(tmp_path: Path):
    from tests.conftest import photo

    upright, lying = tmp_path / "upright.png", tmp_path / "lying.png"
    image = photo(1)
    image.save(upright)
    exif = image.getexif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(
        lying, exif=exif
    )  # a quarter turn, which orientation 6 takes back
    turning = InceptionV3("random", exif_orientation=True, engine="openvino")
    as_is = InceptionV3("random", engine="openvino")
    expected = as_is.features([upright])["avg_pool"]
    np.testing.assert_allclose(turning.features([lying])["avg_pool"], expected, rtol=1e-4, atol=1e-4)
    assert relative_error(as_is.features([lying])["avg_pool"], expected) > 0.01


def test_a_library_call_prints_nothing_and_leaves_the_process_as_it_is(paths: list[Path], tmp_path: Path):
    InceptionV3("random", engine="openvino")  # so that its graph is in the cache
    code = f"""
import cv2, logging, os
from features import Extractor
from features.inputs import list_images

before = cv2.getNumThreads(), os.fstat(2), logging.getLogger().handlers[:]
Extractor("random", engine="openvino").features([{str(paths[0])!r}])
list_images("digits")
assert before == (cv2.getNumThreads(), os.fstat(2), logging.getLogger().handlers)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
