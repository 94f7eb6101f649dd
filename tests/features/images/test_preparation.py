"""From an image to the network's input: here, and in a process of its own."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.augmentation import Augmentation, augment
from features.errors import BottleneckError
from features.images import ImageError, decode, decoded, decoding, preparation, resize
from features.images.memory import MemoryBudget
from features.images.preparation import IsolatedPreparation, prepare
from tests.features.pictures import pixels_of, saved

PIXELS = pixels_of(40, 30)
DATA = saved(PIXELS, "PPM")
IMAGE_ID = hashlib.sha256(DATA).hexdigest()
AUGMENTATION = Augmentation()


def empty() -> np.ndarray:
    return np.full((20, 25, 3), np.nan, np.float32)


def resized(pixels: np.ndarray) -> np.ndarray:
    out = empty()
    resize(np.ascontiguousarray(pixels), out)
    return out


class Unpickled:
    """Something in the place of an image, for which a process that gets it calls these, one at each time."""

    def __init__(self, *calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> None:
        self.calls = list(calls)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.calls.pop(0)


class Exhausting:
    """A path of which no text can be made for lack of memory."""

    def __str__(self) -> str:
        raise MemoryError("all of it is taken")


@pytest.fixture(scope="module")
def isolated() -> Iterator[IsolatedPreparation]:
    with IsolatedPreparation() as prepare_isolated:
        yield prepare_isolated


def test_an_image_is_read_named_by_all_its_bytes_decoded_and_resized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.ppm"
    path.write_bytes(DATA)
    for image in (str(path), path, DATA):
        monkeypatch.setattr(time, "perf_counter", iter([100.0, 103.0, 110.0]).__next__)
        out = empty()
        assert prepare(image, out) == (IMAGE_ID, 30, 40, "ppm", 3.0, 7.0, (0,))
        np.testing.assert_array_equal(out, resized(PIXELS))


def test_images_that_differ_in_their_last_byte_have_different_ids() -> None:
    other = DATA[:-1] + bytes([DATA[-1] ^ 1])
    assert len(DATA) > 3000
    assert prepare(DATA, empty()).image_id != prepare(other, empty()).image_id


def test_images_are_turned_where_that_is_asked_for(isolated: IsolatedPreparation) -> None:
    data = saved(PIXELS, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    for prepare_image in (prepare, isolated):
        for exif_orientation, expected in ((False, PIXELS), (True, np.rot90(PIXELS, -1))):
            out = empty()
            prepared = prepare_image(data, out, exif_orientation)
            assert (prepared.height, prepared.width) == expected.shape[:2]
            np.testing.assert_array_equal(out, resized(expected))


def test_another_process_prepares_as_this_one_does(isolated: IsolatedPreparation, tmp_path: Path) -> None:
    path = tmp_path / "image.ppm"
    path.write_bytes(DATA)
    for image in (str(path), path, DATA):
        out = empty()
        assert isolated(image, out)[:4] == prepare(DATA, empty())[:4]
        np.testing.assert_array_equal(out, resized(decode(DATA).pixels))
    with pytest.raises(ImageError, match="^missing: No such file or directory$"):
        isolated(tmp_path / "none.jpg", empty())
    with pytest.raises(ImageError, match="^not_an_image: unknown format; it begins with b'no image'$"):
        isolated(b"no image at all, but text", empty())
    with pytest.raises(MemoryError, match="^all of it is taken$"):
        isolated(Exhausting(), empty())  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="^missing"):  # Ctrl-C is for the process that asks
        isolated(Unpickled((signal.raise_signal, (signal.SIGINT,))), empty())  # type: ignore[arg-type]
    assert isolated(DATA, empty()).format == "ppm", "it goes on after any of these"


def augmented(view: int) -> np.ndarray:
    out = empty()
    augment(PIXELS, out, AUGMENTATION, IMAGE_ID, view)
    return out


def test_the_views_of_an_image_are_made_from_one_decoding(
    isolated: IsolatedPreparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = 0

    def decoded_here(*arguments: Any, **options: Any) -> Any:
        nonlocal times
        times += 1
        return decoded(*arguments, **options)

    monkeypatch.setattr(preparation, "decoded", decoded_here)
    for prepare_image in (prepare, isolated):
        asked: list[str] = []

        def choose(image_id: str, asked: list[str] = asked) -> tuple[int, ...]:
            asked.append(image_id)
            return 3, 0, 1

        places = np.stack([empty()] * 5)
        prepared = prepare_image(DATA, places, choose=choose, augmentation=AUGMENTATION)
        assert prepared[:4] == (IMAGE_ID, 30, 40, "ppm") and prepared.views == (3, 0, 1)
        assert asked == [IMAGE_ID], "asked here, whichever process prepares"
        np.testing.assert_array_equal(places[:3], [augmented(3), resized(PIXELS), augmented(1)])
        assert np.isnan(places[3:]).all(), "these are for other images"
    assert times == 1


def test_an_image_of_which_no_view_is_wanted_is_not_decoded(isolated: IsolatedPreparation) -> None:
    for prepare_image in (prepare, isolated):
        places = np.stack([empty()] * 2)
        prepared = prepare_image(b"no image", places, choose=lambda image_id: (), augmentation=AUGMENTATION)
        assert prepared[:4] == (hashlib.sha256(b"no image").hexdigest(), 0, 0, "")
        assert prepared.views == () and np.isnan(places).all()
        with pytest.raises(ImageError, match="^missing"):
            prepare_image("none.jpg", places, choose=lambda image_id: ())


def test_the_memory_of_an_image_is_held_until_its_views_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, held = MemoryBudget(2**20), []

    def note(*arguments: Any) -> None:
        held.append(budget._taken)

    monkeypatch.setattr(decoding, "DECODING_BUDGET", budget)
    monkeypatch.setattr(preparation, "resize", note)
    monkeypatch.setattr(preparation, "augment", note)
    prepare(DATA, np.stack([empty()] * 2), choose=lambda image_id: (0, 1), augmentation=AUGMENTATION)
    assert len(held) == 2 and min(held) > len(DATA) and budget._taken == 0


def test_an_image_that_ends_two_processes_is_rejected(isolated: IsolatedPreparation) -> None:
    abort = (os.abort, ())
    with pytest.raises(ImageError) as error:
        isolated(Unpickled(abort, abort), empty())  # type: ignore[arg-type]
    assert str(error.value) == "crashed: the process that read it ended by SIGABRT, twice"
    assert isolated(DATA, empty()).format == "ppm", "the next image has a process of its own again"


def test_an_image_whose_process_was_ended_once_is_tried_again(isolated: IsolatedPreparation) -> None:
    once = Unpickled((os.abort, ()), (bytes, (DATA,)))
    assert isolated(once, empty())[:4] == prepare(DATA, empty())[:4]  # type: ignore[arg-type]


def test_what_is_wanted_of_an_image_is_asked_again_after_its_process_was_ended(
    isolated: IsolatedPreparation,
) -> None:
    asked = []

    def choose(image_id: str) -> tuple[int, ...]:
        asked.append(image_id)
        if len(asked) == 1:
            child = isolated._child()._process
            child.kill()
            child.join()
        return (2,)

    places = np.stack([empty()] * 2)
    assert isolated(DATA, places, choose=choose, augmentation=AUGMENTATION).views == (2,)
    assert asked == [IMAGE_ID] * 2
    np.testing.assert_array_equal(places[0], augmented(2))


def test_each_thread_has_one_process_and_none_is_left() -> None:
    before = set(multiprocessing.active_children())
    with IsolatedPreparation() as prepare_isolated:
        for pool in (ThreadPoolExecutor(1), ThreadPoolExecutor(1)):
            with pool:
                list(pool.map(lambda _: prepare_isolated(DATA, empty()), range(3)))
        children = set(multiprocessing.active_children()) - before
        assert [child.daemon for child in children] == [True, True], "no program waits for one at its end"
    assert set(multiprocessing.active_children()) == before


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    child = preparation._Child()
    child._connection.send(Unpickled((time.sleep, (3600,))))
    monkeypatch.setattr(preparation, "_GRACE", 0.1)
    assert child.close() == "SIGKILL"


def test_a_process_that_can_not_be_started_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "_serve", os._exit)  # which takes no connection
    with pytest.raises(BottleneckError) as error, IsolatedPreparation() as prepare_isolated:
        prepare_isolated(DATA, empty())
    assert str(error.value) == (
        "the process that should decode images could not be started (it ended by exit code 1): a program "
        "that calls this needs `if __name__ == '__main__':` around what it runs"
    )
