"""A calibration: the noise of a machine, measured by repeating the same trials under unchanged conditions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from nodebench.spec.environment import Environment
from nodebench.spec.frozen import Frozen
from nodebench.spec.metrics import several

# By load and metric: one list per round, with one value per replicate.
Rounds = dict[str, dict[str, list[list[float]]]]


class Calibration(Frozen):
    """What ``nodebench calibrate`` measured on one machine, at one number of threads.

    Attributes:
        started: ISO 8601, UTC.
        environment: environment of the trials.
        threads: number of threads of each trial.
        rounds: measured values, see ``Rounds``; every replicate is a fresh process with the same seed.
        unequal: deterministic metrics whose values nevertheless differed.
    """

    schema_version: Literal[1] = 1
    started: str
    environment: Environment
    threads: Annotated[int, Field(ge=1)]
    rounds: Rounds
    unequal: tuple[str, ...] = ()


def machine_of(environment: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what must be equal for comparing times of two machines: processor, usable cores, accelerator."""
    accelerator = environment.get("accelerator") or {}
    return environment.get("cpu"), (environment.get("cores") or {}).get("usable"), accelerator.get("name")


def machine_label(environment: Mapping[str, Any]) -> str:
    """Format ``machine_of`` as a label: ``AMD EPYC, 2 cores``."""
    cpu, cores, accelerator = machine_of(environment)
    known = [cpu or "unknown processor", several(cores, "core") if cores else None, accelerator]
    return ", ".join(str(part) for part in known if part)
