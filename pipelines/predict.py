"""Labels and probabilities for new images, from the backbone of the table and a head trained on it."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from features import files
from features.backbones.weights import UNTRAINED, is_untrained
from features.errors import BottleneckError
from features.extractor import Extractor
from features.inputs import Listing, list_images
from features.inputs.folder import find_images
from features.locations import local_path
from features.recipe import Column
from features.store.vectors import matrix
from features.text import counted, printable
from heads import SavedHead, load_head
from pipelines.agreement import check_backbone_of_head
from pipelines.extractor import ExtractorSettings, make_extractor
from pipelines.options import PredictOptions
from pipelines.output_file import check_output
from pipelines.screen import Screen, new_run_id, progress
from pipelines.wording import table_name

#: Images whose features are in memory together.
_BLOCK = 1024


def predict(options: PredictOptions, *, debug: bool = False) -> None:
    """Write one row an image: `uri`, `label`, `probability`, `rejected`, and `probability_<label>` each.

    A head of several labels gives `labels`, with `|` between them, instead of `label` and `probability`. An
    image that can't be read has its reason in `rejected`, and neither labels nor probabilities.

    Raises:
        BottleneckError: where there are no images, no head, or another backbone than the head was trained on.
    """
    for name in (options.images, options.store, options.weights, options.output or ""):
        local_path(name)  # refuses what is remote, before anything is made
    listing = _list(options.images)
    output = Path(options.output) if options.output else None
    options = options.replace(features=table_name(options), output=output)
    saved = load_head(options.store, options.features, options.head_id)
    if output is not None:
        check_output(output, (".csv", ".parquet"))
    with Screen.of_run(options, new_run_id(), debug=debug) as screen:
        for notice in listing.notices:
            screen.say(notice)
        _predict(listing, saved, options, screen)


def _predict(listing: Listing, saved: SavedHead, options: PredictOptions, screen: Screen) -> None:
    uris = listing.images.column("uri")
    extractor = _extractor(saved, options)
    notice = saved.check([Column(extractor.recipe, layer) for layer in extractor.layers])
    if notice:
        screen.say(notice)
    if is_untrained(saved.columns[0].recipe.weights):
        screen.say(UNTRAINED)
    rejected = 0
    with _writer(options.output) as write, screen.progress(len(uris)):
        for block in _blocks(uris, extractor):
            table = _label(block, saved)
            rejected += len(table) - table.column("rejected").null_count
            write(table)
    where = f", written to {options.output}" if options.output else ""
    left_out = f", {listing.left_out:,} left out" if listing.left_out else ""
    if rejected == len(uris):
        raise BottleneckError(
            f"none of the {counted(len(uris), 'image')} of `images={printable(options.images)}` "
            f"could be labelled: the column 'rejected' of the output{where} says why"
        )
    screen.say(
        f"{counted(len(uris) - rejected, 'image')} labelled by head {saved.facts['id']}, "
        f"{rejected:,} rejected{left_out}{where}"
    )


def _list(images: str) -> Listing:
    """The images of a folder, whatever its sub-folders are called, of a list, or the one image."""
    path = local_path(images)
    folder = files.is_folder(path)
    if not folder and not files.is_file(path):
        raise BottleneckError(f"`images={printable(images)}`: there is no such file or folder")
    try:
        listing = find_images(path) if folder else list_images(path, labelled=False)
    except BottleneckError as error:
        raise BottleneckError(str(error).replace("`data=", "`images=")) from error
    if not len(listing.images):
        others = f", and {listing.left_out:,} whose names are not valid UTF-8" if listing.left_out else ""
        raise BottleneckError(f"`images={printable(images)}`: there are no images in this folder{others}")
    return listing


def _extractor(saved: SavedHead, options: PredictOptions) -> Extractor:
    """The backbone that the head's features came from."""
    recipe = saved.columns[0].recipe
    check_backbone_of_head(saved, options)
    weights = options.weights
    if weights == "auto":
        weights = saved.weights
    return make_extractor(ExtractorSettings(weights, saved.layers, options.engine, recipe))


def _blocks(uris: pa.ChunkedArray, extractor: Extractor) -> Iterator[pa.Table]:
    """The images with the extractor's columns, some at a time."""
    batches = extractor.extract(uri for chunk in uris.chunks for uri in chunk.to_pylist())
    done = 0
    while block := list(itertools.islice(batches, _BLOCK // extractor.engine.batch_size)):
        for batch in block:
            rejected = len(batch) - batch.column("reason").null_count
            progress.info("images", extra={"images": len(batch), "rejected": rejected})
        outcomes = pa.Table.from_batches(block, extractor.schema)
        yield outcomes.add_column(0, "uri", uris.slice(done, len(outcomes)))
        done += len(outcomes)


def _label(block: pa.Table, saved: SavedHead) -> pa.Table:
    labels = list(saved.facts["labels"])
    good = pc.is_null(block.column("reason")).to_numpy()
    probabilities = np.full((len(good), len(labels)), np.nan)
    if good.any():
        rows = block.filter(pa.array(good))
        X = [matrix(rows.column(column.layer), column.width) for column in saved.columns]
        probabilities[good] = saved.head.predict_proba(np.concatenate(X, axis=1))
    columns = {"uri": block.column("uri"), **_answers(saved, labels, probabilities, good)}
    columns["rejected"] = block.column("reason")
    for number, label in enumerate(labels):
        columns[f"probability_{label}"] = pa.array(probabilities[:, number], mask=~good)
    return pa.table(columns)


def _answers(
    saved: SavedHead, labels: list[str], probabilities: np.ndarray, good: np.ndarray
) -> dict[str, pa.Array]:
    """`label` and `probability` of the best class of each image; or its `labels`, by their thresholds."""
    if saved.head.multi_label_:
        has = np.nan_to_num(probabilities) >= saved.head.thresholds_
        texts = ["|".join(itertools.compress(labels, of_image)) for of_image in has]
        return {"labels": pa.array(texts, pa.string(), mask=~good)}
    best = np.where(good, np.nan_to_num(probabilities, nan=-1.0).argmax(axis=1), 0)
    return {
        "label": pa.array([labels[number] for number in best], pa.string(), mask=~good),
        "probability": pa.array(probabilities[np.arange(len(good)), best], mask=~good),
    }


def _printable(table: pa.Table) -> pa.Table:
    """The same for people's eyes: no name in it reaches the terminal as a command."""
    columns = [
        pa.array([None if text is None else printable(text) for text in column.to_pylist()], pa.string())
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, names=[printable(name) for name in table.column_names])


@contextlib.contextmanager
def _writer(output: Path | None) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes tables: to standard output, or to a file that appears whole or not at all."""
    parquet = output is not None and output.suffix.lower() == ".parquet"
    on_terminal = output is None and sys.stdout.isatty()
    writer: pyarrow.csv.CSVWriter | pq.ParquetWriter | None = None

    def write(table: pa.Table) -> None:
        nonlocal writer
        if on_terminal:
            table = _printable(table)
        if writer is None:
            kind = pq.ParquetWriter if parquet else pyarrow.csv.CSVWriter
            writer = stack.enter_context(kind(sink, table.schema))
        writer.write_table(table)

    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(files.writing(output)) if output else sys.stdout.buffer
        yield write
