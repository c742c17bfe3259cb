"""What to measure of a trial; a request is not part of the trial's id."""

import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from nodebench.errors import BadInput, choose
from nodebench.spec.frozen import Frozen
from nodebench.spec.trial import Trial

ATTEMPTS_VARIABLE = "NODEBENCH_ATTEMPTS"
_ATTEMPTS = 3


def attempts() -> int:
    """Return how often a trial runs, at most, if the speed of the machine changes during each run.

    Raises:
        BadInput: the environment variable is not a whole number of at least 1.
    """
    text = os.environ.get(ATTEMPTS_VARIABLE) or str(_ATTEMPTS)
    if not text.isdecimal() or int(text) < 1:
        raise BadInput(f"{ATTEMPTS_VARIABLE}={text}: must be a whole number, at least 1")
    return int(text)


class Pass(StrEnum):
    """A part of a trial; each pass measures its own metrics."""

    TRAINING = "training"
    MEMORY = "memory"
    NUMERICS = "numerics"

    @property
    def about(self) -> str:
        """A one-line description."""
        return _ABOUT[self]


_ABOUT = {
    Pass.TRAINING: "metrics, evaluations and times of the training",
    Pass.MEMORY: "memory of a training step",
    Pass.NUMERICS: "errors against a float64 reference, probes of the solver, the trained network at other tolerances",
}


def passes_named(names: Sequence[str]) -> tuple[Pass, ...]:
    """Return the named passes in the order in which they run.

    Raises:
        BadInput: there is no such pass, or the training is missing.
    """
    try:
        return _complete(Pass(choose("pass", name, list(Pass))) for name in names)
    except ValueError as error:
        raise BadInput(f"--passes '{','.join(names)}': {error}") from None


def _complete(passes: Iterable[Pass]) -> tuple[Pass, ...]:
    """Return the passes in the order in which they run.

    Raises:
        ValueError: the training is missing.
    """
    asked = set(passes)
    if Pass.TRAINING not in asked:
        raise ValueError("'training' is required: memory and numerics are measured at the trained weights")
    return tuple(one for one in Pass if one in asked)


Passes = Annotated[tuple[Pass, ...], AfterValidator(_complete)]


class Request(Frozen):
    """What is measured of a trial.

    Attributes:
        passes: passes to run.
        against: the baseline arm of an interleaved pass; None for no such pass.
        attempts: maximum number of runs; a run is repeated if the speed of the machine changed during it.
    """

    passes: Passes = tuple(Pass)
    against: Trial | None = None
    attempts: Annotated[int, Field(ge=1)] = 1


# Every pass, once.
EVERYTHING = Request()
