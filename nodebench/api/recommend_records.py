"""Records for a recommendation: measured now, or selected from stored runs."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodebench.analysis.recommend import Options, Present, Problem, by_machine, problems
from nodebench.errors import BadInput, at_least, choose
from nodebench.running.listener import Listener
from nodebench.running.pilot import longest_solve
from nodebench.running.session import Execution, Session, run_study
from nodebench.spec import DataSource, Gradient, Grid, Preset, Record, Study
from nodebench.spec import Limits as Budgets
from nodebench.spec.grid import replicates
from nodebench.spec.metrics import several
from nodebench.spec.study import RECOMMEND
from nodebench.spec.trial import EVERY_DTYPE, Scalar
from nodebench.store.run_folder import every_run_below

if TYPE_CHECKING:
    from nodebench.tasks import Task

_log = logging.getLogger(__name__)

# Default solvers to measure; a solver is skipped if its library is not installed.
_SOLVERS = ("dopri5", "rk4", "midpoint", "euler", "torchode:tsit5", "diffrax:tsit5")
_GRADIENTS = {
    "diffrax:tsit5": (Gradient.CHECKPOINT,),
    "rk4": (Gradient.DIRECT, Gradient.ADJOINT, Gradient.ACA, Gradient.SYMPLECTIC, Gradient.REVERSIBLE),
    "torchode:tsit5": (Gradient.DIRECT,),
    "midpoint": (Gradient.DIRECT, Gradient.ADJOINT),
    "euler": (Gradient.DIRECT, Gradient.ADJOINT),
}
# Steps per solve: powers of two, so that a whole number of steps fills the time span exactly.
_STEPS = {"rk4": (4, 8, 16, 32), "midpoint": (16, 64), "euler": (32, 128)}
_OTHER_STEPS = (8, 32)  # for other fixed-step methods
_MOST_TIMES = 8  # largest factor on the step counts if there are many output times
_RTOL = (1e-3, 1e-4, 1e-5, 1e-6)
OF_USER = "own"  # name of the data set that is the user's file
OWN = "field"  # name of the task for the user's own vector field
LIMITS = Budgets(timeout=300.0)  # of one trial
_NAMED_RUNS = 3  # most runs that ``basis`` names


@dataclass(frozen=True)
class Asked:
    """The problem for which a recommendation is requested.

    Attributes:
        task: name of the task; empty for the user's own vector field.
        field: ``MODULE:CLASS`` of the user's own vector field; empty for a task.
        state_shape: shape of one sample of the field's state: ``64`` or ``1,28,28``.
        model: a model of the task; empty for its first one.
        options: options of the task that differ from its defaults.
        device: device on which new trials run.
        threads: CPU threads of a trial; None for any number.
        data: file or folder of the data; None if there is none.
        steps: steps per solve of fixed-step solvers in new trials; empty for those of ``_STEPS``.
        dataset: a data set of the task; empty for any.
        dtype: floating-point format; empty for any, and in new trials for float32.
    """

    task: str = ""
    field: str = ""
    state_shape: str = ""
    model: str = ""
    options: Mapping[str, Sequence[Scalar]] = dataclasses.field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    data: Path | None = None
    steps: Sequence[int] = ()
    dataset: str = ""
    dtype: str = ""

    @property
    def source(self) -> DataSource:
        """Location of the data."""
        return DataSource(folder=self.data.absolute() if self.data else None)

    @property
    def again(self) -> str:
        """The command that measures this problem."""
        parts = ["--field", self.field, "--state-shape", self.state_shape] if self.field else ["--task", self.task]
        named = {"dataset": self.dataset, "model": self.model, "dtype": self.dtype, "data": self.data or ""}
        parts += [word for name, value in named.items() if value for word in (f"--{name}", str(value))]
        return " ".join(
            [
                "nodebench recommend",
                *parts,
                *(f"--set {name}={value}" for name, values in self.options.items() for value in values),
                "--measure",
            ]
        )

    @property
    def given(self) -> dict[str, list[Scalar]]:
        """The task's options that differ from its defaults."""
        own: dict[str, list[Scalar]] = {"field": [self.field], "state_shape": [self.state_shape]} if self.field else {}
        return own | {name: list(values) for name, values in self.options.items()}

    @property
    def wanted(self) -> dict[str, Scalar | None]:
        """The axes and options of the problem, in the form in which records store them."""
        from nodebench.tasks import find_task
        from nodebench.trial.options import options_with

        given = {name: values[0] for name, values in self.given.items()}
        options = options_with(find_task(self.task), Preset.QUICK, given)
        axes = {name: getattr(self, name) or None for name in ("task", "dataset", "model", "dtype", "threads")}
        return axes | {name: getattr(options, name) for name in given}


@dataclass(frozen=True)
class Found:
    """Measured or stored records for a recommendation.

    Attributes:
        by_run: the records of each run, by the name of the run.
        session: the session that measured the records; None for stored records.
        unmeasured: number of candidates that were not measured because the time ran out.
    """

    by_run: Mapping[str, Sequence[Record]]
    session: Session | None = None
    unmeasured: int = 0


