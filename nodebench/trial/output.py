"""Keep the beginning and the end of a trial's standard output and error, in bounded memory."""

import os
from multiprocessing.connection import Connection

from nodebench.errors import brief

HEAD_BYTES = 8 << 10
TAIL_BYTES = 32 << 10
HEAD_LINES = 5
TAIL_LINES = 20
LINE_CHARACTERS = 1_000
READ_BYTES = 64 << 10
# Read at most this much before the limits of a trial are checked again.
BATCH_BYTES = 4 << 20


class Output:
    """The parent's end of the pipe that a trial's standard streams lead to. Nothing is written to disk."""

    def __init__(self, connection: Connection) -> None:
        self._descriptor = connection.fileno()
        os.set_blocking(self._descriptor, False)
        self._head = b""
        self._tail = b""
        self._total = 0
        self.closed = False

    def read(self) -> None:
        """Read the output that has arrived; never block."""
        taken = 0
        while not self.closed and taken < BATCH_BYTES:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                return
            self.closed = not data
            taken += len(data)
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._total += len(data)
        room = HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._tail = (self._tail + data[room:])[-TAIL_BYTES:]

    def lines(self) -> list[str]:
        """Return the last lines, each shortened; if output between was dropped, the first lines precede them."""
        left_out = self._total - len(self._head) - len(self._tail)
        if not left_out:
            return _shortened((self._head + self._tail).splitlines()[-TAIL_LINES:])
        head = _shortened(self._head.splitlines()[:HEAD_LINES])
        return [*head, f"[{left_out} bytes left out]", *_shortened(self._tail.splitlines()[-TAIL_LINES:])]


def _shortened(lines: list[bytes]) -> list[str]:
    return [brief(line.decode(errors="replace"), LINE_CHARACTERS) for line in lines]
