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


def run_command(choices: Choices, run_options: RunOptions) -> int:
    """Run new trials or resume an earlier run; return the exit code."""
    if not run_options.resume:
        return execute(choices.study(), run_options)
    refuse_changes(choices.typed_options())
    name = None if run_options.resume == LATEST else run_options.resume
    return resume(RunFolder.open(run_options.execution.results, name), run_options)


def refuse_changes(options: Sequence[str]) -> None:
    """Refuse options given with ``--resume``: only limits and passes of a resumed run can change."""
    if options:
        raise BadInput(f"--resume uses the options of the earlier run: leave out {', '.join(options)}")


def execute(study: Study, run_options: RunOptions) -> int:
    """Make a new run of a study and return the exit code."""
    if run_options.execution.retry_failed:
        raise BadInput("--retry-failed requires --resume")
    return _conclude(run_study(study, run_options.execution, _watching(run_options)), run_options)


def resume(run: RunFolder, run_options: RunOptions) -> int:
    """Resume a run and return the exit code."""
    return _conclude(resume_run(run, run_options.execution, _watching(run_options)), run_options)


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


def _watching(run_options: RunOptions) -> TerminalListener:
    return TerminalListener(json=run_options.json, quiet=run_options.quiet, yes=run_options.yes)


def _conclude(session: Session, run_options: RunOptions) -> int:
    """Print the table, its path and how to resume; save plots; return the exit code."""
    from nodebench.cli.show import print_run

    if not run_options.json:
        print_run(session.run.folder, session.records, whole=False)
    print_resume_hint(session, run_options.execution)
    if run_options.figures:
        from nodebench.cli.figures import draw_figures

        draw_figures(session.run, session.records, animate=False, quiet=run_options.json)
    return exit_code(session)


def _say(text: str) -> None:
    Terminal(stderr=True, soft_wrap=True).print(text)
