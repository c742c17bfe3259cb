"""The file that a command makes of a run."""

from pathlib import Path

from nodebench.errors import BadInput
from nodebench.paths import make_folder, write_file
from nodebench.store.run_folder import RunFolder


def save(run: RunFolder, out: Path | None, *names: str, content: bytes) -> Path:
    """Write a file where the user wants it, else below the run's folder; return its path.

    Args:
        run: what the file is made of.
        out: the file; None for the one below the run's folder.
        names: of that one, folders first.
        content: of the file.

    Raises:
        BadInput: it cannot be written, or the run's folder is a symbolic link.
    """
    try:
        if out is not None:
            out.write_bytes(content)
            return out
        run.refuse_link()
        make_folder(run.folder, *names[:-1])
        return write_file(run.folder, *names, content=content)
    except OSError as error:
        raise BadInput(f"--out {out or run.folder}: cannot write there: {error.strerror or error}") from error