def with_task(asked: Asked) -> Asked:
    """Return the request with the full name of its task.

    Raises:
        BadInput: there is no such task, data set or format, or the request does not specify a problem.
    """
    if asked.field and asked.task not in ("", OWN):
        raise BadInput(f"--field defines its own problem: leave out --task {asked.task}")
    if asked.field and not asked.state_shape:
        raise BadInput("--field needs --state-shape, the shape of one sample: --state-shape 64")
    if not asked.field and not asked.task:
        raise BadInput("no problem given: use --task, or --field with --state-shape")
    from nodebench.tasks import find_task

    task = find_task(OWN if asked.field else asked.task)
    if asked.dataset and not task.datasets:
        raise BadInput(f"task {task.name} makes its own data: leave out --dataset {asked.dataset}")
    if asked.dataset:
        choose(f"data set of task {task.name}", asked.dataset, task.datasets)
    if asked.dtype:
        choose("dtype", asked.dtype, EVERY_DTYPE)
    return replace(asked, task=task.name)


def measured(asked: Asked, solvers: Sequence[str], seeds: int, results: Path, listener: Listener) -> Found:
    """Run short trials of all candidates.

    A trial during which the machine's speed changes is run up to three times in all, by default.

    Args:
        asked: the problem.
        solvers: names; empty for those of ``_SOLVERS`` that are installed.
        seeds: replicates.
        results: where the run is kept.
        listener: shows the progress.
    """
    session = run_study(study_of(asked, solvers, seeds), Execution(results, limits=LIMITS), listener)
    return Found({session.run.folder.name: session.records}, session)


def study_of(asked: Asked, solvers: Sequence[str], seeds: int) -> Study:
    """Return the study of all candidates; see ``measured``."""
    at_least(1, threads=asked.threads, steps=min(asked.steps, default=None))
    return Study(name=RECOMMEND, groups=dict(_grids(asked, solvers, seeds)), data=asked.source)


def kept(results: Path) -> Found:
    """The records of every run below a folder."""
    runs = every_run_below(results)
    return Found({run.folder.name: run.records() for run in runs})


def matching(asked: Asked, found: Found, machine: str, results: Path) -> list[Problem]:
    """Return the problems in the records of one machine that match the request, best match first.

    Args:
        asked: the requested problem.
        found: the records.
        machine: part of the name of the machine on which they were measured; empty for this machine.
        results: folder of the records, for error messages.

    Raises:
        BadInput: no problem matches.
    """
    from nodebench.tasks import find_task

    sha256 = _sha256(asked)
    every = (record for some in found.by_run.values() for record in some)
    records = [one for one in every if sha256 is None or (one.data is not None and one.data.sha256 == sha256)]
    candidates = problems(records, asked.wanted, _present(find_task(asked.task)))
    if find_task(asked.task).runs_user_code and found.session is None:
        candidates = _of_present_code(candidates)
    if not candidates:
        raise BadInput(f"no record of this problem under {results}. Measure it: {asked.again}")
    known = by_machine(problem.records[0] for problem in candidates)
    name = _named(machine, known) if machine else _this(known, asked)
    return [problem for problem in candidates if problem.records[0] in known[name]]


def _sha256(asked: Asked) -> str | None:
    """Return the hash of the user's current data; None for a task that has its own data.

    Raises:
        BadInput: the task needs user data, and they are missing or cannot be read.
    """
    from nodebench.tasks import data_card_of, dataset_of, find_task
    from nodebench.trial.options import options_with

    task = find_task(asked.task)
    if asked.data is None and OF_USER not in task.datasets:
        return None
    if not task.datasets:
        raise BadInput(f"task {task.name} makes its own data: leave out --data")
    options = options_with(task, Preset.QUICK, {name: values[0] for name, values in asked.given.items()})
    dataset = dataset_of(task, asked.dataset or None, asked.source, Preset.QUICK)
    card = data_card_of(task, dataset, options, asked.source)
    return card.sha256 if card else None


def _present(task: "Task") -> Present:
    """Return the current options of a task; a task without the preset ``quick`` has no defaults."""
    from nodebench.trial.options import described

    preset = task.presets.get(Preset.QUICK)
    neutral = described(task, task.options.model_construct(), "json")
    return Present({} if preset is None else described(task, preset, "json"), neutral, task.brief)


def _of_present_code(found: Sequence[Problem]) -> list[Problem]:
    """Leave out records that were made before the user changed the code."""
    from nodebench.running.user_code import of_present_code

    kept = [replace(one, records=of_present_code(one.records, LIMITS)) for one in found]
    if left_out := sum(len(one.records) for one in found) - sum(len(one.records) for one in kept):
        reason = "excluded: made with different code of this field, or before records stored its code"
        _log.warning("%s %s", several(left_out, "record"), reason)
    return [one for one in kept if one.records]


