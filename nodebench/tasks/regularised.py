"""Options of regularised training, which tasks with an ODE inherit."""

from pydantic import Field

from nodebench.models.regularised import Regularisation, RegularisedIntegrator
from nodebench.solvers import Integrator
from nodebench.tasks.contract import Options


class PenaltyOptions(Options):
    """Weights of penalties that are integrated along each solve of the training.

    The default is None, so that records made before these options existed still match the frozen claims.
    """

    kinetic: float | None = Field(None, ge=0)  # of the squared field (RNODE)
    jacobian: float | None = Field(None, ge=0)  # of the squared Jacobian (RNODE)
    taylor2: float | None = Field(None, ge=0)  # of the squared second derivative of the solution (TayNODE)
    taylor3: float | None = Field(None, ge=0)  # of the squared third derivative


class RegularisedOptions(PenaltyOptions):
    """Penalties and STEER, for tasks whose solves have no outputs between start and end."""

    steer: float | None = Field(None, ge=0, lt=1)  # the end time varies by up to this share of the span (STEER)


def regularised(solve: Integrator, options: PenaltyOptions) -> RegularisedIntegrator:
    """Return ``solve`` with the penalties and the random end time of ``options``."""
    weights = options.model_dump(include=set(RegularisedOptions.model_fields), exclude_none=True)
    return RegularisedIntegrator(solve, Regularisation(**weights))
