"""A run as a value: its records, and tables and plots of them."""

from collections.abc import Sequence
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from nodebench.errors import choose
from nodebench.spec import Record, Status, Study
from nodebench.store.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_WIDTH = 160  # characters of a text table
_COSTS = ("nfe_forward", "nfe_backward", "step_seconds", "tensor_peak_bytes", "gradient_error")


class Run:
    """The records of one run.

    Attributes:
        folder: the run directory, with ``study.toml``, ``environment.json`` and ``records.jsonl``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The name of the run directory."""
        return self.folder.name

    @property
    def study(self) -> Study:
        """What the run was made from."""
        return RunFolder(self.folder).study()

    @cached_property
    def records(self) -> Sequence[Record]:
        """One record a trial: axes, status, metrics, costs, history by epoch, environment."""
        return RunFolder(self.folder).records()

    def frame(self) -> "pd.DataFrame":
        """The records as a table, one row a trial.

        The columns are the axes of the trial, ``set.NAME`` for each option that was set, ``status``, and every metric
        and cost by its name; seconds, bytes and calls are plain numbers. docs/measures.md defines each one.
        """
        from nodebench.analysis.frame import frame

        return frame(self.records)

    def summary(self) -> "pd.DataFrame":
        """The columns that tell the trials apart, how each ended, and its main figures."""
        from nodebench.spec.axes import axis_names
        from nodebench.tasks import tasks

        whole = self.frame()
        options = [name for name in whole.columns if name.startswith("set.")]
        axes = [name for name in (*axis_names(without=("overrides",)), *options) if _varies(whole, name)]
        known = [tasks()[name].headlines for name in {one.trial.task for one in self.records} if name in tasks()]
        figures = dict.fromkeys([*(name for names in known for name in names), *_COSTS])
        shown = [name for name in figures if name in whole.columns and whole[name].notna().any()]
        return whole[[*axes, "status", *shown]]

    def table(self) -> str:
        """The table that ``nodebench show`` prints."""
        from rich.console import Console

        from nodebench.reporting.tables import run_table
        from nodebench.tasks import tasks

        console = Console(file=StringIO(), width=_WIDTH, markup=False, emoji=False)
        headlines = {name: task.headlines for name, task in tasks().items()}
        console.print(run_table(self.records, headlines, console))
        text = console.file
        assert isinstance(text, StringIO)
        return text.getvalue()

    def plot(self, x: str, y: str, *, by: str = "solver", ax: "Axes | None" = None) -> "Axes":
        """Plot one column of ``frame()`` against another, a point for each trial that ended well.

        Where a column is a time, trials whose times may not be used (the machine changed speed, or others ran on the
        same cores) are left out.

        Args:
            x, y: columns of ``frame()``: ``nfe_forward``, ``rtol``, ``step_seconds``.
            by: the column that colours and marks the points.
            ax: where to draw; a new figure where it is None.

        Raises:
            BadInput: there is no such column, or nothing to draw.
        """
        from nodebench.analysis.fairness import unreliable
        from nodebench.reporting.scatter import scatter
        from nodebench.spec.figures import FIGURES

        whole = self.frame()
        for name in (x, y, by):
            choose("column", name, whole.columns)
        timed = any(FIGURES[name].is_time for name in (x, y) if name in FIGURES)
        usable = [one.status is Status.OK and unreliable(one, timed) is None for one in self.records]
        return scatter(whole[usable], x, y, by, ax)

    def report(self, out: str | Path | None = None, *, formats: Sequence[str] = ("html",)) -> Path:
        """Write a page of this run: work-precision plots, training, pictures and every configuration.

        Args:
            out: folder to write; None for ``report`` in the run directory.
            formats: ``html``, ``md``, ``latex``, ``csv``.

        Returns:
            Path: the page.

        Raises:
            BadInput: there is no record, a format does not exist, or a file cannot be written.
        """
        from nodebench.api.report import report_run

        return report_run(RunFolder(self.folder), None if out is None else Path(out), formats)

    def _repr_html_(self) -> str:
        return f"<p>{self.name}: {len(self.records)} trials</p>{self.summary().to_html(index=False, na_rep='–')}"

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {len(self.records)} trials)"


def _varies(whole: "pd.DataFrame", name: str) -> bool:
    return name in whole.columns and whole[name].astype(str).nunique() > 1
