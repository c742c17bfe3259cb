"""``nodebench recommend``: which solver and gradient to use, from records or from short measurements."""

from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from nodebench.analysis.recommend import Candidate, CandidateStatus, Limits, Recommendation, needs_another_time
from nodebench.analysis.statistics import LEVEL
from nodebench.api.recommend import Recommended, recommend
from nodebench.api.recommend_records import LIMITS as BUDGETS
from nodebench.api.recommend_records import Asked
from nodebench.cli.exit_codes import OK
from nodebench.cli.plot import draw, format_of
from nodebench.cli.run import TerminalListener, exit_code, print_resume_hint
from nodebench.cli.run_arguments import size_of
from nodebench.cli.terminal import Terminal, print_json
from nodebench.running.listener import Listener
from nodebench.running.session import Execution
from nodebench.spec.metrics import metric, several


def recommend_command(
    asked: Asked,
    max_memory: str | None,
    error: float | None,
    results: Path,
    *,
    measure: bool,
    minutes: float | None,
    solver: str,
    seeds: int,
    machine: str = "",
    plot: Path | None = None,
    json: bool = False,
) -> int:
    """Print a recommendation from stored or new records and return the exit code."""
    if plot is not None:
        format_of(plot)
    limits = Limits(error, None if max_memory is None else float(size_of("max-memory", max_memory)))
    done = recommend(
        **vars(asked),
        error=limits.error,
        max_memory=limits.memory,
        measure=measure,
        minutes=minutes,
        solver=[part.strip() for part in solver.split(",") if part.strip()],
        seeds=seeds,
        machine=machine,
        results=results,
        progress=Listener() if json else TerminalListener(),
    )
    if done.session and (minutes is None or done.answer is None):
        print_resume_hint(done.session, Execution(results, limits=BUDGETS))
    if done.answer is None:
        assert done.session is not None
        return exit_code(done.session)
    if json:
        print_json(done.as_dict())
    else:
        _print(done, done.answer, limits)
    if plot is not None:
        draw(done.plot(), plot)
        Terminal(stderr=True, soft_wrap=True).print(f"the candidates, error over time · {plot}")
    return OK


INACCURATE = 0.1  # relative error of a gradient

_STYLES = {
    CandidateStatus.CHOSEN: "bold green",
    CandidateStatus.FRONT: "",
    CandidateStatus.BEATEN: "dim",
    CandidateStatus.UNTIMED: "yellow",
    CandidateStatus.UNFIT: "dim",
    CandidateStatus.FAILED: "red",
}


