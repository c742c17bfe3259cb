"""Save the output file of a command."""

from pathlib import Path

from nodebench.errors import writing_to
from nodebench.paths import make_folder, write_file
from nodebench.store.run_folder import RunFolder


def save(run: RunFolder, out: Path | None, *names: str, content: bytes) -> Path:
    """Write a file to ``out`` or, if it is None, below the run's folder; return its path.

    Args:
        run: the run that the file describes.
        out: path of the file; None for the default path.
        names: parts of the default path below the run's folder, folders first.
        content: content of the file.

    Raises:
        BadInput: the file cannot be written, or the run's folder is a symbolic link.
    """
    with writing_to(f"--out {out or run.folder}"):
        if out is not None:
            out.write_bytes(content)
            return out
        run.refuse_link()
        make_folder(run.folder, *names[:-1])
        return write_file(run.folder, *names, content=content)
