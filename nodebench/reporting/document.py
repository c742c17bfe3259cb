"""Blocks of a report page, independent of the output format (HTML, Markdown, LaTeX or CSV)."""

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from nodebench.reporting.drawing import Drawing


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the displayed text.
        value: the sort key and the value in the data file; None means ``text``.
        kind: how the cell is formatted; ``verdict`` has a colour for each verdict.
        page: the page that it links to.
    """

    text: str
    value: float | str | None = None
    kind: Literal["text", "number", "verdict", "code"] = "text"
    page: str = ""

    @property
    def key(self) -> float | str:
        """The sort key of the cell."""
        return self.text if self.value is None else self.value


def slug(text: str) -> str:
    """Return a name that is safe in file names, links and labels, for any text."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")


def page_name(text: str) -> str:
    """Return the file name of a page: the slug of the text, with a digest if the slug differs from the text.

    Different texts therefore have different names, for example ``a b`` and ``a-b``, or names without Latin letters.
    """
    plain = slug(text)
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def distinct(pages: Sequence["Page"]) -> list["Page"]:
    """Return the pages with unique names of tables and charts; the second one of a name gets a number."""
    seen: set[str] = set()

    def renamed(block: Block) -> Block:
        if not isinstance(block, Table | Chart):
            return block
        numbered = (f"{block.name}-{count}" for count in itertools.count(2))
        name = next(name for name in itertools.chain([block.name], numbered) if name not in seen)
        seen.add(name)
        return block if name == block.name else replace(block, name=name)

    return [replace(page, blocks=[renamed(block) for block in page.blocks]) for page in pages]


def number(text: str, value: float | None) -> Cell:
    """Return a cell for a number; a missing number sorts last."""
    return Cell(text, math.inf if value is None else value, "number")


@dataclass(frozen=True)
class Table:
    """A table; its data file and its LaTeX file are named after it."""

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    filters: bool = False  # whether to show a filter field


@dataclass(frozen=True)
class Chart:
    """A plot with the data that it shows.

    Attributes:
        alt: text alternative for readers who cannot see the plot.
        drawing: the plot; its lines and text take the text colour of the page.
        small: whether several charts are placed side by side.
    """

    name: str
    caption: str
    alt: str
    drawing: Drawing = field(repr=False)
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    small: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading inside a page."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bullets:
    """A bulleted list of short texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Terms:
    """A list of terms with their descriptions."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Links:
    """Links to other pages: name, title, and a description, which may be empty."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Urls:
    """External links as pairs of name and address, after a short title."""

    title: str
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """A command to type."""

    text: str


@dataclass(frozen=True)
class Folded:
    """Collapsed text under a title."""

    title: str
    text: str


Block = Heading | Paragraph | Bullets | Terms | Links | Urls | Code | Folded | Table | Chart


@dataclass(frozen=True)
class Page:
    """A page: file name without extension, title, one-line description, and blocks."""

    name: str
    title: str
    about: str
    blocks: Sequence[Block]
    group: Literal["", "claims", "studies"] = ""
    mark: str = ""  # the verdict, in lists of pages

    @property
    def tables(self) -> list[Table]:
        """The tables of the page."""
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def charts(self) -> list[Chart]:
        """The charts of the page."""
        return [block for block in self.blocks if isinstance(block, Chart)]
