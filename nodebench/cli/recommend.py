"""``nodebench recommend``: which solver and gradient to use, from records or from short measurements."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nodebench.analysis.recommend import Candidate, Fate, Limits, Recommendation, problems, recommend
from nodebench.analysis.statistics import LEVEL
from nodebench.cli.choices import overrides_of, size_of
from nodebench.errors import BadInput, at_least, choose
from nodebench.run.store import kept_records
from nodebench.spec import Gradient, Grid, Preset, Record, Study
from nodebench.spec.figures import figure, several
from nodebench.spec.trial import Scalar

# What is measured where nothing is known; of the libraries those that are installed.
_SOLVERS = ("dopri5", "torchode:tsit5", "diffrax:tsit5")
_GRADIENTS = {"diffrax:tsit5": (Gradient.CHECKPOINT,), "torchode:tsit5": (Gradient.DIRECT,)}
_RTOL = (1e-3, 1e-4, 1e-5, 1e-6)
OWN = "field"  # the task of a field of the user's own
TIMEOUT = 300.0  # seconds of one trial


@dataclass(frozen=True)
class Asked:
    """The problem as it was typed."""

    task: str
    field: str
    state_shape: str
    model: str
    options: tuple[str, ...]
    device: str
    threads: int | None

    @property
    def again(self) -> str:
        """The command that measures it."""
        parts = ["--field", self.field, "--state-shape", self.state_shape] if self.field else ["--task", self.task]
        parts += ["--model", self.model] if self.model else []
        return " ".join(["nodebench recommend", *parts, *(f"--set {one}" for one in self.options), "--measure"])

    @property
    def given(self) -> dict[str, list[Scalar]]:
        """The task's options as they were typed."""
        own: dict[str, list[Scalar]] = {"field": [self.field], "state_shape": [self.state_shape]} if self.field else {}
        return own | overrides_of(self.options)

    @property
    def wanted(self) -> dict[str, Scalar | None]:
        """Its axes and options, as records have them."""
        from nodebench.run.multiply import options_with
        from nodebench.tasks import find_task

        given = {name: values[0] for name, values in self.given.items()}
        options = options_with(find_task(self.task), Preset.QUICK, given)
        return {"task": self.task, "model": self.model or None} | {name: getattr(options, name) for name in given}


def recommend_command(
    asked: Asked,
    max_memory: str | None,
    error: float | None,
    results: Path,
    *,
    measure: bool,
    solver: str,
    seeds: int,
) -> None:
    """Name a choice from the records kept here, or from new ones."""
    asked = replace(asked, task=_task(asked))
    if error is not None and error <= 0:
        raise BadInput(f"--error {error:g}: a positive number, relative to the gradient's size")
    limits = Limits(error, None if max_memory is None else float(size_of("max-memory", max_memory)))
    if measure:
        records = _measure(asked, solver, seeds, results)
    elif solver:
        raise BadInput("--solver goes with --measure: from records the best of all is named")
    else:
        records = kept_records(results)
    found = problems(records, asked.wanted)
    if asked.field and not measure:
        found = _of_present_code(found)
    if not found:
        raise BadInput(f"nothing is known of this under {results}. Measure it: {asked.again}")
    _print(recommend(found[0], limits), limits, len(found) - 1)


def _task(asked: Asked) -> str:
    if asked.field and asked.task not in ("", OWN):
        raise BadInput(f"--field is a problem of its own: leave out --task {asked.task}")
    if asked.field and not asked.state_shape:
        raise BadInput("--field needs --state-shape, the shape of one sample: --state-shape 64")
    if not asked.field and not asked.task:
        raise BadInput("nothing to recommend for: give --task, or --field with --state-shape")
    from nodebench.tasks import find_task

    return find_task(OWN if asked.field else asked.task).name


def _of_present_code(found: list[list[Record]]) -> list[list[Record]]:
    """Leave out records that were made with other code of the field than there is now."""
    from nodebench.run.user_code import of_present_code
    from nodebench.spec import Limits as Budgets

    kept = [of_present_code(records, Budgets(timeout=TIMEOUT)) for records in found]
    if left_out := sum(map(len, found)) - sum(map(len, kept)):
        told = "were made with other code of this field, or before records knew its code: they are left out"
        Console(stderr=True, soft_wrap=True, markup=False, highlight=False).print(
            f"{several(left_out, 'record')} {told}"
        )
    return [records for records in kept if records]


def _measure(asked: Asked, solver: str, seeds: int, results: Path) -> list[Record]:
    """Run short trials of everything that may be recommended, and read what came of them."""
    from nodebench.cli.run import Manner, execute
    from nodebench.run.store import Run
    from nodebench.spec import Limits as Budgets

    at_least(1, seeds=seeds, threads=asked.threads)
    study = Study(name="recommend", groups=dict(_grids(asked, solver, seeds)))
    execute(study, Manner(results, limits=Budgets(timeout=TIMEOUT)))
    return Run.open(results, None).records()


