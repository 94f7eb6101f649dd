"""What a page is made of: sentences, tables, plots, pictures, in sections; the template shows each kind.

The sections' modules make these from an evaluation; nothing here knows what was measured. Text is raw
everywhere: the template escapes it (`heads.page.document`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

#: What a sentence says of the head or the data: shown by a sign and a word, never by colour alone.
Tone = Literal["good", "bad", "caution", "plain"]

#: Rows shown of a table.
MOST_ROWS = 200
#: Above this many rows a table scrolls by itself.
_LONG = 15
#: Characters shown of a class or a head's name.
LONGEST_NAME = 300


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        name: whether the text is a name from the data.
        tone: shown as a badge, where it is not plain.
        share: from 0 to 1, shown as shading; None for none.
        right: for a cell of a confusion matrix, whether it is on the diagonal.
    """

    text: str
    name: bool = False
    tone: Tone = "plain"
    share: float | None = None
    right: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's head: a title, or a number that stands for a name."""

    title: str
    number: bool = False
    spoken: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells below their columns; the first cell of each row is its head.

    Attributes:
        left_out: a sentence on the rows that are not shown.
        marked: number of the row that is this head's, or None.
        folded: whether it is shown only when asked for.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    left_out: str = ""
    marked: int | None = None
    folded: bool = False
    matrix: bool = False
    kind: str = dataclasses.field(default="table", init=False)

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.caption}: each row needs {len(self.columns)} cells")

    @property
    def long(self) -> bool:
        """Whether it scrolls within a height of its own."""
        return len(self.rows) > _LONG


@dataclasses.dataclass(frozen=True)
class Sentence:
    text: str
    tone: Tone = "plain"
    title: str = ""
    kind: str = dataclasses.field(default="sentence", init=False)


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Sentences with their tones, one below the other."""

    items: Sequence[Sentence]
    kind: str = dataclasses.field(default="sentences", init=False)


@dataclasses.dataclass(frozen=True)
class Heading:
    """A title within a section."""

    text: str
    kind: str = dataclasses.field(default="heading", init=False)


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot of plotly.

    Attributes:
        id: of its element in the page.
        label: what it is, in a few words, for who can't see it.
        caption: what to see in it.
        figure: `data` and `layout`.
    """

    id: str
    label: str
    caption: str
    figure: Mapping[str, Any]
    kind: str = dataclasses.field(default="plot", init=False)


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the data.

    Attributes:
        uri: its file.
        alt: what it is, for who can't see it.
        thumbnail: a data URI, or None where it could not be read.
        facts: names and values, such as its label.
    """

    uri: str
    alt: str
    thumbnail: str | None
    facts: Sequence[tuple[str, Cell]] = ()


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures in a grid."""

    label: str
    items: Sequence[Picture]
    kind: str = dataclasses.field(default="pictures", init=False)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pictures two by two, with what is known of each pair."""

    label: str
    items: Sequence[tuple[Picture, Picture, Sequence[Cell]]]
    kind: str = dataclasses.field(default="pairs", init=False)


@dataclasses.dataclass(frozen=True)
class Missing:
    """Something that was not measured, and how to get it."""

    what: str
    how: str = ""
    kind: str = dataclasses.field(default="missing", init=False)


@dataclasses.dataclass(frozen=True)
class Map:
    """The map of the features: a plot, its legend and a picture of each point.

    Attributes:
        legend: name, number of images, colour and marker of each class.
        points: what the page's script needs of each point.
    """

    plot: Plot
    legend: Sequence[Mapping[str, Any]]
    points: Mapping[str, Any]
    kind: str = dataclasses.field(default="map", init=False)


Block = Sentence | Sentences | Heading | Table | Plot | Pictures | Pairs | Missing | Map


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page with a title of its own."""

    id: str
    title: str
    blocks: Sequence[Block]


def columns(*titles: str, numbers: Collection[str] = ()) -> list[Column]:
    """Heads of columns, some of which are of numbers."""
    return [Column(title, number=title in numbers) for title in titles]


def name(value: object) -> Cell:
    """A cell with a name from the data."""
    return Cell(short(value), name=True)


def short(value: object) -> str:
    """A name from the data, cut where it is very long."""
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def cut(
    rows: Iterable[Sequence[Cell]], what: str, *, chosen: str = "first"
) -> tuple[list[Sequence[Cell]], str]:
    """The rows that are shown, and a sentence on the others."""
    shown = list(rows)
    if len(shown) <= MOST_ROWS:
        return shown, ""
    left = len(shown) - MOST_ROWS
    return shown[
        :MOST_ROWS
    ], f"Only the {chosen} {MOST_ROWS} of {len(shown):,} {what} are shown; {left:,} are left out."
