"""Which solver, tolerance and gradient method to use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodebench.analysis.recommend import Limits, Recommendation
from nodebench.analysis.recommend import recommend as recommend_from
from nodebench.api.recommend_records import Asked, basis, kept, matching, measured, with_task
from nodebench.api.recommend_within import measured_within
from nodebench.api.running import Values, listener, named
from nodebench.errors import BadInput
from nodebench.running.listener import Listener
from nodebench.running.session import Session

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from nodebench.tasks.problem import Problem


_COLUMNS = ("name", "error", "seconds", "memory", "fate", "why")


@dataclass(frozen=True)
class Recommended:
    """A recommendation, and what it rests on.

    Attributes:
        answer: the candidates, the choice and the runner-up; None where measuring was stopped.
        basis: records, replicates, runs and machine, in one sentence.
        others: how many other problems of this kind are on record.
        session: of the trials that were measured for it; None where records were enough.
        unmeasured: how many candidates were not measured, since the time was up.
    """

    answer: Recommendation | None
    basis: str
    others: int
    session: Session | None
    unmeasured: int = 0

    @property
    def choice(self) -> str | None:
        """The chosen solver, tolerance and gradient; None where nothing meets the limits."""
        return self.answer.choice.name if self.answer and self.answer.choice else None

    def frame(self) -> "pd.DataFrame":
        """One row a candidate: its greatest gradient error and bytes, median seconds, what became of it, and why."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=list(_COLUMNS))

    def _rows(self) -> list[dict[str, Any]]:
        candidates = self.answer.candidates if self.answer else ()
        return [{name: getattr(one, name) for name in _COLUMNS} for one in candidates]

    @property
    def code(self) -> str | None:
        """Lines of Python that solve with the choice in its own library; None where nothing meets the limits."""
        from nodebench.solvers import code_of, find_solver
        from nodebench.trial.build import control_of

        if self.answer is None or self.answer.choice is None:
            return None
        trial = self.answer.choice.record.trial
        assert trial.solver is not None
        return code_of(find_solver(trial.solver)[0], control_of(trial))

    def as_dict(self) -> dict[str, Any]:
        """The recommendation as plain values, ready for JSON.

        Returns:
            dict: ``problem``, ``basis``, ``choice``, ``runner_up`` and ``code``; ``time_of_runner_up``, the seconds of
            the runner-up over those of the choice with their 95 % interval and n; ``candidates``, rows as in
            ``frame()`` with gradient errors, seconds and bytes; and ``unmeasured``. What is not known is None.
        """
        if self.answer is None:
            return {}
        ratio, second = self.answer.dearer, self.answer.runner_up
        interval = ratio and {"ratio": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.n}
        return {
            "problem": self.answer.problem,
            "basis": self.basis,
            "choice": self.choice,
            "runner_up": second.name if second else None,
            "time_of_runner_up": interval,
            "code": self.code,
            "candidates": self._rows(),
            "unmeasured": self.unmeasured,
        }

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot error of the gradient over seconds of a step, a point for each candidate that has both.

        Args:
            ax: where to draw; a new figure where it is None.

        Raises:
            BadInput: no candidate has both.
        """
        from nodebench.reporting.scatter import pareto

        return pareto(self.frame(), ax)

    def _repr_html_(self) -> str:
        return f"{self.frame().to_html(index=False, na_rep='–')}<p>{self.basis}</p>"


def recommend(
    task: "str | Problem" = "",
    *,
    field: str = "",
    state_shape: str = "",
    model: str = "",
    options: Mapping[str, Values] | None = None,
    error: float | None = None,
    max_memory: float | None = None,
    measure: bool = False,
    minutes: float | None = None,
    solver: Sequence[str] = (),
    seeds: int = 3,
    device: str = "cpu",
    threads: int | None = None,
    data: str | Path | None = None,
    steps: Sequence[int] = (),
    machine: str = "",
    results: str | Path = "results",
    progress: bool | Listener = True,
) -> Recommended:
    """Recommend a solver, tolerance and gradient method under limits of error and memory.

    Args:
        task: a name of ``nodebench list tasks``, a ``Problem``, or ``file.py:NAME`` of one.
        field: a vector field of your own, ``MODULE:CLASS``, in place of a task.
        state_shape: of one sample of its state: ``64`` or ``1,28,28``.
        model: of the task; empty for its first one.
        options: of the task that differ from its defaults.
        error: largest relative error of the gradient.
        max_memory: most bytes of a training step.
        measure: whether trials are run now, for some minutes; otherwise the records of ``results`` answer.
        minutes: measure now, for so long at most: every candidate once, then again those that may be the choice.
        solver: with ``measure``, these solvers alone.
        seeds: with ``measure`` and no ``minutes``, replicates.
        device: with ``measure``, where.
        threads: CPU threads of a trial; None for any.
        data: the user's file of the task ``series``, or the folder of the data sets.
        steps: with ``measure``, steps of a solve by solvers that take fixed steps; empty for several numbers.
        machine: a part of the name of the machine whose records answer; empty for this machine.
        results: folder of the runs.
        progress: whether a progress bar is shown, or what shows it.

    Raises:
        BadInput: the problem is not known, or no record answers.
    """
    name, own = named(task)
    given = {
        name: [value] if isinstance(value, str | int | float) else value
        for name, value in {**own, **(options or {})}.items()
    }
    asked = with_task(
        Asked(name, field, state_shape, model, given, device, threads, Path(data) if data else None, steps)
    )
    if error is not None and error <= 0:
        raise BadInput(f"--error {error:g}: a positive number, relative to the gradient's size")
    measure = measure or minutes is not None
    if measure and machine:
        raise BadInput("--machine chooses among records, and --measure makes new ones here: leave one of them out")
    if steps and not measure:
        raise BadInput("--steps goes with --measure: from records the best of all is named")
    if solver and not measure:
        raise BadInput("--solver goes with --measure: from records the best of all is named")
    folder, limits = Path(results), Limits(error, max_memory)
    if minutes is not None:
        found = measured_within(asked, solver, minutes, limits, folder, listener(progress))
    else:
        found = measured(asked, solver, seeds, folder, listener(progress)) if measure else kept(folder)
    if found.session and (found.session.failure or found.session.stopped):
        return Recommended(None, "", 0, found.session)
    known = matching(asked, found, machine, folder)
    answer = recommend_from(known[0], limits)
    return Recommended(answer, basis(known[0], found), len(known) - 1, found.session, found.unmeasured)
