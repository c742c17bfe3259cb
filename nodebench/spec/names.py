"""Validation of the names and ids in studies and records.

A name is any text that can be displayed and stored safely: letters of any script, digits, spaces and punctuation.
It is not a path: ``nodebench.paths`` builds file names from it.
"""

import re
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from nodebench.escapes import visible

LONGEST = 200  # characters


def _name(text: str) -> str:
    if why := _fault(text):
        raise PydanticCustomError("name", "not a name ({why})", {"why": why})
    return text


@lru_cache(maxsize=4096)  # the records of a run repeat a few names
def _fault(text: str) -> str | None:
    """Return why text is not a valid name; None if it is valid."""
    if not text or text != text.strip():
        return "it is empty, or begins or ends with a space"
    if len(text) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if visible(text) != text:
        return "it has a character that cannot be shown"
    if "\\" in text or any(part in ("", ".", "..") for part in text.split("/")):
        return "a backslash, an empty part between slashes, '.' and '..' are not allowed"
    return None


def _id(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{12}", text):
        raise PydanticCustomError("id", "not an id of a trial (12 hexadecimal digits)")
    return text


# A task, model, study, group, data set, solver or option.
Name = Annotated[str, AfterValidator(_name)]
# The study of a grid typed on the command line has the empty name.
StudyName = Annotated[str, AfterValidator(lambda text: text and _name(text))]
# 12 hexadecimal digits, see ``Trial.id``.
RecordId = Annotated[str, AfterValidator(_id)]