def _named(machine: str, known: Mapping[str, Sequence[Record]]) -> str:
    """Return the one known machine whose name contains ``machine``."""
    names = [name for name in known if machine.lower() in name.lower()]
    names = [name for name in names if name.lower() == machine.lower()] or names
    if len(names) != 1:
        several = "no machine matches" if not names else f"{len(names)} machines match"
        raise BadInput(f"--machine '{machine}': {several}. Known: {_quoted(known)}")
    return names[0]


def _this(known: Mapping[str, Sequence[Record]], asked: Asked) -> str:
    """Return the known machine that has the CPU and the accelerator of this machine."""
    from nodebench.instruments.environment import accelerators, describe_environment

    cpu, present = describe_environment()["cpu"], set(accelerators().values())
    for name, records in known.items():
        environment = records[0].environment
        accelerator = (environment.get("accelerator") or {}).get("name")
        if environment.get("cpu") == cpu and (accelerator is None or accelerator in present):
            return name
    raise BadInput(
        f"no record of this problem is from this machine ({cpu}). Use --machine to select another machine: "
        f"{_quoted(known)}. Or measure it here: {asked.again}"
    )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def basis(problem: Problem, found: Found) -> str:
    """Return the data behind a recommendation in one sentence: records, replicates, runs, machine, preset, options."""
    ours = {(record.id, record.started) for record in problem.records}
    runs = [name for name, some in found.by_run.items() if any((one.id, one.started) in ours for one in some)]
    more = f" and {len(runs) - _NAMED_RUNS} more" if len(runs) > _NAMED_RUNS else ""
    (machine,) = by_machine(problem.records)
    trial = problem.records[0].trial
    options = ", ".join(
        f"{name}={value}" + ("" if name in trial.overrides else f" where the preset now has {now}")
        for name, (value, now) in problem.differing.items()
    )
    which = problem.options.value + (f" ({options})" if options and problem.options is not Options.DEFAULT else "")
    seeds = len({record.trial.seed for record in problem.records})
    return (
        f"Based on {len(problem.records)} records (n = {seeds}) of {', '.join(runs[:_NAMED_RUNS])}{more}: "
        f"{machine}, preset {trial.preset}, {which}."
    )


def _grids(asked: Asked, solvers: Sequence[str], seeds: int) -> Iterator[tuple[str, Grid]]:
    from nodebench.solvers import find_solver
    from nodebench.tasks import find_task

    task = find_task(asked.task)
    model = choose(f"model of task {task.name}", asked.model or next(iter(task.models)), task.models)
    brief: dict[str, list[Scalar]] = {name: [value] for name, value in task.brief.items()}
    shared: dict[str, Any] = {
        "task": task.name,
        "model": [model],
        "seed": replicates(seeds),
        "overrides": brief | asked.given,
        "device": asked.device,
        "threads": asked.threads,
        **({"dataset": [asked.dataset]} if asked.dataset else {}),
        **({"dtype": [asked.dtype]} if asked.dtype else {}),
    }
    names = list(solvers) or _installed()
    fixed = [name for name in names if not find_solver(name)[2].adaptive]
    longest = longest_solve(Grid(solver=["dopri5"], **shared | {"seed": [0]}), asked.source, LIMITS) if fixed else None
    for name in names:
        adapter, _, method = find_solver(name)
        # A fixed-step solver of ``_STEPS`` that the user named is tried with all gradient methods.
        tried = Gradient if solvers and name in _STEPS else _GRADIENTS.get(name, Gradient)
        possible = task.models[model].gradients & adapter.gradients & set(tried)
        if not method.adaptive:
            possible -= {Gradient.ADJOINT_SEMINORM}  # there is no error norm
        grid = Grid(
            solver=[name],
            gradient=[gradient for gradient in Gradient if gradient in possible],
            rtol=list(_RTOL) if method.has_tolerance else [],
            **shared,
        )
        label = name.replace(":", "-")
        if method.adaptive or longest is None:
            yield label, grid
            continue
        span, intervals = longest
        counts = asked.steps or _counts(name, intervals if task.step_size is None else 1)
        yield label, grid.model_copy(update={"step_size": [span / count for count in counts]})
        if task.step_size is None and not asked.steps and name == fixed[0]:
            yield f"{label}-outputs", grid


def _counts(solver: str, intervals: int) -> list[int]:
    """Return the numbers of steps to try; they grow with the number of outputs, which indicates the time scale."""
    counts = _STEPS.get(solver, _OTHER_STEPS)
    times = 1
    while times < _MOST_TIMES and times * _STEPS["rk4"][0] < intervals:
        times *= 2
    return [times * count for count in counts]


def _installed() -> list[str]:
    from nodebench.solvers import adapters, is_installed, parts_of

    return [name for name in _SOLVERS if is_installed(adapters()[parts_of(name)[0]])]
