"""Standard output and error of a command: trouble with them does not end it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class Tolerant:
    """A text stream that goes on when it cannot be written; the rest is that of the stream that it wraps.

    Attributes:
        error: the first failure to write; ``None`` if there was none.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write as much as the stream takes."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self.error = self.error or error
            return len(text)

    def flush(self) -> None:
        """Flush what the stream still takes."""
        try:
            self._stream.flush()
        except OSError as error:
            self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def tolerant_streams() -> Iterator[Tolerant]:
    """Wrap standard output and error; yield the wrapper of standard output.

    A character that the encoding of a stream lacks is written as an escape sequence of Python. Standard streams that
    were closed at the start lead to ``/dev/null``; its descriptor has to be open.
    """
    before = sys.stdout, sys.stderr
    out, err = (Tolerant(_open(stream, number)) for number, stream in enumerate(before, start=1))
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out
    finally:
        for number, stream in ((1, out), (2, err)):
            stream.flush()
            if stream.error is not None:
                _discard(stream, number)
        sys.stdout, sys.stderr = before


def _open(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return os.fdopen(number, "w", closefd=False)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _discard(stream: Tolerant, number: int) -> None:
    """Lead a descriptor to ``/dev/null``: the interpreter flushes what is left once more when it ends."""
    with suppress(OSError, ValueError):
        if stream.fileno() == number:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
