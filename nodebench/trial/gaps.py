"""Why an optional part of a trial gave nothing: its exception leaves a gap in the record, and this is the reason."""

from nodebench.errors import first_line
from nodebench.solvers import Integrator
from nodebench.solvers.precision import NoCopy
from nodebench.spec import Reason, ReasonCode, SolveFailed, Status


def survived(solve: Integrator, error: Exception) -> SolveFailed | str:
    """What ended an optional part: a failed solve, or else the type and the first line of the exception.

    Raises:
        Exception: ``error`` itself, if the time limit of the trial has passed.
    """
    failure = solve.failure(error)
    if failure is not None and failure.status is Status.TIMEOUT:
        raise error
    return failure or f"{type(error).__name__}: {first_line(error)}"


def failed_probe(solve: Integrator, error: Exception) -> Reason:
    """Why a probe gave nothing: its solve failed, which says something of the solver, or something else did."""
    failed = survived(solve, error)
    if isinstance(failed, SolveFailed):
        return Reason(code=ReasonCode.PROBE_FAILED, message=f"the probe failed: {failed}")
    return Reason(code=ReasonCode.OTHER, message=f"an exception ended the probe: {failed}")


def no_reference(solve: Integrator, error: Exception) -> Reason:
    """Why there are no errors of solution and gradient."""
    if isinstance(error, NoCopy):
        return Reason(code=ReasonCode.NO_REFERENCE, message=f"the field has no float64 copy: {error}")
    message = f"the probe or its float64 reference failed: {survived(solve, error)}"
    return Reason(code=ReasonCode.NO_REFERENCE, message=message)
