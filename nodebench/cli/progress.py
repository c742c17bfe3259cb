"""What a running command shows: a live display on a terminal, plain lines elsewhere, JSON, or nothing."""

import sys
import threading
import time
from collections.abc import Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from nodebench.cli.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from nodebench.cli.terminal import Terminal, print_plain, print_record
from nodebench.running.estimate import Costs, Estimate, estimate
from nodebench.running.listener import Display as SilentDisplay
from nodebench.spec import Record, Status, Trial
from nodebench.spec.axes import AXES, UNLABELLED, Part, axis_names

if TYPE_CHECKING:
    from nodebench.trial.worker import Progress as Event

_PHASES = {
    "start": "starting",
    "setup": "setting up",
    "timed": "training",
    "memory": "memory",
    "numerics": "numerics",
    "interleaved": "interleaved timing",
}
SLOWEST = 3
# With more trials than this, print one line per trial and none per epoch.
FOLLOWED = 20
# Seconds between two estimates of the time left: an estimate for a thousand trials takes milliseconds.
FORESEE_SECONDS = 2.0


class Display(SilentDisplay):
    """Base class of the displays. Shows nothing, but counts trials and estimates the time left."""

    def __init__(self, trials: Sequence[Trial], costs: Costs) -> None:
        self._total = len(trials)
        self._tells_task = len({trial.task for trial in trials}) > 1
        others = (*axis_names(Part.PROBLEM, Part.EXECUTION, without=("task", "model", "overrides")), *UNLABELLED)
        self._varying = [name for name in others if len({getattr(trial, name) for trial in trials}) > 1]
        self._costs = costs
        self._left = {trial.id: trial for trial in trials}
        self._running: dict[str, float] = {}  # start time by trial id
        self._at_once = 1
        self._finished = self._failed = 0
        self._slow: dict[str, list[float]] = {}
        self._foreseen = Estimate(0.0, 0, 0, 0)
        self._foreseen_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def note(self, text: str) -> None:
        """Show a message about the whole run."""

    def progress(self, trial: Trial, event: "Event") -> None:
        """Process an event of a trial: a phase, an epoch, or a notice for the user."""
        if event.notice:
            self.note(f"  {self.describe(trial)}: {event.notice}")
        self._running.setdefault(trial.id, time.monotonic())
        self._at_once = max(self._at_once, len(self._running))

    def finished(self, record: Record) -> None:
        """Process the end of a trial."""
        self._running.pop(record.id, None)
        self._left.pop(record.id, None)
        self._costs.add(record)
        self._finished += 1
        self._failed += record.status not in (Status.OK, Status.INTERRUPTED)
        self._slow.setdefault(self.configuration(record.trial), []).append(record.duration_seconds)

    def configuration(self, trial: Trial) -> str:
        """Return a short label of a trial without its seed; it names the task only if there are several."""
        parts = [trial.task, trial.model] if self._tells_task else [trial.model]
        if trial.solver:
            parts += [trial.solver_label, trial.step_label]
        if trial.gradient:
            parts.append(trial.gradient_label)
        values = {name: getattr(trial, name) for name in self._varying}
        parts += [f"{AXES[name].label} {value}" for name, value in values.items() if value is not None]
        return " ".join([*parts, *(f"{name}={value}" for name, value in trial.overrides.items())])

    def describe(self, trial: Trial) -> str:
        """Return a short label of a trial, with its seed."""
        return f"{self.configuration(trial)} seed {trial.seed}"

    def seconds_left(self) -> float | None:
        """Estimate the seconds left from the costs of similar trials; None if nothing is known yet."""
        now = time.monotonic()
        if now > self._foreseen_at + FORESEE_SECONDS:
            self._foreseen, self._foreseen_at = estimate(self._left.values(), self._costs), now
        seconds = self._foreseen.seconds
        if self._left and not self._foreseen.known + self._foreseen.guessed:  # no similar trial: take this run's mean
            if not self._slow:
                return None
            seconds = len(self._left) * fmean(took for every in self._slow.values() for took in every)
        gone = sum(now - since for since in self._running.values())
        return max(0.0, seconds - gone) / self._at_once

    def slowest(self) -> list[tuple[str, float]]:
        """The configurations that took longest, with the median of their seconds."""
        medians = {name: median(seconds) for name, seconds in self._slow.items()}
        return sorted(medians.items(), key=lambda item: -item[1])[:SLOWEST]


class JsonDisplay(Display):
    """Prints one record per line, as JSON, on standard output."""

    def finished(self, record: Record) -> None:
        """Print the record."""
        super().finished(record)
        print_record(record.line())


