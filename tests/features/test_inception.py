"""The extractor against Keras's own way from file to feature, for every engine."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from features.backbone import arrays_sha256, build_backbone
from features.errors import BottleneckError
from features.images import ImageError
from features.inception import Extracted, InceptionV3
from features.recipe import LAYER_WIDTHS

ENGINES = ["openvino", "tensorflow"]


@pytest.fixture(scope="module")
def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.*"))


@pytest.fixture(scope="module")
def reference(photos: Path, paths: list[Path]) -> dict[str, np.ndarray]:
    """The reference: image_dataset_from_directory, preprocess_input, InceptionV3, as in Keras's guides."""
    base = build_backbone(None)
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
        assert found[layer].shape == (len(paths), LAYER_WIDTHS[layer])
        assert relative_error(found[layer], expected) < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_bfloat16_features_are_close(engine: str, paths: list[Path], reference: dict[str, np.ndarray]):
    extractor = InceptionV3("random", precision="bfloat16", engine=engine)
    assert extractor.engine.precision in ("float32", "bfloat16")
    found = extractor.features(paths)["avg_pool"]
    assert least_cosine(found, reference["avg_pool"]) > 0.999
    if extractor.engine.precision == "float32":
        assert relative_error(found, reference["avg_pool"]) < 1e-4


def test_bad_images_cost_no_other_image(extractor: InceptionV3, paths: list[Path], tmp_path: Path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    alone = extractor.features(paths[:3])["avg_pool"]
    mixed = [paths[0], text, paths[1], tmp_path / "missing.jpg", paths[2]]
    outcomes = list(extractor.extract(mixed))
    reasons = [outcome.reason if isinstance(outcome, ImageError) else None for outcome in outcomes]
    assert reasons == [None, "not_an_image", None, "missing", None]
    good = [outcome.features[-1] for outcome in outcomes if isinstance(outcome, Extracted)]
    np.testing.assert_allclose(good, alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(BottleneckError, match="text.jpg: not_an_image"):
        extractor.features(mixed)


def test_more_images_than_fit_in_flight_come_back_in_order(extractor: InceptionV3, paths: list[Path]):
    many = [paths[number % 5] for number in range(120)]
    ids = [outcome.image_id for outcome in extractor.extract(many) if isinstance(outcome, Extracted)]
    assert len(ids) == 120 and len(set(ids)) == 5
    assert ids == ids[:5] * 24


def test_what_was_begun_is_handed_out_and_not_done_again(
    extractor: InceptionV3, paths: list[Path], prepared: list[str]
):
    expected = extractor.features(paths)["avg_pool"]
    first = paths[: extractor.engine.batch_size]
    prepared.clear()
    begun = extractor.begin(first)
    assert extractor.begin(paths[:12])[0] is begun[0], "what was begun already goes on"
    extractor.coming = [str(path) for path in first]
    np.testing.assert_array_equal(extractor.features(paths)["avg_pool"], expected)
    again = [str(path) for path in first]
    np.testing.assert_array_equal(extractor.features(again)["avg_pool"], expected[: len(again)])
    assert sorted(prepared) == sorted([*map(str, paths), *again])


def test_what_was_begun_and_is_not_asked_for_is_dropped(
    extractor: InceptionV3, paths: list[Path], tmp_path: Path
):
    changing = tmp_path / "changing.jpg"
    changing.write_bytes(paths[0].read_bytes())
    extractor.begin([changing])[0].result()
    changing.write_bytes(paths[1].read_bytes())
    extractor.begin(())
    found = extractor.features([changing])["avg_pool"]
    np.testing.assert_allclose(found, extractor.features([paths[1]])["avg_pool"], rtol=1e-4, atol=1e-5)


def test_bytes_do_as_well_as_paths(extractor: InceptionV3, paths: list[Path]):
    from_bytes = extractor.features([path.read_bytes() for path in paths[:2]])["avg_pool"]
    np.testing.assert_allclose(from_bytes, extractor.features(paths[:2])["avg_pool"], rtol=1e-4, atol=1e-5)
    assert extractor.features([])["avg_pool"].shape == (0, 2048)


def test_what_the_first_image_says_of_itself(extractor: InceptionV3, paths: list[Path]):
    (outcome,) = extractor.extract(paths[:1])
    assert isinstance(outcome, Extracted)
    assert (outcome.format, outcome.width, outcome.height) == ("jpeg", 73, 57)


def test_the_recipe_names_the_arrays(extractor: InceptionV3):
    assert extractor.recipe.weights == "random"
    assert extractor.recipe.weights_sha256 == arrays_sha256(build_backbone(None).get_weights())


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
