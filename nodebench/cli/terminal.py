"""Output of the commands: the one module that prints.

The output can contain names and messages from files written by others. Their control characters are escaped before
they reach the terminal, and square brackets are not interpreted as markup.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from nodebench.escapes import for_json, for_terminal


class Terminal(Console):
    """A console that shows text as it is: without markup, emoji codes and invisible characters."""

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False, highlight: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, highlight=highlight, markup=False, emoji=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """Render a string; also called for cells and titles of tables."""
        return super().render_str(for_terminal(text), **(how | {"markup": False, "emoji": False}))

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render any object; text that is already styled is escaped too."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=for_terminal(segment.text))


def print_plain(text: str, *, stderr: bool = False) -> None:
    """Print a line without wrapping it."""
    print(for_terminal(text), file=sys.stderr if stderr else sys.stdout, flush=True)


def print_json(content: Any) -> None:
    """Print content as indented JSON."""
    print(for_json(json.dumps(content, indent=2, ensure_ascii=False)))


def print_record(line: str) -> None:
    """Print one record, a line of JSON, and flush."""
    print(for_json(line), flush=True)
