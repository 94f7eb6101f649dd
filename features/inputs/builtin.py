"""Built-in data sets, kept in Keras's cache: `flowers`, downloaded, and `digits`, from scikit-learn."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

from features import files
from features.downloads import DownloadError, DownloadProgress, cache_dir, fetch
from features.errors import BottleneckError
from features.inputs.folder import list_folder
from features.inputs.listing import Form, Listing, Request

#: TensorFlow's flower photos: 3,670 in five classes, 229 MB; CC-BY, see the LICENSE.txt within.
FLOWERS_URL = "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz"
FLOWERS_SHA256 = "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c"
FLOWERS_IMAGES = 3670

#: https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html
DIGITS_IMAGES = 1797

#: Where the flowers are, below Keras's `datasets` folder: here, or where `keras.utils.get_file` unpacks
#: them with `extract=True` and its several ways to name a file.
_FLOWERS_PLACES = (
    "flower_photos/flower_photos",  # before its parent, which would look like a single class
    "flower_photos",
    "flower_photos.tgz/flower_photos",
    "flower_photos_extracted/flower_photos",
)


def list_auto(progress: DownloadProgress | None = None) -> Listing:
    """The flowers (see `list_flowers`), or the digits with a notice where these can't be downloaded."""
    try:
        return list_flowers(progress)
    except DownloadError as error:
        listing = list_digits()
        notice = (
            "The flowers could not be downloaded, so the built-in handwritten digits are taken instead "
            f"({len(listing.images):,} images of 8 × 8 pixels, good for trying things out): {error}"
        )
        return listing._replace(notices=[notice, *listing.notices])


def list_flowers(
    progress: DownloadProgress | None = None,
    url: str = FLOWERS_URL,
    sha256: str = FLOWERS_SHA256,
    images: int = FLOWERS_IMAGES,
) -> Listing:
    """TensorFlow's flower photos, downloaded and unpacked the first time.

    Args:
        progress: see `features.downloads.fetch`.
        url, sha256, images: of the archive and its number of images; others are for tests.

    Raises:
        DownloadError: when they are in no cache and can't be downloaded.
    """
    datasets = cache_dir() / "datasets"
    for place in _FLOWERS_PLACES:
        if (listing := _complete(datasets / place, images)) is not None:
            return listing._replace(source="flowers")
    # The name is the one that Keras gives the archive, so that it need not download it again either.
    archive = fetch(
        url, known_hash=f"sha256:{sha256}", path=datasets / "flower_photos.tgz_archive", progress=progress
    )

    def unpack(folder: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter=_without_top)

    return _make(datasets / "flower_photos", images, unpack)._replace(source="flowers")


def list_digits() -> Listing:
    """Scikit-learn's 1,797 handwritten digits (8 × 8 pixels, gray), written as PNG files the first time."""
    place = cache_dir() / "datasets" / "digits"
    listing = _complete(place, DIGITS_IMAGES) or _make(place, DIGITS_IMAGES, _write_digits)
    return listing._replace(source="digits")


def _without_top(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """A member of an archive without the folder that all members lie in."""
    return tarfile.data_filter(member.replace(name=member.name.partition("/")[2] or "."), folder)


def _write_digits(folder: Path) -> None:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        path = folder / str(label) / f"digit_{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not compressed, so that the bytes, and with them the splits, don't depend on zlib's version.
        Image.fromarray(image).save(path, compress_level=0)


def _complete(place: Path, images: int) -> Listing | None:
    """The listing of a folder that holds as many images as it should."""
    if not files.is_folder(place):
        return None
    try:
        listing = list_folder(str(place))
    except BottleneckError:  # no images, or not where they should be: another layout, or a leftover
        return None
    return listing if len(listing.images) >= images else None


def _make(place: Path, images: int, fill: Callable[[Path], None]) -> Listing:
    """Let `fill` write the folder at `place`, which is complete whenever it exists."""
    try:
        with files.filling(place) as folder:
            fill(folder)
    except OSError as error:
        raise BottleneckError(
            f"{place} can't be written ({files.why(error)}): make room, or set KERAS_HOME to another place"
        ) from error
    listing = _complete(place, images)
    if listing is None:
        raise BottleneckError(
            f"{place} does not hold the {images:,} images that it should: remove it, run again"
        )
    return listing


def _named(name: str, listing: Listing) -> Listing:
    """With a notice where a folder is called like the data set."""
    if not files.is_folder(name):
        return listing
    notice = f"{name!r} is the built-in data set: for the folder of that name, say ./{name}"
    return listing._replace(notices=[*listing.notices, notice])


def _form(name: str, list_it: Callable[[Request], Listing]) -> Form:
    """The form of a data set that goes by a name."""
    return Form(name, lambda data: data == name, lambda data, request: _named(data, list_it(request)))


AUTO = _form("auto", lambda request: list_auto(request.progress))
DIGITS = _form("digits", lambda _: list_digits())
FLOWERS = _form("flowers", lambda request: list_flowers(request.progress))
