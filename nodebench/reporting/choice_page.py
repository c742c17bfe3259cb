"""The page for a practitioner: the fastest and the smallest way to a gradient of a given error, task by task."""

from collections.abc import Iterable, Sequence

from nodebench.analysis.recommend import (
    MEMORY,
    Candidate,
    Fate,
    Limits,
    Present,
    Problem,
    by_machine,
    problems,
    recommend,
)
from nodebench.reporting.document import Block, Cell, Code, Heading, Page, Paragraph, Table, number, slug
from nodebench.spec import Record
from nodebench.spec.figures import figure

# Limits of the relative error of the gradient, one row each.
ERRORS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
LEAST = 5  # timed configurations that a task needs to get a table
_HEADER = (
    "gradient error at most",
    "fastest measured",
    "step time of the fastest",
    "peak memory of the fastest",
    "least memory measured",
    "step time of the smallest",
    "peak memory of the smallest",
)
_INTRODUCTION = (
    "For each task: the fastest configuration, and the one with the least peak memory, whose gradient error is at most "
    "the given value at every seed. Step times are medians over the seeds, errors and memory maxima. Peak memory is "
    "that of PyTorch's tensors; for JAX only the growth of the process is known, which is marked and not compared. "
    "A dash: no measured configuration reaches the error, or its memory was not measured. A configuration is written "
    "as solver, rtol/atol or step size, gradient, and the adjoint's own rtol/atol where these differ. The gradient's "
    "error is relative, against float64 at a tight tolerance. Only the gradients that a table's caption names were "
    "measured."
)
_OWN = (
    "The size of the problem, the machine and the field change the order. This command measures your own field and "
    "recommends a configuration."
)


def choice_page(records: Sequence[Record]) -> Page:
    """A table for each task that has been measured under enough configurations."""
    blocks: list[Block] = [Paragraph(_INTRODUCTION)]
    for problem in _largest(records):
        blocks += _section(problem)
    blocks += [Heading("Your own field"), Paragraph(_OWN)]
    blocks.append(Code("nodebench recommend --field mine:Drift --state-shape 64 --error 1e-3 --minutes 5"))
    return Page("choice", "Which one to use", "Solver, tolerance, gradient and library for an error", blocks)


def _largest(records: Sequence[Record]) -> list[Problem]:
    """Of each task on each machine, the problem of the most timed configurations; tasks in the order of their names."""
    found = []
    for some in by_machine(records).values():
        by_task: dict[str, list[Record]] = {}
        for record in some:
            by_task.setdefault(record.trial.task, []).append(record)
        for task in sorted(by_task):
            largest = max(problems(by_task[task], {}, Present()), key=_timed, default=None)
            if largest and _timed(largest) >= LEAST:
                found.append(largest)
    return found


def _timed(problem: Problem) -> int:
    return sum(bool(one.timed) and one.error is not None for one in recommend(problem, Limits()).candidates)


def _section(problem: Problem) -> list[Block]:
    task = problem.records[0].trial.task
    answers = {error: recommend(problem, Limits(error)) for error in ERRORS}
    described = answers[ERRORS[0]].problem
    machine = next(iter(by_machine(problem.records)))
    rows = [
        [Cell(f"{error:.0e}".replace("e-0", "e-"), error), *_pair(answer.candidates)]
        for error, answer in answers.items()
    ]
    gradients = dict.fromkeys(str(record.trial.gradient) for record in problem.records if record.trial.gradient)
    caption = f"{described}; on {machine}. Gradients measured here: {', '.join(sorted(gradients))}"
    return [
        Heading(task),
        Table(f"choice-{slug(task)}", caption, _HEADER, rows),
        Code(f"nodebench recommend --task {task} --error 1e-3 --results results/published"),
    ]


def _pair(candidates: Iterable[Candidate]) -> list[Cell]:
    """The fastest and the smallest of the candidates that meet the limits."""
    fit = [one for one in candidates if one.fate in (Fate.CHOSEN, Fate.FRONT, Fate.BEATEN)]
    fastest = next((one for one in fit if one.fate is Fate.CHOSEN), None)
    seen = [one for one in fit if one.memory is not None and one.seen_by == MEMORY[0]]
    smallest = min(seen, key=lambda one: one.memory or 0.0, default=None)
    return [*_cells(fastest), *_cells(smallest)]


def _cells(one: Candidate | None) -> list[Cell]:
    if one is None:
        return [Cell("–"), number("–", None), number("–", None)]
    return [
        Cell(one.name, kind="code"),
        number(figure("step_seconds").format(one.seconds), one.seconds),
        number(figure(one.seen_by).format(one.memory) + ("" if one.seen_by == MEMORY[0] else " (process)"), one.memory),
    ]
