"""What the layers below warn of, such as a damaged record, on standard error: one line each, and each line once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 2000  # characters of one message


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Print what ``nodebench`` logs as warnings while a command runs."""
    handler = _Lines(logging.WARNING)
    logger = logging.getLogger("nodebench")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        if text not in self._printed:
            from nodebench.cli.terminal import print_plain  # most commands have nothing to warn of

            self._printed.add(text)
            print_plain(f"nodebench: warning: {text}", stderr=True)
