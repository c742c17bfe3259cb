"""Draw the plots of a run."""

from collections.abc import Sequence

from rich.progress import track

from nodebench.cli.heartbeat import waiting
from nodebench.cli.terminal import Terminal
from nodebench.errors import writing_to
from nodebench.paths import make_folder
from nodebench.spec import Record
from nodebench.store.run_folder import RunFolder

FIGURES = "figures"


def draw_figures(run: RunFolder, records: Sequence[Record], *, animate: bool, quiet: bool = False) -> None:
    """Save the plots of each record in the run's folder and, unless ``quiet``, print the path.

    Raises:
        BadInput: the folder cannot be written, or is a symbolic link.
    """
    from nodebench.reporting.plots import draw_trial

    run.refuse_link()
    folder = run.folder / FIGURES
    console = Terminal(stderr=True)
    files = 0
    with writing_to(folder):
        make_folder(run.folder, FIGURES)
        with waiting("drawing figures", quiet=quiet or console.is_terminal):
            for record in track(records, "drawing", console=console, transient=True):
                files += len(draw_trial(record, run.snapshots(record), folder, animate))
    if not quiet:
        Terminal(soft_wrap=True).print(f"{files} figures · {folder}")
