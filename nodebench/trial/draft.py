"""Results of a trial that are collected while it runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nodebench.solvers import Integrator
from nodebench.spec import Interleaved, Reason, ReasonCode
from nodebench.trial.missing_reasons import failure_of
from nodebench.trial.traits import Traits

Row = dict[str, float | None]

NO_ODE = Reason(code=ReasonCode.NO_ODE, message="the model has no ODE")
NO_TRAINING = Reason(code=ReasonCode.NO_TRAINING, message="the task has no training")

# Columns of the history that are not metrics.
_NO_METRICS = {"epoch", "loss", "seconds", "nfe_forward", "nfe_backward", "nfe_probe", "nfe_probe_tight"}


@dataclass
class Draft:
    """Results of a trial so far; a failed trial keeps them."""

    metrics: Row = field(default_factory=dict)
    costs: dict[str, int | float | None] = field(default_factory=dict)
    reasons: dict[str, Reason] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    profile: list[Row] = field(default_factory=list)
    passes_agree: bool | None = None
    traits: Traits = field(default_factory=dict)
    interleaved: Interleaved | None = None
    wrong: str | None = None

    @property
    def metric_names(self) -> set[str]:
        """The metrics of the latest epoch."""
        return set(self.history[-1]) - _NO_METRICS

    def missing(self, names: Iterable[str], reason: Reason) -> None:
        """Set costs to None, and record why they were not measured."""
        for name in names:
            self.costs[name] = None
            self.reasons[name] = reason

    def add_traits(self, find: Callable[[], Traits], solve: Integrator) -> None:
        """Add field traits found by evaluations outside the training; if these fail, record the reason instead."""
        try:
            self.traits |= find()
        except Exception as error:
            message = f"an evaluation outside the training failed: {failure_of(solve, error)}"
            self.reasons["traits"] = Reason(code=ReasonCode.OTHER, message=message)
