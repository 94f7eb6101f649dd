"""What the extractor does around a small network; and features of Inception V3 against Keras's own way."""

from __future__ import annotations

import hashlib
import io
import itertools
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from features import extractor as extractor_module
from features.augmentation import Augmentation, augment
from features.backbones import get_backbone, weights
from features.backbones.network import arrays_sha256, build_network
from features.downloads import DownloadError
from features.errors import BottleneckError
from features.extractor import EXTRACTED_FIELDS, Extractor, InceptionV3, Views
from features.images import decode, resize
from features.images.preparation import Prepared
from features.recipe import FeatureRecipe
from features.store.vectors import matrix
from tests.conftest import photo

ROOT = Path(__file__).parents[2]
ENGINES = ["openvino", "tensorflow"]


def encoded(seed: int, **options) -> bytes:
    buffer = io.BytesIO()
    photo(seed, **options).save(buffer, "PNG")
    return buffer.getvalue()


def relative_error(features: np.ndarray, expected: np.ndarray) -> float:
    return float((np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


@pytest.fixture(scope="module", params=ENGINES)
def inception(request: pytest.FixtureRequest, keras_home: Path) -> InceptionV3:
    return InceptionV3("random", layers="mixed0,mixed8,avg_pool", engine=request.param)


@pytest.fixture(scope="module")
def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.*"))


@pytest.fixture(scope="module")
def reference(paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Of every third photo, as Keras's guides do it: image_dataset_from_directory, then preprocess_input."""
    folder = tmp_path_factory.mktemp("reference")
    for path in paths[::3]:
        (folder / path.parent.name).mkdir(exist_ok=True)
        (folder / path.parent.name / path.name).symlink_to(path)
    base = build_network(get_backbone("inception_v3"), None)
    outputs = [base.get_layer(layer).output for layer in ("mixed0", "mixed8", "mixed10")]
    images = keras.utils.image_dataset_from_directory(
        folder, image_size=(299, 299), shuffle=False, batch_size=len(paths), verbose=False
    )
    assert [Path(path).name for path in images.file_paths] == [path.name for path in paths[::3]]
    pixels = next(iter(images))[0].numpy()
    maps = keras.Model(base.input, outputs)(keras.applications.inception_v3.preprocess_input(pixels))
    return {
        layer: map.numpy().mean(axis=(1, 2))
        for layer, map in zip(("mixed0", "mixed8", "avg_pool"), maps, strict=True)
    }


def test_features_of_inception_v3_are_those_of_keras(
    inception: InceptionV3, paths: list[Path], reference: dict[str, np.ndarray]
):
    features = inception.features(paths[::3])
    assert list(features) == ["mixed0", "mixed8", "avg_pool"]
    for layer, expected in reference.items():
        assert features[layer].shape == (len(paths[::3]), inception.backbone.layers[layer])
        assert relative_error(features[layer], expected) < 1e-4


#: Of `encoded(0)` and `encoded(1)`: the first five features, and the norm of them all.
GOLDEN: dict[str, list[list[float]]] = {
    "mixed0": [
        [0.0948759, 0.0008665675, 0.6185813, 0.882183, 0.3074209, 6.495899],
        [0.1507831, 0.0008501438, 0.6319725, 0.886685, 0.3447777, 6.52332],
    ],
    "mixed8": [
        [0.09924587, 0.006209458, 0.6856436, 0.02807753, 0.2994175, 19.05388],
        [0.1007655, 0.005583684, 0.6617533, 0.04013263, 0.3539591, 18.89241],
    ],
    "avg_pool": [
        [0.0001000175, 1.051728, 0.2864929, 0.0005709324, 0.1865366, 19.31336],
        [0, 1.042787, 0.2470234, 0.0009033463, 0.2110801, 18.98506],
    ],
}


def test_features_of_inception_v3_are_those_of_stored_tables(inception: InceptionV3):
    features = inception.features([encoded(0), encoded(1)])
    for layer, golden in GOLDEN.items():
        found = [[*row[:5], np.linalg.norm(row)] for row in features[layer]]
        np.testing.assert_allclose(found, golden, rtol=1e-4, atol=3e-5)
    assert inception.recipe.backbone == "inception_v3"
    assert inception.recipe.fingerprint("avg_pool") == "4ad7a59e086439a2"


@pytest.fixture(scope="module")
def shared(tiny: str) -> Extractor:
    return Extractor("random", backbone=tiny, layers="early,avg_pool", engine="openvino")


@pytest.fixture
def extractor(tiny: str) -> Extractor:
    """One to take apart."""
    return Extractor("random", backbone=tiny, layers="early,avg_pool", engine="openvino")


def extracted(extractor: Extractor, images: list, **options) -> pa.Table:
    return pa.Table.from_batches(extractor.extract(images, **options), extractor.schema)


def facts(number: int) -> dict[str, object]:
    image_id = hashlib.sha256(encoded(number)).hexdigest()
    return {
        "image": number,
        "view": 0,
        "image_id": image_id,
        "width": 80,
        "height": 60,
        "format": "png",
        "reason": None,
        "detail": None,
    }


def rejection(number: int, reason: str, detail: str) -> dict[str, object]:
    nothing = {field.name: None for field in EXTRACTED_FIELDS}
    return nothing | {"image": number, "view": 0, "reason": reason, "detail": detail}


def facts_of(table: pa.Table) -> list[dict[str, object]]:
    return table.select([field.name for field in EXTRACTED_FIELDS]).to_pylist()


def test_the_recipe_and_the_schema_say_how_features_are_made(tiny: str):
    extractor = Extractor(
        "random", backbone=tiny, layers=["late", "early"], precision="bfloat16", exif_orientation=True
    )
    assert extractor.layers == ("early", "avg_pool")
    assert extractor.recipe == FeatureRecipe(
        weights="random",
        weights_sha256=arrays_sha256(build_network(get_backbone(tiny), None).get_weights()),
        precision="bfloat16",
        exif_orientation=True,
        backbone="tiny",
        input_size=32,
    )
    numbers = pa.list_(pa.float32())
    fields = [*EXTRACTED_FIELDS, pa.field("early", numbers), pa.field("avg_pool", numbers)]
    assert extractor.schema == pa.schema(fields)


@pytest.mark.parametrize("engine", ENGINES)
def test_defaults_are_the_last_layer_in_float32_as_it_is_encoded(tiny: str, engine: str):
    extractor = Extractor("random", backbone=tiny, engine=engine)
    assert (extractor.layers, extractor.engine.name) == (("avg_pool",), engine)
    assert (extractor.recipe.precision, extractor.recipe.exif_orientation) == ("float32", False)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"precision": "float16"}, "there is no precision 'float16': choose from float32, bfloat16"),
        ({"engine": "onnx"}, "there is no engine 'onnx': choose from auto, tensorflow, openvino"),
        (
            {"layers": "mixed0"},
            "unknown layer 'mixed0': Tiny has early, avg_pool, late (late is the same as avg_pool)",
        ),
    ],
)
def test_what_there_is_not_is_answered_with_what_there_is(tiny: str, options: dict, sentence: str):
    with pytest.raises(BottleneckError) as error:
        Extractor("random", backbone=tiny, **options)
    assert str(error.value) == sentence


