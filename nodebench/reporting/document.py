"""What a page of the report consists of, whatever it is written as: HTML, Markdown, LaTeX or CSV."""

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from nodebench.reporting.charts import Drawing


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: as a person reads it.
        value: what it is sorted by, and what the data file holds; the text where there is none.
        kind: how it is set; ``verdict`` is a word with a colour of its own.
        page: the page that it links to.
    """

    text: str
    value: float | str | None = None
    kind: Literal["text", "number", "verdict", "code"] = "text"
    page: str = ""

    @property
    def key(self) -> float | str:
        """What it is sorted by."""
        return self.text if self.value is None else self.value


def slug(text: str) -> str:
    """A name that may be a file's, a link's and a label's, whatever a record says."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")


def page_name(text: str) -> str:
    """The file name of a page: that of ``slug``, and where it is not the text itself, a digest of the text.

    Two texts so give two names: ``a b`` and ``a-b``, or two names without a Latin letter.
    """
    plain = slug(text)
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def distinct(pages: Sequence["Page"]) -> list["Page"]:
    """Pages whose tables and figures have names that differ; the second of one name is numbered."""
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
    """A number as a cell; one that is missing sorts last."""
    return Cell(text, math.inf if value is None else value, "number")


@dataclass(frozen=True)
class Table:
    """A table with a name of its own, under which its data and its LaTeX are written."""

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    filters: bool = False  # whether a field to filter by is worth its room


@dataclass(frozen=True)
class Chart:
    """A figure, with the numbers that it is drawn from.

    Attributes:
        alt: what it shows, for someone who does not see it.
        drawing: its lines and letters take the colour of the page's text.
        small: whether several stand side by side.
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
    """Several short texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Terms:
    """Names and what they mean or are."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Links:
    """Other pages: their names, their titles, and what they are about, which may be empty."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Urls:
    """Addresses elsewhere, by name, behind a word or two that say what they are."""

    title: str
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """What is to be typed."""

    text: str


@dataclass(frozen=True)
class Folded:
    """Text that only some will want, behind its title."""

    title: str
    text: str


Block = Heading | Paragraph | Bullets | Terms | Links | Urls | Code | Folded | Table | Chart


@dataclass(frozen=True)
class Page:
    """A page: its file name without an ending, its title, what it is about in one line, and its blocks."""

    name: str
    title: str
    about: str
    blocks: Sequence[Block]
    group: Literal["", "claims", "studies"] = ""
    mark: str = ""  # the verdict, in lists of pages

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def charts(self) -> list[Chart]:
        """Its figures."""
        return [block for block in self.blocks if isinstance(block, Chart)]
