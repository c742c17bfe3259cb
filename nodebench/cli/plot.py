"""``nodebench plot``: one column of a run's table against another."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from nodebench.api.running import load
from nodebench.cli.exit_codes import LATEST
from nodebench.cli.figures import FIGURES
from nodebench.cli.output import save
from nodebench.cli.terminal import Terminal
from nodebench.errors import choose, writing_to
from nodebench.store.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "png", "pdf")


def plot_command(run: str, x: str, y: str, by: str, results: Path, out: Path | None) -> None:
    """Save a plot to a file and print its path.

    Raises:
        BadInput: there is no such run or column, nothing to draw, or the file cannot be written.
    """
    format = "svg" if out is None else format_of(out)
    found = load(None if run == LATEST else run, results=results)
    run_folder = RunFolder(found.folder)
    if not found.records:
        raise run_folder.no_record()
    content = _drawn(found.plot(x, y, by=by), format)
    path = save(run_folder, out, FIGURES, f"{y}-over-{x}.svg", content=content)
    Terminal(soft_wrap=True).print(f"{y} over {x} · {path}")


def format_of(path: Path) -> str:
    """Return the format of a plot from the suffix of its path.

    Raises:
        BadInput: the format is not supported.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    return choose("format", path.suffix.removeprefix(".") or "none", FORMATS)


def draw(axes: "Axes", path: Path) -> None:
    """Save a plot to a file.

    Raises:
        BadInput: the file cannot be written, or the format is not supported.
    """
    with writing_to(path):
        path.write_bytes(_drawn(axes, format_of(path)))


def _drawn(axes: "Axes", format: str) -> bytes:
    figure = axes.get_figure(root=True)
    assert figure is not None
    content = BytesIO()
    figure.savefig(content, format=format, dpi=200, metadata={"Date": None} if format == "svg" else None)
    return content.getvalue()
