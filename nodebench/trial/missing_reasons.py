"""Reasons for results that are missing because an optional part of a trial raised an exception."""

from nodebench.errors import first_line
from nodebench.solvers import Integrator
from nodebench.solvers.precision import NoCopy
from nodebench.spec import Reason, ReasonCode, SolveFailed, Status


def failure_of(solve: Integrator, error: Exception) -> SolveFailed | str:
    """Return why an optional part failed: the failed solve, or else the type and first line of the exception.

    Raises:
        Exception: ``error`` itself, if the time limit of the trial has passed.
    """
    failure = solve.failure(error)
    if failure is not None and failure.status is Status.TIMEOUT:
        raise error
    return failure or f"{type(error).__name__}: {first_line(error)}"


def probe_failure(solve: Integrator, error: Exception) -> Reason:
    """Return why a probe has no result; a failed solve has its own code, since it is evidence about the solver."""
    failed = failure_of(solve, error)
    if isinstance(failed, SolveFailed):
        return Reason(code=ReasonCode.PROBE_FAILED, message=f"the probe failed: {failed}")
    return Reason(code=ReasonCode.OTHER, message=f"an exception ended the probe: {failed}")


def reference_failure(solve: Integrator, error: Exception) -> Reason:
    """Return why the solution error and the gradient error could not be computed."""
    if isinstance(error, NoCopy):
        return Reason(code=ReasonCode.NO_REFERENCE, message=f"the field has no float64 copy: {error}")
    message = f"the probe or its float64 reference failed: {failure_of(solve, error)}"
    return Reason(code=ReasonCode.NO_REFERENCE, message=message)
