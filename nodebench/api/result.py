"""Results of runs: their records, with tables and plots."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, overload

from nodebench.errors import choose, writing_to
from nodebench.spec import Record, Status, Study
from nodebench.spec.metrics import several
from nodebench.store.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_WIDTH = 160  # characters of a text table
_MOST_COLUMNS = 8  # of a table for a paper
_COSTS = ("nfe_forward", "nfe_backward", "step_seconds", "tensor_peak_bytes", "gradient_error")


class Records(ABC):
    """Records with tables and plots of them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the run or runs that the records belong to."""

    @property
    @abstractmethod
    def records(self) -> Sequence[Record]:
        """One record per trial: axes, status, metrics, costs, history by epoch, environment."""

    def frame(self) -> "pd.DataFrame":
        """The records as a table, one row per trial.

        The columns are the axes of the trial, ``set.NAME`` for each option that was set, ``status``, and every metric
        and cost by its name; seconds, bytes and calls are plain numbers. docs/measures.md defines each one.
        """
        from nodebench.analysis.frame import frame

        return frame(self.records)

    def summary(self) -> "pd.DataFrame":
        """Return the columns that differ between trials, the status and the main metrics."""
        from nodebench.spec.axes import axis_names
        from nodebench.tasks import tasks

        whole = self.frame()
        options = [name for name in whole.columns if name.startswith("set.")]
        axes = [name for name in (*axis_names(without=("overrides",)), *options) if _varies(whole, name)]
        known = [tasks()[name].headlines for name in {one.trial.task for one in self.records} if name in tasks()]
        names = dict.fromkeys([*(name for headlines in known for name in headlines), *_COSTS])
        shown = [name for name in names if name in whole.columns and whole[name].notna().any()]
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
        """Plot one column of ``frame()`` against another, one point for each successful trial.

        If a column is a time, trials with unreliable times are excluded (the machine changed speed, or other trials
        ran on the same cores).

        Args:
            x, y: columns of ``frame()``, for example ``nfe_forward``, ``rtol`` or ``step_seconds``.
            by: the column that sets colour and marker of the points.
            ax: axes to draw on; None for a new figure.

        Raises:
            BadInput: there is no such column, or nothing to draw.
        """
        from nodebench.analysis.fairness import unreliable
        from nodebench.reporting.scatter import scatter
        from nodebench.spec.metrics import METRICS

        whole = self.frame()
        for name in (x, y, by):
            choose("column", name, whole.columns)
        timed = any(METRICS[name].is_time for name in (x, y) if name in METRICS)
        usable = [one.status is Status.OK and unreliable(one, timed) is None for one in self.records]
        return scatter(whole[usable], x, y, by, ax)

    def _repr_html_(self) -> str:
        return f"<p>{self.name}: {len(self.records)} trials</p>{self.summary().to_html(index=False, na_rep='–')}"

    def export(
        self, path: str | Path, *, table: str = "trials", columns: Sequence[str] = (), format: str | None = None
    ) -> Path:
        """Write a table of the records to a file.

        Args:
            path: of the file.
            table: ``trials``, one row per trial; ``history``, one row per epoch; ``profile``, one row for each solver
                setting that a trained network was evaluated with.
            columns: columns to write, in this order; by default all, for LaTeX at most eight main columns.
            format: ``csv``, ``parquet``, ``json`` or ``latex``; None to use the ending of ``path``.

        Raises:
            BadInput: there is no such format, table or column, or the file cannot be written.
        """
        path = Path(path)
        ending = path.suffix.removeprefix(".") or "none"
        content = self.exported(format or ("latex" if ending == "tex" else ending), table, columns)
        with writing_to(path):
            path.write_bytes(content)
        return path

    def exported(self, format: str, table: str = "trials", columns: Sequence[str] = ()) -> bytes:
        """The content of the file that ``export`` writes."""
        from nodebench.analysis.frame import export

        if format == "latex" and table == "trials" and not columns:
            columns = self._main_columns()
        return export(self.frame(), self.records, format, table, columns)

    def croissant(self, file: str, content: bytes, table: str = "trials", columns: Sequence[str] = ()) -> bytes:
        """Metadata of a Parquet file of the records, as MLCommons Croissant 1.0.

        Args:
            file: name of the Parquet file.
            content: content of the file, as returned by ``exported``.
            table: as in ``export``.
            columns: as in ``export``.

        Returns:
            bytes: JSON-LD, to be stored next to the file.
        """
        from nodebench import __version__
        from nodebench.analysis.croissant import croissant
        from nodebench.analysis.frame import table as table_of

        shown = table_of(self.frame(), self.records, table, columns)
        date = max(record.started for record in self.records)
        return croissant(shown, file, content, version=__version__, date=date)

    def _main_columns(self) -> list[str]:
        """Return at most eight columns of the summary; the status is omitted if it is the same in all trials."""
        shown = self.summary()
        same = shown["status"].nunique() < 2
        return [name for name in shown.columns if not (same and name == "status")][:_MOST_COLUMNS]


class Run(Records):
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
        """The study that the run executed."""
        return RunFolder(self.folder).study()

    @cached_property
    def records(self) -> Sequence[Record]:
        """One record per trial: axes, status, metrics, costs, history by epoch, environment."""
        return RunFolder(self.folder).records()

    def report(self, out: str | Path | None = None, *, formats: Sequence[str] = ("html",)) -> Path:
        """Write a page of this run: work-precision plots, training, trajectories and every configuration.

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

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {len(self.records)} trials)"


class Runs(Records, Sequence[Run]):
    """Several runs, with all of their records.

    Args:
        runs: the runs; the records have the same order.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = tuple(runs)

    @property
    def name(self) -> str:
        """Number of runs, as text."""
        return several(len(self), "run")

    @cached_property
    def records(self) -> Sequence[Record]:
        """The records of every run, one run after the other."""
        return [record for run in self._runs for record in run.records]

    def frame(self) -> "pd.DataFrame":
        """The table of ``Run.frame`` for all records, with the column ``run`` in front."""
        found = super().frame()
        found.insert(0, "run", [run.name for run in self._runs for _ in run.records])
        return found

    @overload
    def __getitem__(self, place: int) -> Run: ...

    @overload
    def __getitem__(self, place: slice) -> "Runs": ...

    def __getitem__(self, place: int | slice) -> "Run | Runs":
        return Runs(self._runs[place]) if isinstance(place, slice) else self._runs[place]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"Runs({len(self)}: {len(self.records)} trials)"


def _varies(whole: "pd.DataFrame", name: str) -> bool:
    return name in whole.columns and whole[name].astype(str).nunique() > 1
