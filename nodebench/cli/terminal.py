"""Output of the commands: the one place that prints.

What is printed holds names and messages from files that others may have written. No character of them reaches the
terminal as a control sequence, and square brackets are no markup.
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
        """Render a string; cells and titles of tables come here too."""
        return super().render_str(for_terminal(text), **(how | {"markup": False, "emoji": False}))

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything; text that was styled before it came here is made safe too."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=for_terminal(segment.text))


def print_plain(text: str, *, stderr: bool = False) -> None:
    """Print a line without wrapping it."""
    print(for_terminal(text), file=sys.stderr if stderr else sys.stdout, flush=True)


def print_json(content: Any) -> None:
    """Print content as indented JSON."""
    print(for_json(json.dumps(content, indent=2, ensure_ascii=False)))


def print_record(line: str) -> None:
    """Print a line of JSON that is one record, at once."""
    print(for_json(line), flush=True)
