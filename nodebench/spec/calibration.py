"""A calibration: what a machine gave when the same trials were run again and again, and nothing had changed."""

from collections.abc import Mapping
from typing import Any

from nodebench.spec.frozen import Frozen

# By load and figure: one list a round, of one value a replicate.
Rounds = dict[str, dict[str, list[list[float]]]]


class Calibration(Frozen):
    """What ``nodebench calibrate`` measured on one machine, at one number of threads.

    Attributes:
        started: ISO 8601, UTC.
        environment: of the trials.
        threads: of each trial.
        rounds: see ``Rounds``; every replicate is a fresh process with the same seed.
        unequal: figures that are the same each time on a machine in order, and were not.
    """

    schema_version: int = 1
    started: str
    environment: dict[str, Any]
    threads: int
    rounds: Rounds
    unequal: tuple[str, ...] = ()


def machine_of(environment: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two machines alike, as far as time goes: processor, usable cores, accelerator."""
    accelerator = environment.get("accelerator") or {}
    return environment.get("cpu"), (environment.get("cores") or {}).get("usable"), accelerator.get("name")
