"""Listed images as rows: tests say what they expect of each."""

from __future__ import annotations

from typing import NamedTuple

from features.inputs.listing import LISTING_SCHEMA, Listing


class Ref(NamedTuple):
    uri: str
    labels: tuple[str, ...]
    split: str | None
    size: int | None
    modified_at: int | None  # microseconds since the epoch
    group: str | None = None


def refs(listing: Listing) -> list[Ref]:
    """The images of a listing."""
    assert listing.images.schema == LISTING_SCHEMA
    place = LISTING_SCHEMA.get_field_index("modified_at")
    rows = listing.images.set_column(
        place, "modified_at", listing.images.column(place).cast("int64")
    ).to_pylist()
    return [Ref(**{**row, "labels": tuple(row["labels"])}) for row in rows]