def test_a_download_of_weights_shows_its_progress(tiny: str, monkeypatch: pytest.MonkeyPatch):
    def fetch(url: str, *, progress, **options) -> Path:
        progress(url, 1, 2)
        raise DownloadError("no host")

    shown: list[tuple] = []
    monkeypatch.setattr(weights, "fetch", fetch)
    with pytest.raises(DownloadError, match="no host"):
        Extractor("imagenet", backbone=tiny, progress=lambda *facts: shown.append(facts))
    assert shown == [("https://example.invalid/tiny.weights.h5", 1, 2)]
    assert (
        Extractor(backbone=tiny, engine="openvino", progress=lambda *facts: None).recipe.weights == "random"
    )


@pytest.mark.parametrize("bad", [(), (0, 3, 9), (8, 9), range(10)])
def test_bad_images_cost_no_other_image(shared: Extractor, tmp_path: Path, bad: tuple[int, ...]):
    expected = shared.features([encoded(number) for number in range(10)])
    missing = tmp_path / "missing.jpg"
    table = extracted(shared, [missing if number in bad else encoded(number) for number in range(10)])
    assert facts_of(table) == [
        rejection(number, "missing", "No such file or directory") if number in bad else facts(number)
        for number in range(10)
    ]
    for layer in ("early", "avg_pool"):
        column = table.column(layer)
        assert column.is_null().to_pylist() == [number in bad for number in range(10)]
        good = [number for number in range(10) if number not in bad]
        np.testing.assert_allclose(
            matrix(column.drop_null(), shared.backbone.layers[layer]),
            expected[layer][good],
            rtol=1e-5,
            atol=1e-6,
        )


