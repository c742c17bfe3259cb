"""The recommendations page: by task, the fastest and the smallest configuration for a given gradient error."""

from collections.abc import Collection, Iterable, Sequence
from shlex import quote

from nodebench.analysis.recommend import (
    ENOUGH,
    MEMORY,
    SECONDS,
    WITHIN_LIMITS,
    Candidate,
    CandidateStatus,
    Limits,
    Present,
    Problem,
    by_machine,
    problems,
    recommend,
)
from nodebench.reporting.document import Block, Cell, Code, Heading, Page, Paragraph, Table, number, slug
from nodebench.spec import Gradient, Record
from nodebench.spec.metrics import metric

# Limits of the relative error of the gradient, one row each.
ERRORS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_HEADER = (
    "gradient error at most",
    "fastest",
    "step time of fastest",
    "peak memory of fastest",
    "smallest",
    "step time of smallest",
    "peak memory of smallest",
)
_INTRODUCTION = (
    "For each task, the table shows the fastest configuration and the smallest one (least peak memory) whose gradient "
    "error is at most the given value for every seed. Step times are medians over the seeds, with the smallest and the "
    "largest; if the ranges of two configurations overlap, which one is faster is not certain. Errors and memory are "
    "maxima over the seeds. Peak memory counts PyTorch tensors. For JAX, only the growth of process memory is known; "
    "it is marked “(process)” and not compared. A dash means that no measured configuration reaches the error, or that "
    "its memory was not measured. A configuration is written as solver, rtol/atol or step size, gradient, and the "
    "adjoint's rtol/atol if they differ. The gradient error is relative, against a float64 reference at a tight "
    "tolerance. The networks are small, and most are in their first training steps. Each table covers only the "
    "gradients that its caption names. Where a task was measured with several sets of options, the table shows one set "
    "that includes backpropagation through the solver; other sets give other values. The command below a table prints "
    "all its configurations."
)
_OWN = (
    "The ranking depends on the size of the problem, the machine and the field. This command measures your own field "
    "and recommends a configuration."
)


def choice_page(records: Sequence[Record], results: str) -> Page:
    """Return the page with a table for each task that has at least ``ENOUGH`` timed configurations.

    Args:
        records: of the report.
        results: their folder, as it was typed.
    """
    blocks: list[Block] = [Paragraph(_INTRODUCTION)]
    varied: dict[str, set[str]] = {}
    for record in records:
        varied.setdefault(record.trial.task, set()).update(record.trial.overrides)
    for problem in _largest(records):
        blocks += _section(problem, varied[problem.records[0].trial.task], results)
    blocks += [Heading("Your own field"), Paragraph(_OWN)]
    blocks.append(Code("nodebench recommend --field mine:Drift --state-shape 64 --error 1e-3 --minutes 5"))
    return Page("choice", "Which configuration to use", "The fastest and smallest by gradient error", blocks)


def _largest(records: Sequence[Record]) -> list[Problem]:
    """Return, for each machine and task, the problem with the most timed configurations; tasks sorted by name.

    Left out are problems without ``direct``, since the gradients that they compare are not the ones to choose from.
    Problems measured by the latest version, which records the most options, come before larger ones.
    """
    found = []
    for some in by_machine(records).values():
        by_task: dict[str, list[Record]] = {}
        for record in some:
            by_task.setdefault(record.trial.task, []).append(record)
        for task in sorted(by_task):
            with_direct = [one for one in problems(by_task[task], {}, Present()) if _has_direct(one)]
            ranked = [(one.options_known, timed, one) for one in with_direct if (timed := _timed(one)) >= ENOUGH]
            if ranked:
                found.append(max(ranked, key=lambda item: item[:2])[2])
    return found


def _has_direct(problem: Problem) -> bool:
    return any(record.trial.gradient is Gradient.DIRECT for record in problem.records)


def _timed(problem: Problem) -> int:
    return sum(bool(one.timed) and one.error is not None for one in recommend(problem, Limits()).candidates)


def _section(problem: Problem, varied: Collection[str], results: str) -> list[Block]:
    """Return the table of a problem, and its command.

    Args:
        problem: the records.
        varied: options in which problems of this task may differ.
        results: folder of the records.
    """
    task = problem.records[0].trial.task
    answers = {error: recommend(problem, Limits(error)) for error in ERRORS}
    described = answers[ERRORS[0]].problem
    machine = next(iter(by_machine(problem.records)))
    rows = [[Cell(_power(error), error), *_pair(answer.candidates)] for error, answer in answers.items()]
    reached = [error for error, answer in answers.items() if answer.choice]
    gradients = dict.fromkeys(str(record.trial.gradient) for record in problem.records if record.trial.gradient)
    caption = f"{described}; on {machine}. Gradients measured here: {', '.join(sorted(gradients))}"
    return [
        Heading(task),
        Table(f"choice-{slug(task)}", caption, _HEADER, rows),
        Code(f"{_command(problem, machine, varied, reached)} --results {quote(results)}"),
    ]


def _command(problem: Problem, machine: str, varied: Collection[str], reached: Sequence[float]) -> str:
    """Return the command that prints the configurations of a table, with the smallest error that one reaches."""
    trial, options = problem.records[0].trial, problem.records[0].options
    axes = {"task": trial.task, "dataset": trial.dataset, "model": trial.model, "dtype": trial.dtype}
    words = [f"--{name} {value}" for name, value in axes.items() if value]
    words += [
        f"--set {quote(f'{name}={value}')}"
        for name, value in sorted(options.items())
        if name in varied and value is not None
    ]
    words += [f"--error {_power(min(reached))}"] if reached else []
    return " ".join(["nodebench recommend", *words, f"--machine {quote(machine)}"])


def _power(error: float) -> str:
    """Format a power of ten as ``1e-3``."""
    return f"{error:.0e}".replace("e-0", "e-")


def _pair(candidates: Iterable[Candidate]) -> list[Cell]:
    """Return the cells of the fastest candidate and of the one with the least memory, among those within the limits."""
    fit = [one for one in candidates if one.status in WITHIN_LIMITS]
    fastest = next((one for one in fit if one.status is CandidateStatus.CHOSEN), None)
    seen = [one for one in fit if one.memory is not None and one.seen_by == MEMORY[0]]
    smallest = min(seen, key=lambda one: one.memory or 0.0, default=None)
    return [*_cells(fastest), *_cells(smallest)]


def _time(one: Candidate) -> str:
    """The median step time, its range over the seeds, and their number."""
    seconds, shown = one.configuration.values(SECONDS), metric(SECONDS)
    if len(seconds) < 2:
        return shown.format(one.seconds)
    low, high = shown.format(min(seconds)), shown.format(max(seconds))
    return f"{shown.format(one.seconds)} [{low}, {high}] (n = {len(seconds)})"


def _cells(one: Candidate | None) -> list[Cell]:
    if one is None:
        return [Cell("–"), number("–", None), number("–", None)]
    return [
        Cell(one.name, kind="code"),
        number(_time(one), one.seconds),
        number(metric(one.seen_by).format(one.memory) + ("" if one.seen_by == MEMORY[0] else " (process)"), one.memory),
    ]
