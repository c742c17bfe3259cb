"""Start or resume a run from the command line, show its progress and print its table."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebench.cli.exit_codes import INTERRUPTED, LATEST, OK, RUN_ABORTED, TRIAL_FAILED
from nodebench.cli.heartbeat import waiting
from nodebench.cli.interrupt import ctrl_c, interruptible
from nodebench.cli.progress import Display, make_display
from nodebench.cli.run_arguments import Choices
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput
from nodebench.running.estimate import Costs
from nodebench.running.listener import Listener
from nodebench.running.session import Execution, Session, resume_run, run_study
from nodebench.spec import Status, Study, Trial
from nodebench.store.run_folder import RunFolder

if TYPE_CHECKING:
    from nodebench.running.threads import ThreadChoice


@dataclass(frozen=True)
class RunOptions:
    """Execution and output options of a run.

    Attributes:
        execution: execution options.
        resume: the run to resume; None for a new one.
        json, quiet, figures: what is printed and plotted.
        yes: whether a large run starts without asking.
    """

    execution: Execution
    resume: str | None = None
    json: bool = False
    quiet: bool = False
    figures: bool = False
    yes: bool = False


class TerminalListener(Listener):
    """Shows a session on the terminal.

    Args:
        json, quiet, yes: as in ``RunOptions``.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, yes: bool = False) -> None:
        self._json, self._quiet, self._yes = json, quiet, yes
        self.received: list[int] = []  # signals

    def planning(self) -> AbstractContextManager[object]:
        """Print a status line at intervals."""
        return waiting("planning the trials", quiet=self._quiet)

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Print a status line at intervals. Ctrl-C cancels the connection and cleans up."""
        with interruptible(), waiting("connecting to the workers", quiet=self._quiet):
            yield

    def threads_chosen(self, choice: "ThreadChoice") -> None:
        """Print the choice."""
        if not (self._quiet or self._json):
            _say(f"threads of a trial: {choice.threads} ({choice.because}); --threads N sets another number")

    def data_read(self, summary: str) -> None:
        """Print the summary of the user's data."""
        if not (self._quiet or self._json):
            _say(summary)

    def allow(self, trials: Sequence[Trial], costs: Costs, at_once: int) -> None:
        """Ask whether a large run may start."""
        from nodebench.cli.confirm import confirm

        confirm(trials, costs, at_once, yes=self._yes)

    def display(self, trials: Sequence[Trial], costs: Costs) -> Display:
        """Return the progress display that the options select."""
        return make_display(trials, costs, json=self._json, quiet=self._quiet)

    @contextmanager
    def interruption(self, stop: Callable[[], None]) -> Iterator[list[int]]:
        """Stop on Ctrl-C and on SIGTERM."""
        with ctrl_c(stop) as self.received:
            yield self.received


def run_command(choices: Choices, manner: RunOptions) -> int:
    """Run new trials or resume an earlier run; return the exit code."""
    if not manner.resume:
        return execute(choices.study(), manner)
    refuse_changes(choices.typed_options())
    return resume(RunFolder.open(manner.execution.results, None if manner.resume == LATEST else manner.resume), manner)


def refuse_changes(options: Sequence[str]) -> None:
    """Refuse options given with ``--resume``: only limits and passes of a resumed run can change."""
    if options:
        raise BadInput(f"--resume uses the options of the earlier run: leave out {', '.join(options)}")


def execute(study: Study, manner: RunOptions) -> int:
    """Make a new run of a study and return the exit code."""
    if manner.execution.retry_failed:
        raise BadInput("--retry-failed requires --resume")
    return _conclude(run_study(study, manner.execution, _watching(manner)), manner)


def resume(run: RunFolder, manner: RunOptions) -> int:
    """Resume a run and return the exit code."""
    return _conclude(resume_run(run, manner.execution, _watching(manner)), manner)


def exit_code(session: Session) -> int:
    """The exit code of a command that has run a session."""
    if session.failure:
        return RUN_ABORTED
    if session.stopped:
        return INTERRUPTED
    return OK if all(record.status is Status.OK for record in session.records) else TRIAL_FAILED


def print_resume_hint(session: Session, execution: Execution) -> None:
    """Print the resume command and the number of finished trials if the session ended early.

    Otherwise, if trials failed, print the command that runs these again.
    """
    typed = execution.limits.model_dump(exclude_none=True).items()
    options = "".join(f" {_OPTIONS[name].format(value)}" for name, value in typed)
    every = execution.checkpoint_every
    options += "" if every is None else f" --checkpoint-every {every:g}"
    options += f" --passes {','.join(execution.passes)}" if execution.passes else ""
    folder = session.run.folder
    command = f"nodebench run --results {shlex.quote(str(folder.parent))} --resume {shlex.quote(folder.name)}{options}"
    kept = f"{session.finished} of {session.planned} trials are finished and kept"
    if session.failure:
        _say(f"nodebench: {session.failure}. {kept}. Resume with:\n  {command}")
    elif session.stopped:
        _say(f"Interrupted: {kept}. Resume with:\n  {command}")
    elif exit_code(session) != OK:
        _say(f"Run the failed trials again with:\n  {command} --retry-failed")


_OPTIONS = {"timeout": "--timeout {}", "max_nfe": "--max-nfe {}", "memory": "--memory-limit {}B"}


def _watching(manner: RunOptions) -> TerminalListener:
    return TerminalListener(json=manner.json, quiet=manner.quiet, yes=manner.yes)


def _conclude(session: Session, manner: RunOptions) -> int:
    """Print the table, its path and how to resume; save plots; return the exit code."""
    from nodebench.cli.show import print_run

    if not manner.json:
        print_run(session.run.folder, session.records, whole=False)
    print_resume_hint(session, manner.execution)
    if manner.figures:
        from nodebench.cli.figures import draw_figures

        draw_figures(session.run, session.records, animate=False, quiet=manner.json)
    return exit_code(session)


def _say(text: str) -> None:
    Terminal(stderr=True, soft_wrap=True).print(text)
