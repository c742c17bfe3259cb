"""``nodebench plot``: one column of a run's table against another."""

from io import BytesIO
from pathlib import Path

from nodebench.api.running import load
from nodebench.cli.conventions import LATEST
from nodebench.cli.figures import FIGURES
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, choose
from nodebench.paths import make_folder, write_file
from nodebench.store.run_folder import RunFolder

FORMATS = ("svg", "png", "pdf")


def plot_command(run: str, x: str, y: str, by: str, results: Path, out: Path | None) -> None:
    """Draw a plot into a file, and say where it is.

    Raises:
        BadInput: there is no such run or column, nothing to draw, or the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    format = "svg" if out is None else choose("format", out.suffix.removeprefix(".") or "none", FORMATS)
    found = load(None if run == LATEST else run, results=results)
    if not found.records:
        raise RunFolder(found.folder).no_record()
    figure = found.plot(x, y, by=by).get_figure(root=True)
    assert figure is not None
    content = BytesIO()
    figure.savefig(content, format=format, dpi=200)
    try:
        if out is None:
            make_folder(found.folder, FIGURES)
            out = write_file(found.folder, FIGURES, f"{y}-over-{x}.svg", content=content.getvalue())
        else:
            out.write_bytes(content.getvalue())
    except OSError as error:
        raise BadInput(f"{out or found.folder}: cannot write there: {error.strerror or error}") from error
    Terminal(soft_wrap=True).print(f"{y} over {x} · {out}")