class PlainDisplay(Display):
    """Prints plain lines on standard error, for logs; at least one every ``HEARTBEAT_SECONDS``."""

    def __init__(self, trials: Sequence[Trial], costs: Costs) -> None:
        super().__init__(trials, costs)
        self._lock = threading.RLock()  # the heartbeat reads the counts in a thread of its own
        self._states: dict[str, str] = {}  # of running trials
        self._heartbeat = Heartbeat(self._alive, HEARTBEAT_SECONDS)

    def __enter__(self) -> Self:
        self._heartbeat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._heartbeat.stop()

    def note(self, text: str) -> None:
        """Print the note."""
        self._heartbeat.reset()
        print_plain(text, stderr=True)

    def progress(self, trial: Trial, event: "Event") -> None:
        """Print each finished epoch, unless there are more than ``FOLLOWED`` trials."""
        with self._lock:
            super().progress(trial, event)
            has_loss = event.row is not None and event.row.get("loss") is not None
            state = describe_epoch(event) if has_loss else _PHASES.get(event.phase, event.phase)
            self._states[trial.id] = f"{self.describe(trial)}: {state}"
            if has_loss and self._total <= FOLLOWED:
                self.note(f"  {self._states[trial.id]}")

    def finished(self, record: Record) -> None:
        """Print the status of the trial and the time left."""
        with self._lock:
            super().finished(record)
            self._states.pop(record.id, None)
            ending = record.status if record.status is Status.OK else f"{record.status}: {record.status.sentence}"
            left = self.seconds_left()
            rest = f", {duration(left)} left" if left and self._finished < self._total else ""
            took = f"{record.duration_seconds:.1f} s"
            self.note(f"[{self._finished}/{self._total}] {self.describe(record.trial)}: {ending}, {took}{rest}")

    def _alive(self) -> str:
        """The state of the run in one line."""
        with self._lock:
            now = time.monotonic()
            longest = next(iter(self._running), None)  # the one that began first
            if longest is None:
                state = "no trial running"
            else:
                state = f"{self._states[longest]}, for {duration(now - self._running[longest])}"
                state += f", and {len(self._running) - 1} more" if len(self._running) > 1 else ""
            left = self.seconds_left()
            rest = f", {duration(left)} left" if left else ""
            return f"  {self._finished} of {self._total} done; {state}{rest}"


class LiveDisplay(Display):
    """A live display on standard error: the run, each running trial (epoch, loss, NFE), the slowest ones."""

    def __init__(self, trials: Sequence[Trial], costs: Costs) -> None:
        super().__init__(trials, costs)
        self._console = Terminal(stderr=True, highlight=True)
        shortened = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=shortened),
            BarColumn(bar_width=6),
            TextColumn("{task.fields[state]}", markup=False, table_column=Column(no_wrap=True, min_width=34)),
            console=self._console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [self._bars]
        if self._total > 1:
            parts.insert(0, Text(self.summary()))
        if slow := [f"{name} {duration(seconds)}" for name, seconds in self.slowest() if self._total > SLOWEST]:
            parts.append(Text(f"slowest: {'; '.join(slow)}", style="dim", overflow="ellipsis", no_wrap=True))
        return Group(*parts)

    def summary(self) -> str:
        """Return the state of the whole run in one line."""
        left = self.seconds_left()
        parts = [f"{self._finished} of {self._total} done"]
        parts += [f"{self._failed} failed"] if self._failed else []
        return " · ".join([*parts, "time left unknown" if left is None else f"about {duration(left)} left"])

    def note(self, text: str) -> None:
        """Print the note above the bars."""
        self._console.print(text, highlight=False)

    def progress(self, trial: Trial, event: "Event") -> None:
        """Update the bar of a running trial."""
        super().progress(trial, event)
        if trial.id not in self._tasks:
            self._tasks[trial.id] = self._bars.add_task(self.describe(trial), total=None, state=_PHASES["start"])
        task = self._tasks[trial.id]
        if event.row is not None:
            self._bars.update(task, total=event.epochs, completed=event.row["epoch"] or 0, state=describe_epoch(event))
        elif event.phase != "timed":
            self._bars.update(task, state=_PHASES.get(event.phase, event.phase))

    def finished(self, record: Record) -> None:
        """Remove the bar of the trial."""
        super().finished(record)
        if (task := self._tasks.pop(record.id, None)) is not None:
            self._bars.remove_task(task)
        if record.status is not Status.OK:
            self.note(f"{self.describe(record.trial)}: {record.status}")


def make_display(trials: Sequence[Trial], costs: Costs, *, json: bool, quiet: bool) -> Display:
    """Choose the display that fits the options and the terminal."""
    if json:
        return JsonDisplay(trials, costs)
    if quiet:
        return Display(trials, costs)
    return LiveDisplay(trials, costs) if sys.stderr.isatty() else PlainDisplay(trials, costs)


def describe_epoch(event: "Event") -> str:
    """Return a short description of a finished epoch."""
    row = event.row or {}
    parts = [f"epoch {row.get('epoch') or 0:.0f}/{event.epochs}"]
    if (loss := row.get("loss")) is not None:
        parts.append(f"loss {loss:.3g}")
    forward, backward = row.get("nfe_forward"), row.get("nfe_backward")
    if forward is not None:
        parts.append(f"NFE {forward:.3g}" + (f"+{backward:.3g}" if backward else ""))
    return " ".join(parts)


def duration(seconds: float) -> str:
    """Format seconds as seconds, minutes or hours, depending on their size."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