def _grids(asked: Asked, solver: str, seeds: int) -> Iterator[tuple[str, Grid]]:
    from nodebench.solvers import find_solver
    from nodebench.tasks import find_task

    task = find_task(asked.task)
    model = choose(f"model of task {task.name}", asked.model or next(iter(task.models)), task.models)
    brief: dict[str, list[Scalar]] = {name: [value] for name, value in task.brief.items()}
    for name in [part.strip() for part in solver.split(",") if part.strip()] or _installed():
        adapter, _, method = find_solver(name)
        possible = task.models[model].gradients & adapter.gradients & set(_GRADIENTS.get(name, Gradient))
        if not method.adaptive:
            possible -= {Gradient.ADJOINT_SEMINORM}  # there is no error norm
        yield (
            name.replace(":", "-"),
            Grid(
                task=task.name,
                model=[model],
                solver=[name],
                gradient=[gradient for gradient in Gradient if gradient in possible],
                rtol=list(_RTOL) if method.has_tolerance else [],
                seed=list(range(seeds)),
                overrides=brief | asked.given,
                device=asked.device,
                threads=asked.threads,
            ),
        )


def _installed() -> list[str]:
    from nodebench.solvers import adapters, is_installed, parts_of

    return [name for name in _SOLVERS if is_installed(adapters()[parts_of(name)[0]])]


_STYLES = {Fate.CHOSEN: "bold green", Fate.FRONT: "", Fate.BEATEN: "dim", Fate.UNFIT: "dim", Fate.FAILED: "red"}


def _print(answer: Recommendation, limits: Limits, others: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("solver, tolerance, gradient", "grad. error", "step", "memory", "n", ""):
        numeric = header in _NUMBERS
        table.add_column(header, no_wrap=numeric, overflow="fold", justify="right" if numeric else "left")
    for one in answer.candidates:
        table.add_row(*_row(one), style=_STYLES[one.fate])
    console.print(f"\n{answer.problem}\n", markup=False)
    console.print(table, soft_wrap=False)
    for one in answer.candidates:
        if one is not answer.choice:
            console.print(f"{one.name}: {one.why}", markup=False)
    if any(_by_process(one) for one in answer.candidates):
        console.print("* growth of the whole process: JAX's memory is seen by no other meter")
    if others:
        console.print(f"{others} other problems of this kind are on record; --model and --set choose among them.")
    if answer.choice is None:
        console.print(f"\nNothing that was measured meets the limits{_nearest(answer, limits)}.", markup=False)
        return
    console.print()
    for line in _told(answer):
        console.print(line, markup=False)
    console.print(f"\n{_code(answer.choice)}", markup=False)


_NUMBERS = ("grad. error", "step", "memory", "n")


def _row(one: Candidate) -> list[str]:
    memory = figure("tensor_peak_bytes").format(one.memory) + "*" * _by_process(one)
    error, seconds = figure("gradient_error").format(one.error), figure("step_seconds").format(one.seconds)
    return [escape(one.name), error, seconds, memory, str(len(one.configuration.records)), one.fate.value]


def _by_process(one: Candidate) -> bool:
    return one.memory is not None and one.seen_by == "process_peak_bytes"


def _told(answer: Recommendation) -> list[str]:
    choice, second = answer.choice, answer.runner_up
    assert choice is not None
    lines = [f"Use {choice.name}.", *_in_torch(answer)]
    if second is None:
        return [*lines, "Nothing else that was measured meets the limits: there is no runner-up."]
    if answer.dearer is None:
        few = "timed in fewer than two replicates in common, so that nothing says how sure this is"
        return [*lines, f"The runner-up, {second.name}, was {few}."]
    ratio = answer.dearer
    told = f"The runner-up, {second.name}, takes {ratio.value:.2f} × the time [{ratio.low:.2f}, {ratio.high:.2f}]"
    held = "the choice is sure" if ratio.low > 1 else "no difference found, take either"
    return [*lines, f"{told} ({LEVEL:.0%} interval, n = {ratio.n}): {held}."]


def _in_torch(answer: Recommendation) -> list[str]:
    """What to take where the choice would mean writing the field in another language."""
    from nodebench.solvers import find_solver

    fit = [one for one in answer.candidates if one.fate not in (Fate.UNFIT, Fate.FAILED)]
    stays = [one for one in fit if find_solver(str(one.record.trial.solver))[0].in_torch]
    if answer.choice is None or answer.choice in stays:
        return []
    where = f"the fastest within torch is {stays[0].name}, {stays[0].why}" if stays else "nothing within torch is fit"
    return [f"Its library wants the field written in JAX; {where}."]


def _nearest(answer: Recommendation, limits: Limits) -> str:
    """What comes nearest: the least error, and the least memory."""
    wanted = (("error", "gradient_error", limits.error), ("memory", "tensor_peak_bytes", limits.memory))
    told = ""
    for name, measured, limit in wanted:
        known = [one for one in answer.candidates if getattr(one, name) is not None and not one.configuration.failed]
        if limit is not None and known:
            best = min(known, key=lambda one: getattr(one, name))
            told += f"; the least {name} is {figure(measured).format(getattr(best, name))}, of {best.name}"
    return told


def _code(choice: Candidate) -> str:
    """The lines that use a candidate, in its own library."""
    from nodebench.run.build import control_of
    from nodebench.solvers import find_solver

    trial = choice.record.trial
    assert trial.solver is not None
    adapter, _, _ = find_solver(trial.solver)
    return adapter.code(control_of(trial))
