"""Build, write and remove paths inside a results or report folder. No other module does this.

``inside`` raises an error for a path outside its root. Functions that write or remove a file do not follow symbolic
links below the root; the root itself may be a link. A link that another process creates between the check and the
write is detected only at the file itself.
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

# Characters that are replaced in file names: separators, and those with a special meaning in a shell or another system.
_UNFIT = re.compile(r"""[/\\:*?"'<>|$`&;!#%{}\[\]]+""")
_LONGEST = 150  # bytes of a file name that is made from text; file systems allow 255


def inside(root: Path, *names: str) -> Path:
    """Join names to ``root`` and return the path.

    Raises:
        BadInput: a name is empty, ``.`` or ``..``, or contains a separator or a null character.
    """
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise BadInput(f"'{name}' is not a valid file name in {root}")
    return root.joinpath(*names)


def file_name(text: str) -> str:
    """Return a valid file name made from any text; two texts may give the same name."""
    name = _UNFIT.sub("-", visible(text)).strip(". ")
    if len(name.encode()) > _LONGEST:
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
        name = f"{name.encode()[: _LONGEST - 9].decode(errors='ignore')}-{digest}"
    return name or "unnamed"


def make_folder(root: Path, *names: str) -> Path:
    """Create a folder below ``root`` and its missing parents.

    Raises:
        BadInput: a name is not valid, or a folder of the path is a symbolic link.
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
    """Open a regular file below ``root`` for writing, in folders that exist.

    Args:
        root: the folder.
        names: the folders below ``root``, then the file.
        mode, how: arguments of ``open``.

    Raises:
        BadInput: a name is not valid, or the file or a folder of its path is a symbolic link.
        OSError: the file cannot be opened, or is not a regular file.
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
    """Remove a regular file below ``root``; a missing file is not an error.

    Raises:
        BadInput: a name is not valid, the file or a folder of its path is a symbolic link, or the file is not regular.
        OSError: the file cannot be removed.
    """
    path = for_writing(root, *names)
    if path.exists() and not is_regular(path):
        raise BadInput(f"{path} is not a regular file and was not removed")
    path.unlink(missing_ok=True)


def for_writing(root: Path, *names: str) -> Path:
    """Join names to ``root`` and return the path, which must not contain a symbolic link below ``root``.

    Raises:
        BadInput: a name is not valid, or the path contains a link.
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
    return BadInput(f"{path} is a symbolic link; files are not written or removed through links")


def _open_regular(path: str, flags: int) -> int:
    """Open a regular file without following a link; for a pipe, fail instead of waiting."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor
