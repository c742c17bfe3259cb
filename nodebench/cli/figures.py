"""The figures of a run, on request."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import track

from nodebench.cli.heartbeat import waiting
from nodebench.errors import BadInput
from nodebench.run.store import Run
from nodebench.spec import Record

FIGURES = "figures"


def draw_figures(run: Run, records: Sequence[Record], *, animate: bool, quiet: bool = False) -> None:
    """Draw the figures of each record into the run's folder and, unless ``quiet``, say where they are.

    Raises:
        BadInput: the folder cannot be written.
    """
    from nodebench.report.plots import draw_trial

    folder = run.folder / FIGURES
    console = Console(stderr=True)
    files = 0
    try:
        with waiting("drawing figures", quiet=quiet or console.is_terminal):
            for record in track(records, "drawing", console=console, transient=True):
                files += len(draw_trial(record, run.film(record), folder, animate))
    except OSError as error:
        raise BadInput(f"{folder}: cannot write there: {error.strerror or error}") from error
    if not quiet:
        Console(soft_wrap=True, markup=False).print(f"{files} figures · {folder}", highlight=False)
