"""The recommendations page: by task, the fastest and the smallest configuration for a given gradient error."""

from collections.abc import Iterable, Sequence

from nodebench.analysis.recommend import (
    MEMORY,
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
from nodebench.spec import Record
from nodebench.spec.metrics import metric

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
    "For each task, the table shows the fastest configuration and the smallest one (least peak memory) whose gradient "
    "error is at most the given value for every seed. Step times are medians over the seeds; errors and memory are "
    "maxima. Peak memory counts PyTorch tensors. For JAX, only the growth of process memory is known; it is marked "
    "“(process)” and not compared. A dash means that no measured configuration reaches the error, or that its memory "
    "was not measured. A configuration is written as solver, rtol/atol or step size, gradient, and the adjoint's "
    "rtol/atol if they differ. The gradient error is the relative error against a float64 reference at a tight "
    "tolerance. Each table covers only the gradients that its caption names. Where a task was measured with several "
    "sets of options, the table shows the set with the most configurations; the values of the other sets differ."
)
_OWN = (
    "The ranking depends on the size of the problem, the machine and the field. This command measures your own field "
    "and recommends a configuration."
)


def choice_page(records: Sequence[Record]) -> Page:
    """Return the page with a table for each task that has at least ``LEAST`` timed configurations."""
    blocks: list[Block] = [Paragraph(_INTRODUCTION)]
    for problem in _largest(records):
        blocks += _section(problem)
    blocks += [Heading("Your own field"), Paragraph(_OWN)]
    blocks.append(Code("nodebench recommend --field mine:Drift --state-shape 64 --error 1e-3 --minutes 5"))
    return Page("choice", "Which configuration to use", "The fastest and smallest by gradient error", blocks)


def _largest(records: Sequence[Record]) -> list[Problem]:
    """Return, for each machine and task, the problem with the most timed configurations; tasks sorted by name."""
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
    """Return the cells of the fastest candidate and of the one with the least memory, among those within the limits."""
    fit = [
        one for one in candidates if one.fate in (CandidateStatus.CHOSEN, CandidateStatus.FRONT, CandidateStatus.BEATEN)
    ]
    fastest = next((one for one in fit if one.fate is CandidateStatus.CHOSEN), None)
    seen = [one for one in fit if one.memory is not None and one.seen_by == MEMORY[0]]
    smallest = min(seen, key=lambda one: one.memory or 0.0, default=None)
    return [*_cells(fastest), *_cells(smallest)]


def _cells(one: Candidate | None) -> list[Cell]:
    if one is None:
        return [Cell("–"), number("–", None), number("–", None)]
    return [
        Cell(one.name, kind="code"),
        number(metric("step_seconds").format(one.seconds), one.seconds),
        number(metric(one.seen_by).format(one.memory) + ("" if one.seen_by == MEMORY[0] else " (process)"), one.memory),
    ]