def _print(done: Recommended, answer: Recommendation, limits: Limits) -> None:
    console = Terminal(soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("solver, tolerance, gradient", "worst error", "step", "memory", "n", ""):
        numeric = header in _NUMBERS
        table.add_column(header, no_wrap=numeric, overflow="fold", justify="right" if numeric else "left")
    for one in answer.candidates:
        table.add_row(*_row(one), style=_STYLES[one.status])
    console.print(f"\n{answer.problem}\n")
    console.print(table, soft_wrap=False)
    for one in answer.candidates:
        if one is not answer.choice:
            console.print(f"{one.name}: {one.why}")
    if any(_by_process(one) for one in answer.candidates):
        console.print("* growth of the whole process: no other meter can measure JAX's memory")
    console.print(done.basis)
    if done.unmeasured:
        console.print(f"The time was up before {several(done.unmeasured, 'candidate')} could be measured.")
    if untimed := _untimed(answer):
        console.print(untimed)
    if done.others:
        others, are = several(done.others, "other problem"), "is" if done.others == 1 else "are"
        console.print(f"{others} of this kind {are} on record; choose one with --model and --set.")
    if answer.choice is None:
        known = (
            "could be timed"
            if any(one.status is CandidateStatus.UNTIMED for one in answer.candidates)
            else "was measured"
        )
        console.print(f"\nNo candidate that {known} meets the limits{_nearest(answer, limits)}.")
        return
    console.print()
    for line in _advice(answer):
        console.print(line)
    console.print(f"\n{done.code}")


_NUMBERS = ("worst error", "step", "memory", "n")


def _row(one: Candidate) -> list[str]:
    memory = metric("tensor_peak_bytes").format(one.memory) + "*" * _by_process(one)
    error, seconds = metric("gradient_error").format(one.error), metric("step_seconds").format(one.seconds)
    whole = len(one.configuration.records)
    replicates = str(whole) if one.timed == whole else f"{one.timed} of {whole}"
    return [escape(one.name), error, seconds, memory, replicates, one.status.value]


def _untimed(answer: Recommendation) -> str:
    """Return how many candidates could not be timed, since one may beat the choice; empty if all were timed."""
    untimed = [one for one in answer.candidates if one.status is CandidateStatus.UNTIMED]
    if not untimed:
        return ""
    busy = any(needs_another_time(record) for one in untimed for record in one.configuration.records)
    why = "the machine was busy; run --measure again when it is idle" if busy else "the reasons are above"
    return f"{len(untimed)} of {len(answer.candidates)} candidates could not be timed: {why}."


def _by_process(one: Candidate) -> bool:
    return one.memory is not None and one.seen_by == "process_peak_bytes"


def _advice(answer: Recommendation) -> list[str]:
    choice, second = answer.choice, answer.runner_up
    assert choice is not None
    lines = [f"Use {choice.name}: {choice.why}.", *_inaccurate(choice), *_in_torch(answer)]
    if second is None:
        return [*lines, "No other measured candidate meets the limits, so there is no runner-up."]
    if answer.time_ratio is None:
        few = "timed in fewer than two common replicates, so the uncertainty of this choice is unknown"
        return [*lines, f"The runner-up, {second.name}, was {few}."]
    ratio = answer.time_ratio
    comparison = f"The runner-up, {second.name}, takes {ratio.value:.2f} × the time [{ratio.low:.2f}, {ratio.high:.2f}]"
    held = "the choice is faster" if ratio.low > 1 else "no significant difference, use either"
    return [*lines, f"{comparison} ({LEVEL:.0%} interval, n = {ratio.n}): {held}."]


def _inaccurate(choice: Candidate) -> list[str]:
    """Return a warning if the gradient of the choice is inaccurate."""
    if choice.error is None or choice.error < INACCURATE:
        return []
    error = metric("gradient_error").format(choice.error)
    return [f"Its gradient has a relative error of {error}: give --error, or let a solver take smaller steps."]


def _in_torch(answer: Recommendation) -> list[str]:
    """Return a sentence with the fastest candidate within torch if the choice needs the field written in JAX."""
    from nodebench.solvers import find_solver

    fit = [
        one
        for one in answer.candidates
        if one.status not in (CandidateStatus.UNTIMED, CandidateStatus.UNFIT, CandidateStatus.FAILED)
    ]
    stays = [one for one in fit if find_solver(str(one.record.trial.solver))[0].in_torch]
    if answer.choice is None or answer.choice in stays:
        return []
    where = (
        f"the fastest within torch is {stays[0].name}, {stays[0].why}" if stays else "no torch candidate is suitable"
    )
    return [f"Its library needs the field written in JAX; {where}."]


def _nearest(answer: Recommendation, limits: Limits) -> str:
    """Return, for each given limit, the smallest error or memory among the candidates that did not fail."""
    wanted = (("error", "gradient_error", limits.error), ("memory", "tensor_peak_bytes", limits.memory))
    nearest = ""
    for name, cost, limit in wanted:
        known = [one for one in answer.candidates if getattr(one, name) is not None and not one.configuration.failed]
        if limit is not None and known:
            best = min(known, key=lambda one: getattr(one, name))
            nearest += f"; the smallest {name} is {metric(cost).format(getattr(best, name))}, with {best.name}"
    return nearest
