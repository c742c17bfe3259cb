"""``nodebench plot``: one column of a run's table against another."""

from io import BytesIO
from pathlib import Path

from nodebench.api.running import load
from nodebench.cli.conventions import LATEST
from nodebench.cli.figures import FIGURES
from nodebench.cli.output import save
from nodebench.cli.terminal import Terminal
from nodebench.errors import choose
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
    run_folder = RunFolder(found.folder)
    if not found.records:
        raise run_folder.no_record()
    figure = found.plot(x, y, by=by).get_figure(root=True)
    assert figure is not None
    content = BytesIO()
    figure.savefig(content, format=format, dpi=200, metadata={"Date": None} if format == "svg" else None)
    path = save(run_folder, out, FIGURES, f"{y}-over-{x}.svg", content=content.getvalue())
    Terminal(soft_wrap=True).print(f"{y} over {x} · {path}")
