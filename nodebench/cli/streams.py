"""Standard output and error of a command. A write error does not end the command."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class FaultTolerantStream:
    """Wraps a text stream and stores its first write error instead of raising it.

    Other attributes are those of the wrapped stream.

    Attributes:
        error: the first write error; ``None`` if there was none.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write to the stream; store an error instead of raising it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self.error = self.error or error
            return len(text)

    def flush(self) -> None:
        """Flush the stream; store an error instead of raising it."""
        try:
            self._stream.flush()
        except OSError as error:
            self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def tolerant_streams() -> Iterator[FaultTolerantStream]:
    """Wrap standard output and error; yield the wrapper of standard output.

    Characters outside the encoding of a stream are written as Python escape sequences. A standard stream that was
    closed at the start writes to ``/dev/null``, which must already be open on its descriptor.
    """
    before = sys.stdout, sys.stderr
    out, err = (FaultTolerantStream(_open(stream, number)) for number, stream in enumerate(before, start=1))
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


def _discard(stream: FaultTolerantStream, number: int) -> None:
    """Redirect a descriptor to ``/dev/null``, because the interpreter flushes remaining output again at exit."""
    with suppress(OSError, ValueError):
        if stream.fileno() == number:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