def test_a_bad_image_among_those_expected_to_be_good_is_named(shared: Extractor, tmp_path: Path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    with pytest.raises(BottleneckError) as error:
        shared.features([encoded(0), text, b""])
    (detail,) = extracted(shared, [text]).column("detail").to_pylist()
    assert str(error.value) == f"{text}: not_an_image ({detail})"
    with pytest.raises(BottleneckError, match=r"^an image given as bytes: empty \(0 bytes\)$"):
        shared.features(one for one in (encoded(0), b"", text))


NOT_FINITE = "not_finite", "the network gave NaN or infinite features"


def test_features_that_are_no_numbers_are_rejected(extractor: Extractor, monkeypatch: pytest.MonkeyPatch):
    infer = extractor.engine.infer

    def spoilt(pixels: np.ndarray) -> list[np.ndarray]:
        early, late = infer(pixels)
        early[0, 3], late[2, 0] = np.nan, -np.inf
        return [early, late]

    monkeypatch.setattr(extractor.engine, "infer", spoilt)
    table = extracted(extractor, [encoded(0), encoded(1), b"", encoded(3)])
    assert facts_of(table) == [
        rejection(0, *NOT_FINITE),
        facts(1),
        rejection(2, "empty", "0 bytes"),
        rejection(3, *NOT_FINITE),
    ]
    assert table.column("avg_pool").is_null().to_pylist() == [True, False, True, True]


def test_more_images_than_fit_in_flight_come_back_in_order_as_they_are_asked_for(shared: Extractor):
    images = [encoded(number) for number in range(5)]
    ids = [facts(number)["image_id"] for number in range(5)]
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for image in itertools.cycle(images):
            taken += 1
            yield image

    batches = shared.extract(endless())
    most = 8 * (2 * shared._workers + 1)
    found: list[str] = []
    for number, batch in zip(range(20), batches, strict=False):
        assert taken <= most + 8 * number
        found += batch.column("image_id").to_pylist()
    assert found == ids * 32


def test_images_in_flight_that_nobody_waits_for_are_let_go(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
):
    release, prepared = threading.Event(), []

    def prepare(image: bytes, *options: object) -> Prepared:
        if image != b"first":
            assert release.wait(60)
        prepared.append(image)
        return Prepared("id", 1, 1, "png", 0.0, 0.0)

    monkeypatch.setattr(extractor_module, "prepare", prepare)
    batches = extractor.extract(itertools.chain([b"first"] * 8, itertools.repeat(b"more")))
    assert isinstance(batches, Generator)
    next(batches)
    batches.close()
    release.set()
    extractor._pool.shutdown()
    assert len(prepared) <= 8 + 8 * extractor._workers


def test_no_more_calls_than_the_engine_has_streams(extractor: Extractor, monkeypatch: pytest.MonkeyPatch):
    lock, running, most, infer = threading.Lock(), 0, 0, extractor.engine.infer
    together = threading.Barrier(extractor.engine.streams)

    def noted(pixels: np.ndarray) -> list[np.ndarray]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(60)
        features = infer(pixels)
        with lock:
            running -= 1
        return features

    monkeypatch.setattr(extractor.engine, "infer", noted)
    extracted(extractor, [encoded(0)] * 8 * extractor.engine.streams * 4)
    assert most == extractor.engine.streams


def test_seconds_are_counted_by_stage(extractor: Extractor, monkeypatch: pytest.MonkeyPatch):
    def prepare(image: str, *options: object) -> Prepared:
        return Prepared("id", 1, 1, "png", 0.25, 8.0)

    clock = itertools.count()
    monkeypatch.setattr(extractor_module, "prepare", prepare)
    monkeypatch.setattr(extractor_module, "time", SimpleNamespace(perf_counter=lambda: next(clock) ** 2))
    extracted(extractor, ["a"] * 3)
    assert extractor.seconds == {"read": 0.75, "decode": 24.0, "wait": 1, "infer": 3}
    extracted(extractor, ["a"])
    assert extractor.seconds == {"read": 1.0, "decode": 32.0, "wait": 1 + 7, "infer": 3 + 9}


def test_bytes_do_as_well_as_paths(shared: Extractor, tmp_path: Path):
    images = [encoded(number) for number in range(2)]
    for number, image in enumerate(images):
        (tmp_path / f"{number}.png").write_bytes(image)
    from_bytes = shared.features(images)
    from_paths = shared.features([tmp_path / "0.png", str(tmp_path / "1.png")])
    for layer in ("early", "avg_pool"):
        np.testing.assert_array_equal(from_bytes[layer], from_paths[layer])
    nothing = shared.features([])
    assert {layer: rows.shape for layer, rows in nothing.items()} == {"early": (0, 8), "avg_pool": (0, 16)}


def test_isolated_images_give_the_same_and_are_decoded_elsewhere(shared: Extractor, prepared: list[str]):
    images = [encoded(0), b"", encoded(2)]
    isolated = extracted(shared, images, isolated=True)
    assert prepared == []
    assert isolated.equals(extracted(shared, images))
    assert len(prepared) == 3


AUGMENTATION = Augmentation()
#: Of images by their places: no two batches of images have as many.
CHOSEN: list[tuple[int, ...]] = [
    (0, 1, 2, 3),
    (),
    (0,),
    (2, 3),
    (1, 2, 3),
    (0, 1),
    (3,),
    (0, 1, 2),
    (),
    (2, 0),
]


def chosen_views(place: int, image_id: str) -> tuple[int, ...]:
    assert image_id == facts(place)["image_id"]
    return CHOSEN[place]


VIEWS = Views(chosen_views, 4, AUGMENTATION)


def view_pixels(number: int, view: int) -> np.ndarray:
    """What the network is to see of a view of `encoded(number)`."""
    out = np.empty((32, 32, 3), np.float32)
    pixels = decode(encoded(number)).pixels
    if view:
        augment(pixels, out, AUGMENTATION, str(facts(number)["image_id"]), view)
    else:
        resize(pixels, out)
    return out


def test_each_view_that_is_wanted_has_a_row_of_its_own(shared: Extractor):
    table = extracted(shared, [encoded(number) for number in range(10)], views=VIEWS)
    rows = [(image, view) for image, views in enumerate(CHOSEN) for view in views or (None,)]
    not_decoded = {"view": None, "width": 0, "height": 0, "format": ""}
    assert facts_of(table) == [
        facts(image) | (not_decoded if view is None else {"view": view}) for image, view in rows
    ]
    wanted = [(image, view) for image, view in rows if view is not None]
    pixels = np.stack([view_pixels(image, view) for image, view in wanted])
    batches = [pixels[start : start + 8] for start in range(0, len(pixels), 8)]
    assert len(batches[-1]) == 2
    batches[-1] = np.concatenate([batches[-1], np.zeros((6, 32, 32, 3), np.float32)])
    expected = zip(*(shared.engine.infer(batch) for batch in batches), strict=True)
    for layer, of_batches in zip(shared.layers, expected, strict=True):
        column = table.column(layer)
        assert column.is_null().to_pylist() == [view is None for _, view in rows]
        np.testing.assert_allclose(
            matrix(column.drop_null(), shared.backbone.layers[layer]),
            np.concatenate(of_batches)[: len(wanted)],
            rtol=1e-5,
            atol=1e-6,
        )


def test_isolated_views_are_the_same(shared: Extractor, prepared: list[str]):
    images = [encoded(number) for number in range(10)]
    isolated = extracted(shared, images, isolated=True, views=VIEWS)
    assert prepared == []
    assert isolated.equals(extracted(shared, images, views=VIEWS))


def test_only_views_that_are_wanted_are_inferred(extractor: Extractor, monkeypatch: pytest.MonkeyPatch):
    calls, infer = [], extractor.engine.infer

    def noted(pixels: np.ndarray) -> list[np.ndarray]:
        calls.append(len(pixels))
        return infer(pixels)

    monkeypatch.setattr(extractor.engine, "infer", noted)
    extracted(extractor, [encoded(number) for number in range(10)], views=VIEWS)
    # Of the first eight images 16 views, of the others 2.
    assert calls == [8, 8, 8]
    calls.clear()
    nothing = extracted(extractor, [encoded(0), b"no image"], views=Views(lambda place, image_id: (), 4))
    assert calls == []
    assert nothing.column("reason").to_pylist() == [None, None], "what no view is wanted of is not decoded"
    assert nothing.column("avg_pool").null_count == 2


def test_an_image_with_a_view_that_is_no_number_is_rejected_as_a_whole(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
):
    infer = extractor.engine.infer
    spoilt = view_pixels(4, 2)

    def spoil(pixels: np.ndarray) -> list[np.ndarray]:
        early, late = infer(pixels)
        late[[np.array_equal(one, spoilt) for one in pixels], 0] = np.nan
        return [early, late]

    monkeypatch.setattr(extractor.engine, "infer", spoil)
    images = [b"" if number == 2 else encoded(number) for number in range(7)]

    def choose(place: int, image_id: str) -> tuple[int, ...]:
        return CHOSEN[place]

    table = extracted(extractor, images, views=Views(choose, 4, AUGMENTATION))
    places = zip(*(table.column(name).to_pylist() for name in ("image", "view", "reason")), strict=True)
    assert list(places) == [
        *((0, view, None) for view in range(4)),
        (1, None, None),
        (2, 0, "empty"),
        (3, 2, None),
        (3, 3, None),
        (4, 0, "not_finite"),
        (5, 0, None),
        (5, 1, None),
        (6, 3, None),
    ]
    rejected = facts_of(table.slice(8, 1))
    assert rejected == [rejection(4, *NOT_FINITE)]
    monkeypatch.setattr(extractor.engine, "infer", infer)
    good = extracted(extractor, images, views=Views(choose, 4, AUGMENTATION))
    others = good.filter(pc.not_equal(good.column("image"), 4))
    assert table.filter(pc.not_equal(table.column("image"), 4)).equals(others)


@pytest.mark.parametrize("turned", [True, False])
def test_a_photo_lying_on_its_side_is_turned_when_asked(tiny: str, tmp_path: Path, turned: bool):
    upright, lying = tmp_path / "upright.png", tmp_path / "lying.png"
    image = photo(1)
    image.save(upright)
    exif = image.getexif()
    exif[0x0112] = 6
    # A quarter turn, which orientation 6 takes back.
    image.transpose(Image.Transpose.ROTATE_90).save(lying, exif=exif)
    extractor = Extractor("random", backbone=tiny, engine="openvino", exif_orientation=turned)
    features = extractor.features([upright, lying])["avg_pool"]
    assert (relative_error(features[:1], features[1:]) < 1e-4) == turned


def test_a_library_call_prints_nothing_and_leaves_the_process_as_it_is(tiny: str, paths: list[Path]):
    code = f"""
import cv2, logging, os
from features import Extractor
from features.inputs import list_images
from tests.tiny import register

register()
before = cv2.getNumThreads(), os.fstat(2), logging.getLogger().handlers[:]
Extractor("random", backbone="tiny", engine="openvino").features([{str(paths[0])!r}])
list_images("digits")
assert before == (cv2.getNumThreads(), os.fstat(2), logging.getLogger().handlers)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
