"""Exceptions with one-line messages for the user, and helpers that write such messages."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pydantic import ValidationError


class BadInput(Exception):
    """The user's request is invalid. The one-line message says what is wrong and what is allowed."""


class RunAborted(Exception):
    """A run cannot continue, for example because its disk or its workers failed; the one-line message says why.

    Finished trials stay stored.
    """


def choose(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return ``name`` if it is allowed; else raise ``BadInput`` with the nearest match and all allowed names."""
    names = list(allowed)
    if name in names:
        return name
    near = nearest(name, names)
    hint = f"; did you mean {near}?" if near else "."
    raise BadInput(f"no {kind} named '{name}'{hint} Allowed: {', '.join(names)}")


def at_least(least: float, **options: float | None) -> None:
    """Raise ``BadInput`` if an option is smaller than ``least``; None is an option that was not given."""
    for name, value in options.items():
        if value is not None and value < least:
            raise BadInput(f"--{name} {value:g}: at least {least:g}")


@contextmanager
def writing_to(target: object, failure: type[Exception] = BadInput) -> Iterator[None]:
    """Replace an ``OSError`` by ``failure``, whose message names the target."""
    try:
        yield
    except OSError as error:
        raise failure(f"{target}: cannot write there: {error.strerror or error}") from error


class Fault(NamedTuple):
    """A validation error of pydantic; as text, the path to the value and what is wrong with it.

    Attributes:
        path: the fields and positions that lead to the value; empty for the whole.
        given: the value.
        message: what is wrong with it.
    """

    path: tuple[int | str, ...]
    given: object
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.message}" if self.path else self.message


def first_fault(error: "ValidationError") -> Fault:
    """Return the first of the errors that pydantic found; the message of one of our own checks is unchanged."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if message == first["msg"]:
        message = message[:1].lower() + message[1:]
    return Fault(first["loc"], first["input"], message)


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that looks most like ``name``, if any does."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[matches[0]] if matches else None


def first_line(error: BaseException | None) -> str:
    """Return the first line of an exception's message, or its type if the message is empty."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


MESSAGE_CHARACTERS = 1_000


def brief(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """Shorten a text to about ``limit`` characters and escape lone surrogates, so that it can be stored.

    A longer text keeps its beginning and its end.
    """
    if len(text) > limit:
        gap = f" [{len(text) - limit} characters left out] "
        text = text[: limit // 2] + gap + text[-(limit // 2) :]
    return text.encode("utf-8", "backslashreplace").decode()
