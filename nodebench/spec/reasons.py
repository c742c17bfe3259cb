"""Why a metric was not measured: a code that programs read, and a message that people read."""

from enum import StrEnum
from typing import Any

from pydantic import model_validator

from nodebench.spec.frozen import Frozen


class ReasonCode(StrEnum):
    """Why a metric is missing from a record. Programs compare these codes, never the text of a message."""

    NO_ODE = "no-ode"  # the model has no ODE
    NO_TRAINING = "no-training"  # the task trains nothing
    UNDEFINED = "undefined"  # the task does not define the metric for this trial
    NOT_FINITE = "not-finite"  # the metric was NaN or infinite
    NOT_REQUESTED = "not-requested"  # the study did not ask for this pass
    NOT_APPLICABLE = "not-applicable"  # the metric has no meaning for this solver, gradient or batching
    NOT_OBSERVABLE = "not-observable"  # no meter or library can report it
    PROBE_FAILED = "probe-failed"  # the solve of a probe failed
    NO_REFERENCE = "no-reference"  # there is no float64 reference to compare with
    RANDOM_FIELD = "random-field"  # the field draws random numbers or keeps state between evaluations
    DRIFTED = "drifted"  # the speed of the machine changed during every run of the trial
    RESUMED = "resumed"  # the trial was resumed from a checkpoint: its times come from several processes
    OTHER = "other"


class Reason(Frozen):
    """Why a metric was not measured.

    Attributes:
        code: for programs.
        message: for people, one line.
    """

    code: ReasonCode
    message: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Read the plain text that records up to schema 3 hold."""
        return {"code": _code_of_text(value), "message": value} if isinstance(value, str) else value

    def __str__(self) -> str:
        return self.message


# Wording of records up to schema 3. New records hold the code itself.
_OLD_WORDING = {
    "the probe failed": ReasonCode.PROBE_FAILED,
    "the probe or its float64 reference failed": ReasonCode.NO_REFERENCE,
    "the trial's tolerance is as tight as the reference's": ReasonCode.NO_REFERENCE,
    "the model has no ODE": ReasonCode.NO_ODE,
    "the task trains nothing": ReasonCode.NO_TRAINING,
    "the task does not define it": ReasonCode.UNDEFINED,
    "the library does not tell": ReasonCode.NOT_OBSERVABLE,
    "direct solves nothing backwards": ReasonCode.NOT_APPLICABLE,
    "each sample steps on its own": ReasonCode.NOT_APPLICABLE,
    "the device": ReasonCode.NOT_OBSERVABLE,
}


def _code_of_text(text: str) -> ReasonCode:
    return next((code for start, code in _OLD_WORDING.items() if text.startswith(start)), ReasonCode.OTHER)
