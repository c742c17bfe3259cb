"""Messages from a trial to its parent: a length of 8 bytes, then a pickled value.

The parent never blocks on a message that is incomplete, because the process that sends it may be stopped or killed.
"""

import os
import pickle
import struct
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

_LENGTH = struct.Struct("!Q")
READ_BYTES = 1 << 20
# Read at most this much before the limits of a trial are checked again.
BATCH_BYTES = 64 << 20


def send(connection: Connection, message: Any) -> None:
    """Send a value; block until the parent has read most of it.

    Tensors are pickled by value. The pickler of ``multiprocessing`` would send a handle instead, which becomes invalid
    when this process ends.
    """
    content = pickle.dumps(message)
    data = memoryview(_LENGTH.pack(len(content)) + content)
    while data:
        data = data[os.write(connection.fileno(), data) :]


class Inbox:
    """The parent's end of the pipe.

    Attributes:
        closed: no process can send any more, and everything was read.
        empty: the last ``read`` has taken everything that was there.
    """

    def __init__(self, connection: Connection) -> None:
        self._descriptor = connection.fileno()
        os.set_blocking(self._descriptor, False)
        self._pending = bytearray()
        self.closed = False
        self.empty = True

    def read(self) -> list[Any]:
        """Return the complete messages that have arrived; never block.

        Raises:
            Exception: a message cannot be unpickled; the exception is that of its class.
        """
        taken = 0
        self.empty = False
        while not self.empty and taken < BATCH_BYTES:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                self.empty = True
                break
            self.closed = self.empty = not data
            taken += len(data)
            self._pending += data
        return list(self._complete())

    def _complete(self) -> Iterator[Any]:
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            end = _LENGTH.size + length
            if len(self._pending) < end:
                return
            content = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            yield pickle.loads(content)
