"""Running trials and reading runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from nodebench.api.result import Run, Runs
from nodebench.errors import BadInput, choose
from nodebench.running.listener import Display, Listener
from nodebench.running.session import Execution, Session, resume_run
from nodebench.running.session import run_study as run_session
from nodebench.spec import DataSource, Grid, Limits, Pass, Preset, Record, Study, Trial, load_study
from nodebench.spec.grid import replicates, task_or_problem
from nodebench.spec.trial import Scalar
from nodebench.store.run_folder import RunFolder, runs_below

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from nodebench.running.estimate import Costs
    from nodebench.tasks.problem import Problem

Values = Scalar | Sequence[Scalar]


def run(
    task: "str | Problem",
    *,
    options: Mapping[str, Values] | None = None,
    seeds: int | Sequence[int] = 1,
    preset: str = "quick",
    results: str | Path = "results",
    jobs: int | None = None,
    passes: Sequence[str] | None = None,
    timing: bool = True,
    limits: Limits | None = None,
    data: str | Path | None = None,
    download: bool = False,
    progress: bool | Listener = True,
    **axes: Values,
) -> Run:
    """Run the trials of a grid, each in a process of its own, and store their records.

    Example::

        run = nodebench.run("toy/spiral", solver=["dopri5", "rk4"], gradient=["direct", "adjoint"], seeds=3)
        run.plot("nfe_forward", "gradient_error")

    Args:
        task: a name of ``nodebench list tasks``, a ``Problem``, or ``file.py:NAME`` of one.
        options: of the task; several values of one multiply into trials.
        seeds: how many replicates, or their seeds.
        preset: scale of the task: ``smoke``, ``quick`` or ``paper``.
        results: folder in which the run directory is made.
        jobs: trials at once; one by default, since trials that run together spoil each other's times.
        passes: what is measured: ``training``, ``memory``, ``numerics``; all by default.
        timing: whether seconds matter. Without it trials run on all cores, and none runs again because the machine
            changed its speed.
        limits: of each trial.
        data: folder of the full data sets.
        download: whether the loader may fetch the data.
        progress: whether a progress bar is shown, or what shows it.
        axes: fields of ``Trial``, such as ``solver``, ``gradient`` or ``rtol``, each with one value or several;
            ``device`` and ``threads`` take one.

    Returns:
        Run: the records of all trials. A trial that failed has a record that says how.

    Raises:
        BadInput: an axis or a value does not exist, or the combination cannot be run; nothing was written.
        KeyboardInterrupt: the run was interrupted; what was finished is stored.
    """
    for name in axes:
        choose("axis", name, [one for one in Grid.model_fields if one not in _OF_RUN])
    seed = replicates(seeds) if isinstance(seeds, int) else list(seeds)
    name, own = named(task)
    overrides = {**own, **(options or {})}
    chosen = {"task": name, "preset": choose("preset", preset, list(Preset)), "seed": seed, "overrides": overrides}
    try:
        grid = Grid.model_validate({**chosen, **axes})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{first['loc'][0]} = {first['input']!r}: {first['msg'].lower()}") from None
    source = DataSource(folder=Path(data).absolute() if data else None, download=download)
    return _run(Study(groups={"typed": grid}, data=source, timing=timing), results, jobs, passes, limits, progress)


def named(task: "str | Problem") -> tuple[str, dict[str, Scalar]]:
    """The name of a task, and the option that names a problem of the user's own."""
    if isinstance(task, str):
        return task_or_problem(task)
    from nodebench.tasks import live

    return live.TASK, {"problem": live.keep(task)}


# Arguments of ``run`` that have a name of their own there.
_OF_RUN = ("task", "preset", "seed", "overrides", "exclude", "against")


def run_study(
    name: str,
    *,
    preset: str = "quick",
    seeds: int | None = None,
    results: str | Path = "results",
    jobs: int | None = None,
    passes: Sequence[str] | None = None,
    limits: Limits | None = None,
    data: str | Path | None = None,
    progress: bool | Listener = True,
) -> Run:
    """Run a study that comes with nodebench, or that of a ``.toml`` file.

    Args:
        name: a name of ``nodebench study list``, or the path of a file.
        preset: scale of its tasks.
        seeds: replicates, in place of those that the study asks for.
        results, jobs, passes, limits, data, progress: as in ``run``.
    """
    study = load_study(name, Preset(choose("preset", preset, list(Preset))))
    if seeds is not None:
        groups = {key: grid.model_copy(update={"seed": replicates(seeds)}) for key, grid in study.groups.items()}
        study = study.model_copy(update={"groups": groups})
    if data is not None:
        study = study.model_copy(update={"data": DataSource(folder=Path(data).absolute())})
    return _run(study, results, jobs, passes, limits, progress)


def load(name: str | Path | None = None, *, results: str | Path = "results") -> Run:
    """Read a run.

    Args:
        name: of the run, or the path of its directory; None for the latest one.
        results: folder in which runs are kept.

    Raises:
        BadInput: there is none.
    """
    return Run(RunFolder.open(Path(results), None if name is None else str(name)).folder)


def load_runs(folder: str | Path = "results") -> Runs:
    """Read every run in a folder and in the folders below it.

    Raises:
        BadInput: there is none.
    """
    return Runs([Run(run.folder) for run in runs_below(Path(folder))])


def resume(run: Run, *, retry_failed: bool = False, jobs: int | None = None, progress: bool | Listener = True) -> Run:
    """Run the trials that a run lacks, because it was interrupted, and return it with all records."""
    how = Execution(run.folder.parent, retry_failed=retry_failed, jobs=jobs)
    return _ended(resume_run(RunFolder(run.folder), how, listener(progress)))


def _run(
    study: Study,
    results: str | Path,
    jobs: int | None,
    passes: Sequence[str] | None,
    limits: Limits | None,
    progress: bool | Listener,
) -> Run:
    measured = None if passes is None else tuple(Pass(choose("pass", name, list(Pass))) for name in passes)
    how = Execution(Path(results), jobs=jobs, limits=limits or Limits(), passes=measured)
    return _ended(run_session(study, how, listener(progress)))


def _ended(session: Session) -> Run:
    if session.failure:
        raise BadInput(f"{session.failure}; {session.finished} of {session.planned} trials are kept")
    if session.stopped:
        raise KeyboardInterrupt(f"{session.finished} of {session.planned} trials are kept in {session.run.folder}")
    return Run(session.run.folder)


def listener(progress: bool | Listener) -> Listener:
    """What shows the progress of trials."""
    if isinstance(progress, Listener):
        return progress
    return _Bar() if progress else Listener()


class _Bar(Listener):
    """Shows one progress bar, in a terminal or a notebook."""

    @contextmanager
    def display(self, trials: Sequence[Trial], costs: "Costs") -> Iterator[Display]:
        """Show how many trials have ended."""
        from rich.progress import Progress

        with Progress(transient=True) as bar:
            yield _Count(bar, bar.add_task("trials", total=len(trials)))


class _Count(Display):
    """Moves a bar on as trials end."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self._bar, self._task = bar, task

    def finished(self, record: Record) -> None:
        """Count it."""
        self._bar.advance(self._task)
