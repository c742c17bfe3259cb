"""Escape text from records, studies and plug-ins for safe display.

Names, messages and labels come from untrusted files. Each function here escapes text for one output: a terminal,
a matplotlib drawing, a spreadsheet, a line of JSON. LaTeX and Markdown are in ``reporting/writers.py``.
"""

import re
import unicodedata

# Zero-width joiners are part of words in some scripts.
_JOINERS = "\u200c\u200d"
# Characters that make a spreadsheet read a cell as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Control characters, bidirectional overrides and other format characters, line separators, surrogates.
_UNSAFE_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def visible(text: str, keep: str = "") -> str:
    r"""Replace each character that a reader cannot see by its code: ``\x1b`` for escape, ``\u202e`` for an override.

    Control characters (escape sequences begin with one), format characters (bidirectional overrides), surrogates
    and unassigned characters are replaced.

    Args:
        text: any text.
        keep: control characters that stay, such as a newline.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_visible(c) or c in keep else _code(c) for c in text)


def for_terminal(text: str) -> str:
    """Escape text for a terminal; newlines and tabs are kept."""
    return visible(text, keep="\n\t")


def for_matplotlib(text: str) -> str:
    """Escape text for matplotlib: dollar signs do not start a formula, and a leading underscore hides no label."""
    literal = visible(text, keep="\n").replace("$", r"\$")
    return f" {literal}" if literal.startswith("_") else literal


def for_spreadsheet(text: str) -> str:
    """Escape text for a CSV cell: put an apostrophe before text that a spreadsheet would read as a formula.

    Text that is a number is not changed.
    """
    safe = visible(text, keep="\n\t\r")
    return f"'{safe}" if safe.startswith(_FORMULA) and not _is_number(safe) else safe


def for_json(text: str) -> str:
    r"""Write the invisible characters of JSON text as ``\uXXXX``; the parsed content is the same."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _is_visible(character: str) -> bool:
    # ``str.isprintable`` is False for spaces other than the plain one.
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def _code(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
