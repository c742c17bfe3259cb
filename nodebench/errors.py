"""Bad input, told to a person in one line."""

from collections.abc import Iterable
from difflib import get_close_matches


class BadInput(Exception):
    """What the user asked for cannot be done. The message is one line: what was wrong, what is allowed."""


class CannotGoOn(Exception):
    """A run has lost its disk or its workers; what is finished is kept. The message is one line: what, and why."""


def choose(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return ``name`` if it is allowed, else refuse it with the nearest match and the whole list."""
    names = list(allowed)
    if name in names:
        return name
    near = nearest(name, names)
    hint = f"; did you mean {near}?" if near else "."
    raise BadInput(f"no {kind} named '{name}'{hint} Allowed: {', '.join(names)}")


def at_least(least: float, **options: float | None) -> None:
    """Refuse options whose value is smaller; null is one that was not typed."""
    for name, value in options.items():
        if value is not None and value < least:
            raise BadInput(f"--{name} {value:g}: at least {least:g}")


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that looks most like ``name``, if any does."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[matches[0]] if matches else None


def first_line(error: BaseException | None) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


MESSAGE_CHARACTERS = 1_000


def brief(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """Return a text that can be stored: about ``limit`` characters at most, and no lone surrogates.

    A longer text keeps its beginning and its end.
    """
    if len(text) > limit:
        gap = f" [{len(text) - limit} characters left out] "
        text = text[: limit // 2] + gap + text[-(limit // 2) :]
    return text.encode("utf-8", "backslashreplace").decode()
