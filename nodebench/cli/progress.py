"""What a running command shows: a live display on a terminal, plain lines elsewhere, JSON, or nothing."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from nodebench.spec import Record, Status, Trial

if TYPE_CHECKING:
    from nodebench.run.worker import Progress as Event

_PHASES = {
    "start": "starting",
    "setup": "loading data",
    "timed": "training",
    "memory": "memory",
    "numerics": "numerics",
}


class Display:
    """Shows nothing; the base of the others."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._finished = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def note(self, text: str) -> None:
        """Say something about the whole run."""

    def progress(self, trial: Trial, event: "Event") -> None:
        """A trial reports a phase or an epoch."""

    def finished(self, record: Record) -> None:
        """A trial has ended."""
        self._finished += 1


class JsonDisplay(Display):
    """One record a line on standard output."""

    def finished(self, record: Record) -> None:
        """Print the record."""
        super().finished(record)
        sys.stdout.write(record.line() + "\n")
        sys.stdout.flush()


class PlainDisplay(Display):
    """Plain lines on standard error, for logs."""

    def note(self, text: str) -> None:
        """Print the note."""
        print(text, file=sys.stderr, flush=True)

    def progress(self, trial: Trial, event: "Event") -> None:
        """Print each finished epoch."""
        if event.row is not None and event.row["epoch"]:
            self.note(f"  {describe(trial)}: {describe_epoch(event)}")

    def finished(self, record: Record) -> None:
        """Print how the trial ended."""
        super().finished(record)
        ending = record.status if record.status is Status.OK else f"{record.status}: {record.status.sentence}"
        self.note(
            f"[{self._finished}/{self._trials}] {describe(record.trial)}: {ending}, {record.duration_seconds:.1f} s"
        )


class LiveDisplay(Display):
    """A live display on standard error: the trials, the epochs of the present one, loss, NFE and time left."""

    def __init__(self, trials: int) -> None:
        super().__init__(trials)
        console = Console(stderr=True)
        self._console = console
        shortened = Column(no_wrap=True, overflow="ellipsis")
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=shortened),
            BarColumn(bar_width=6),
            TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True, min_width=34)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("left", table_column=Column(no_wrap=True, min_width=5)),
            console=console,
            transient=True,
        )
        self._all = self._bars.add_task("trials", total=trials, state="", visible=trials > 1)
        self._one = self._bars.add_task("", total=None, state="")
        self._current: str | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        """Print the note above the bars."""
        self._console.print(text, highlight=False)

    def progress(self, trial: Trial, event: "Event") -> None:
        """Move the bar of the present trial."""
        if self._current != trial.id:
            self._current = trial.id
            self._bars.reset(self._one, description=describe(trial), total=None, state=_PHASES["start"])
        if event.row is not None:
            self._bars.update(
                self._one, total=event.epochs, completed=event.row["epoch"] or 0, state=describe_epoch(event)
            )
        elif event.phase != "timed":
            self._bars.update(self._one, state=_PHASES.get(event.phase, event.phase))

    def finished(self, record: Record) -> None:
        """Move the bar of the whole run."""
        super().finished(record)
        self._bars.update(self._all, completed=self._finished, state=f"{self._finished} of {self._trials}")
        if record.status is not Status.OK:
            self.note(f"{describe(record.trial)}: {record.status}")


def make_display(trials: int, *, json: bool, quiet: bool) -> Display:
    """Choose the display that fits the options and the terminal."""
    if json:
        return JsonDisplay(trials)
    if quiet:
        return Display(trials)
    return LiveDisplay(trials) if sys.stderr.isatty() else PlainDisplay(trials)


def describe(trial: Trial) -> str:
    """A trial in a few words."""
    parts = [trial.model]
    if trial.solver:
        parts += [trial.solver, trial.step_label]
    if trial.gradient:
        parts.append(trial.gradient)
    return " ".join([*parts, f"seed {trial.seed}"])


def describe_epoch(event: "Event") -> str:
    """A finished epoch in a few words."""
    row = event.row or {}
    parts = [f"epoch {row.get('epoch') or 0:.0f}/{event.epochs}"]
    if (loss := row.get("loss")) is not None:
        parts.append(f"loss {loss:.3g}")
    forward, backward = row.get("nfe_forward"), row.get("nfe_backward")
    if forward is not None:
        parts.append(f"NFE {forward:.3g}" + (f"+{backward:.3g}" if backward else ""))
    return " ".join(parts)
