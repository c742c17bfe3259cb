"""Safe reading of untrusted files: regular files only, with limits on size and nesting.

Every failure is a ``BadInput`` with a one-line message that names the file. No function blocks or allocates without
limit.
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

SMALL_FILE = 1 << 20  # maximum bytes of a file that a program writes once, such as environment.json
STUDY_FILE = 8 << 20  # maximum bytes of a study; one from 'nodebench reproduce' has one group per trial
RECORDS_FILE = 4 << 30  # maximum bytes of all records of a run
LINE = 16 << 20  # maximum bytes of one record
MOST_LINES = 2_000_000
DEPTH = 32  # maximum nesting of tables and lists
_LARGEST_INTEGER = 2**63 - 1  # the largest 64-bit integer
_KEY_PARTS = 200  # maximum parts of a TOML key; the time of tomllib is quadratic in them
_BETWEEN_KEYS = re.compile(rb"[,=\[\]{}\n#]+")


def open_regular(path: Path, most: int) -> BinaryIO:
    """Open a regular file for reading.

    A FIFO or a device is rejected without blocking.

    Args:
        path: path of the file.
        most: maximum size in bytes.

    Raises:
        BadInput: the file does not exist, is not a regular file, is larger, or cannot be opened.
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
    if len(content) > most:  # files in /proc report size 0 until they are read
        raise BadInput(f"{path}: at most {most:,} bytes are read")
    return content


class RawLine(NamedTuple):
    """A raw line of a file: its bytes, cut off after ``LINE`` bytes, and its full size in bytes.

    The bytes end with a newline if the line does.
    """

    content: bytes
    size: int


def read_lines(path: Path) -> Iterator[RawLine]:
    """Yield the lines of a records file. Only a newline ends a line; a carriage return does not.

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
        BadInput: the text is not such JSON; the message does not name the file.
    """
    if len(text) > LINE:  # also true for a ``RawLine`` that was cut off: ``LINE`` bytes and a newline
        raise BadInput(f"longer than {LINE:,} bytes")
    try:
        content = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadInput(f"not JSON: {reason(error)}") from None
    _check(content)
    return content


def read_json(path: Path) -> Any:
    """Read a small JSON file.

    Raises:
        BadInput: the file cannot be read, or ``parse_json`` rejects it.
    """
    text = read_file(path, SMALL_FILE)
    try:
        return parse_json(text)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        BadInput: the file cannot be read, is not TOML, or is nested too deeply.
    """
    text = read_file(path, STUDY_FILE)
    if any(key.count(b".") > _KEY_PARTS for key in _BETWEEN_KEYS.split(text.replace(b" ", b"").replace(b"\t", b""))):
        raise BadInput(f"{path}: a key has more than {_KEY_PARTS} parts")
    try:
        content = tomllib.loads(text.decode())
        _check(content)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except RecursionError:
        raise BadInput(f"{path}: nested more than {DEPTH} deep") from None
    except ValueError as error:  # not UTF-8, not TOML, or an integer of thousands of digits
        raise BadInput(f"{path}: {reason(error)}") from None
    return content


def reason(error: BaseException) -> str:
    """Return the message of an error as one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def _check(content: Any) -> None:
    """Reject nesting deeper than ``DEPTH``, integers beyond 64 bits and numbers that are not finite."""
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
