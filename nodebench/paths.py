"""Paths inside a folder of results or of a report: built, written and removed here and nowhere else.

``inside`` refuses to leave its root. Whatever writes or removes a file follows no symbolic link below the root; the
root itself may be one. A link that another process puts there between the check and the write is not looked for,
except at the file itself.
"""

import errno
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import IO, Any

from nodebench.errors import BadInput
from nodebench.escapes import visible

# Characters that a file name of this program never has: separators, and what a shell or another system takes otherwise.
_UNFIT = re.compile(r"""[/\\:*?"'<>|$`&;!#%{}\[\]]+""")
_LONGEST = 150  # bytes of a file name that is made from text; file systems allow 255


def inside(root: Path, *names: str) -> Path:
    """The path below ``root`` that the names lead to.

    Raises:
        BadInput: a name is empty, ``.``, ``..``, holds a separator, or is otherwise not one name.
    """
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise BadInput(f"'{name}' is no name of a file in {root}")
    return root.joinpath(*names)


def file_name(text: str) -> str:
    """One file name made from any text; two texts may give the same one."""
    name = _UNFIT.sub("-", visible(text)).strip(". ")
    if len(name.encode()) > _LONGEST:
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
        name = f"{name.encode()[: _LONGEST - 9].decode(errors='ignore')}-{digest}"
    return name or "unnamed"


def make_folder(root: Path, *names: str) -> Path:
    """Make a folder below ``root``, and those on the way to it.

    Raises:
        BadInput: a name is none, or a symbolic link is on the way.
        OSError: a folder cannot be made.
    """
    folder = root
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        folder = inside(folder, name)
        _refuse_link(folder)
        folder.mkdir(exist_ok=True)
    return folder


def open_file(root: Path, *names: str, mode: str, **how: Any) -> IO[Any]:
    """Open a regular file below ``root`` for writing, in folders that are there.

    Args:
        root: the folder.
        names: of the folders on the way and of the file.
        mode, how: as ``open`` takes them.

    Raises:
        BadInput: a name is none, or a symbolic link is on the way or in the place of the file.
        OSError: the file cannot be opened, or is no regular file.
    """
    path = for_writing(root, *names)
    try:
        return open(path, mode, opener=_open_regular, **how)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link(path) from error
        raise


def write_file(root: Path, *names: str, content: bytes) -> Path:
    """Write a file below ``root``, and return its path; see ``open_file``."""
    with open_file(root, *names, mode="wb") as file:
        file.write(content)
    return inside(root, *names)


def remove_file(root: Path, *names: str) -> None:
    """Remove a regular file below ``root``; one that is absent is no error.

    Raises:
        BadInput: a name is none, a symbolic link is on the way or in the place of the file, or it is no regular file.
        OSError: the file cannot be removed.
    """
    path = for_writing(root, *names)
    if path.exists() and not is_regular(path):
        raise BadInput(f"{path} is no regular file; it is not removed")
    path.unlink(missing_ok=True)


def for_writing(root: Path, *names: str) -> Path:
    """The path below ``root`` that the names lead to, with no symbolic link on the way or at its end.

    Raises:
        BadInput: a name is none, or there is a link.
    """
    path = root
    for name in names:
        path = inside(path, name)
        _refuse_link(path)
    return path


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file itself, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise _link(path)


def _link(path: Path) -> BadInput:
    return BadInput(f"{path} is a symbolic link; nothing is written or removed through one")


def _open_regular(path: str, flags: int) -> int:
    """Open without following a link, and without waiting for the other end of a pipe."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor
