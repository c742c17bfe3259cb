"""Print warnings of the lower layers, for example on a damaged record or a broken plug-in, on standard error.

Each warning takes one line and is printed once.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nodebench.plugins import PluginWarning

LONGEST = 2000  # characters of one message


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Print the warnings that ``nodebench`` logs, and its plug-in warnings, inside the block."""
    handler = _Lines(logging.WARNING)
    logger = logging.getLogger("nodebench")
    logger.addHandler(handler)
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, PluginWarning):  # the source line that issued the warning does not help users
            logger.warning("%s", message)
        else:
            usual(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        if text not in self._printed:
            from nodebench.cli.terminal import print_plain  # imported late, since most commands print no warning

            self._printed.add(text)
            print_plain(f"nodebench: warning: {text}", stderr=True)
