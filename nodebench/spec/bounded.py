"""Bounded reading of files that somebody else may have written: regular files only, of limited size and nesting.

Every failure is a ``BadInput`` of one line that names the file; nothing here hangs or allocates without limit.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json

from nodebench.errors import BadInput

SMALL_FILE = 1 << 20  # bytes of a file that a program writes once, such as environment.json
STUDY_FILE = 8 << 20  # bytes of a study; what 'nodebench reproduce' writes has one group for each trial
RECORDS_FILE = 4 << 30  # bytes of all records of a run
LINE = 16 << 20  # bytes of one record
MOST_LINES = 2_000_000
DEPTH = 32  # tables and lists inside each other
_LARGEST_INTEGER = 2**63 - 1  # what tables and other programs can hold
_KEY_PARTS = 200  # of a key in TOML; tomllib needs quadratic time for more
_BETWEEN_KEYS = re.compile(rb"[,=\[\]{}\n#]+")


def open_regular(path: Path, most: int) -> BinaryIO:
    """Open a regular file for reading.

    A FIFO or a device is refused without waiting for its other end.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        BadInput: there is none, it is no regular file, it is larger, or it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {reason(error)}") from error
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        file.close()
        raise BadInput(f"{path}: not a regular file")
    if found.st_size > most:
        file.close()
        raise BadInput(f"{path}: {found.st_size:,} bytes; at most {most:,} are read")
    return file


def read_file(path: Path, most: int) -> bytes:
    """Read a regular file whole; see ``open_regular``."""
    with open_regular(path, most) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise BadInput(f"{path}: {reason(error)}") from error
    if len(content) > most:  # what /proc shows has no size before it is read
        raise BadInput(f"{path}: at most {most:,} bytes are read")
    return content


class RawLine(NamedTuple):
    """A line as it is in its file: its bytes, of a line longer than ``LINE`` only the first, and its size in bytes.

    The bytes end with a newline where the line does.
    """

    content: bytes
    size: int


def read_lines(path: Path) -> Iterator[RawLine]:
    """The lines of a file of records. Lines end at newlines only: a carriage return stays inside its line.

    Raises:
        BadInput: see ``open_regular``; or the file has more than ``MOST_LINES`` lines.
    """
    with open_regular(path, RECORDS_FILE) as file:
        try:
            for _ in range(MOST_LINES):
                if not (line := file.readline(LINE + 1)):
                    return
                size, rest = len(line), line
                while len(rest) > LINE and not rest.endswith(b"\n"):
                    rest = file.readline(LINE + 1)
                    size += len(rest)
                whole = rest is line
                yield RawLine(line if whole else line[:LINE] + b"\n" * rest.endswith(b"\n"), size)
            if file.read(1):
                raise BadInput(f"{path}: more than {MOST_LINES:,} lines")
        except OSError as error:
            raise BadInput(f"{path}: {reason(error)}") from error


def parse_json(text: bytes | str) -> Any:
    """Parse JSON of limited nesting, with finite numbers and integers of 64 bits.

    Raises:
        BadInput: it is something else; the message does not name the file.
    """
    if len(text) > LINE:  # also the first bytes of a longer line, and its newline
        raise BadInput(f"longer than {LINE:,} bytes")
    try:
        content = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadInput(f"not JSON: {reason(error)}") from None
    _check(content)
    return content


def read_json(path: Path) -> Any:
    """Read a small file of JSON.

    Raises:
        BadInput: it cannot be read, or is something else.
    """
    text = read_file(path, SMALL_FILE)
    try:
        return parse_json(text)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of TOML.

    Raises:
        BadInput: it cannot be read, is no TOML, or is nested too deep.
    """
    text = read_file(path, STUDY_FILE)
    if any(key.count(b".") > _KEY_PARTS for key in _BETWEEN_KEYS.split(text.replace(b" ", b"").replace(b"\t", b""))):
        raise BadInput(f"{path}: a key of more than {_KEY_PARTS} parts")
    try:
        content = tomllib.loads(text.decode())
        _check(content)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except RecursionError:
        raise BadInput(f"{path}: nested more than {DEPTH} deep") from None
    except ValueError as error:  # bytes that are no UTF-8, no TOML, or an integer of thousands of digits
        raise BadInput(f"{path}: {reason(error)}") from None
    return content


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def _check(content: Any) -> None:
    """Refuse what is nested deeper than ``DEPTH``, integers beyond 64 bits, and numbers that are not finite."""
    level: list[Any] = [content]
    for _ in range(DEPTH):
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is float:
                if not isfinite(value):
                    raise BadInput("a number that is not finite")
            elif kind is int:
                if not -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:
                    raise BadInput("an integer of more than 64 bits")
            elif kind is dict:
                below.extend(value.values())
            elif kind is list:
                below.extend(value)
        if not below:
            return
        level = below
    raise BadInput(f"nested more than {DEPTH} deep")
