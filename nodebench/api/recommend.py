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


_COLUMNS = ("name", "error", "seconds", "memory", "status", "why")


@dataclass(frozen=True)
class Recommended:
    """A recommendation and the data behind it.

    Attributes:
        answer: the candidates, the choice and the runner-up; None if the measurement was stopped or failed.
        basis: records, replicates, runs and machine, in one sentence.
        others: number of other matching problems in the records.
        session: the session that measured new trials; None if stored records were used.
        unmeasured: number of candidates that were not measured because the time ran out.
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
        """Return one row per candidate: largest gradient error and memory, median seconds, status and reason."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=list(_COLUMNS))

    def _rows(self) -> list[dict[str, Any]]:
        candidates = self.answer.candidates if self.answer else ()
        return [{name: getattr(one, name) for name in _COLUMNS} for one in candidates]

    @property
    def code(self) -> str | None:
        """Python code that solves with the choice in its own library; None if nothing meets the limits."""
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
            dict: ``problem``, ``basis``, ``choice``, ``runner_up`` and ``code``; ``time_of_runner_up``, the ratio of
            the runner-up's time to the choice's time with its 95 % interval and n; ``candidates``, rows as in
            ``frame()`` with gradient errors, seconds and bytes; and ``unmeasured``. Unknown values are None.
        """
        if self.answer is None:
            return {}
        ratio, second = self.answer.time_ratio, self.answer.runner_up
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
        """Plot the gradient error against the seconds per step, one point for each candidate that has both values.

        Args:
            ax: axes to draw on; None for a new figure.

        Raises:
            BadInput: no candidate has both values.
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
    dataset: str = "",
    dtype: str = "",
    steps: Sequence[int] = (),
    machine: str = "",
    results: str | Path = "results",
    progress: bool | Listener = True,
) -> Recommended:
    """Recommend a solver, tolerance and gradient method under limits of error and memory.

    Args:
        task: a name from ``nodebench list tasks``, a ``Problem``, or ``file.py:NAME`` of a ``Problem``.
        field: a vector field of your own, ``MODULE:CLASS``, in place of a task.
        state_shape: shape of one sample of the field's state: ``64`` or ``1,28,28``.
        model: a model of the task; empty for its first one.
        options: options of the task that differ from its defaults.
        error: largest allowed relative error of the gradient.
        max_memory: largest allowed peak memory of a training step, in bytes.
        measure: whether to run trials now, which takes some minutes; otherwise the records in ``results`` are used.
        minutes: run trials now, for at most this time: every candidate once, then repeat those that may be the choice.
        solver: with ``measure``, use only these solvers.
        seeds: with ``measure`` and without ``minutes``, number of replicates.
        device: with ``measure``, device of the trials.
        threads: CPU threads of a trial; None for any.
        data: the user's data file for the task ``series``, or the folder of the data sets.
        dataset: a data set of the task; empty for any.
        dtype: floating-point format of states and parameters; empty for any, and with ``measure`` for float32.
        steps: with ``measure``, steps per solve of fixed-step solvers; empty for several default values.
        machine: part of the name of the machine whose records are used; empty for this machine.
        results: folder of the runs.
        progress: whether to show a progress bar, or a ``Listener`` that shows the progress.

    Raises:
        BadInput: the problem is unknown, or no record matches it.
    """
    name, own = named(task)
    given = {
        name: [value] if isinstance(value, str | int | float) else value
        for name, value in {**own, **(options or {})}.items()
    }
    asked = with_task(
        Asked(
            task=name,
            field=field,
            state_shape=state_shape,
            dataset=dataset,
            model=model,
            options=given,
            dtype=dtype,
            device=device,
            threads=threads,
            data=Path(data) if data else None,
            steps=steps,
        )
    )
    if error is not None and error <= 0:
        raise BadInput(f"--error {error:g}: must be a positive number, relative to the norm of the gradient")
    measure = measure or minutes is not None
    if measure and machine:
        raise BadInput("--machine selects stored records, but --measure runs new trials here: use only one of them")
    if steps and not measure:
        raise BadInput("--steps requires --measure; stored records are compared over all step counts")
    if solver and not measure:
        raise BadInput("--solver requires --measure; stored records are compared over all solvers")
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
