"""Hand-made records and claims for the tests of statistics and reports."""

from dataclasses import replace
from typing import Any

from nodebench.claims import Claim, Part, Topic
from nodebench.claims.contract import Source
from nodebench.spec import Failure, Record, Status, Trial
from nodebench.spec.record import DataCard, Place

ENVIRONMENT = {
    "nodebench": "1.0",
    "cpu": "a processor",
    "packages": {"torch": "2.0", "torchdiffeq": "0.2", "scipy": "1.0"},
    "code": {"commit": "c0ffee00", "dirty": False},
}


def evidence(
    seed: int = 0,
    *,
    metrics: dict[str, float] | None = None,
    costs: dict[str, float] | None = None,
    options: dict[str, Any] | None = None,
    status: Status = Status.OK,
    started: str = "",
    environment: dict[str, Any] | None = None,
    study: str | None = "toys",
    groups: tuple[str, ...] = (),
    data: str | None = None,
    data_card: DataCard | None = None,
    **axes: Any,
) -> Record:
    """Return a record; arguments that are not given have fixed defaults."""
    known = {"task": "toy/spiral", "model": "small", "solver": "dopri5", "rtol": 1e-3, "atol": 1e-5}
    more = {name: axes.pop(name) for name in list(axes) if name in Record.model_fields}
    trial = Trial(**(known | {"gradient": "direct"} | axes), seed=seed)
    failed = status is not Status.OK
    return Record(
        id=trial.id,
        trial=trial,
        status=status,
        started=started or f"2026-01-01T00:00:{seed % 60:02d}",
        duration_seconds=1.0,
        metrics=metrics or {},
        costs=costs or {},
        options=options or {},
        data=DataCard(name="data", train=1, test=1, sha256=data) if data else data_card,
        environment=environment or ENVIRONMENT,
        passes_agree=None if failed else True,
        failure=Failure(message="planted") if failed else None,
        place=Place(study=study, groups=groups),
        **more,
    )


def claim(part: Part, **changes: Any) -> Claim:
    """Return a claim of one part; unless the part has a home, every condition is a home condition."""
    known: dict[str, Any] = {
        "id": "planted",
        "topic": Topic.TIME,
        "sentence": "It is so.",
        "source": Source(paper="a paper", place="section 1", quote="it is so"),
        "published": "a figure",
        "home": "everywhere",
        "studies": ("toys",),
        "parts": (part if part.home is not None else replace(part, home={}),),
    }
    return Claim(**(known | changes))


# The axes of a trial, and a different value of each axis except the seed.
BASE: dict[str, Any] = {
    "task": "toy/spiral",
    "model": "small",
    "solver": "dopri5",
    "rtol": 1e-3,
    "atol": 1e-5,
    "gradient": "adjoint",
    "adjoint_rtol": 1e-3,
    "adjoint_atol": 1e-5,
}
DIFFERING: dict[str, Any] = {
    "task": "toy/random",
    "dataset": "another",
    "model": "deep",
    "overrides": {"noise": 0.1},
    "solver": "bosh3",
    "batching": "worst",
    "compile": "field",
    "rtol": 1e-4,
    "atol": 1e-6,
    "step_size": 0.1,
    "first_step": 0.1,
    "gradient": "adjoint-seminorm",
    "segments": 4,
    "coupling": 0.9,
    "adjoint_rtol": 1e-4,
    "adjoint_atol": 1e-6,
    "dtype": "float64",
    "autocast": "bfloat16",
    "threads": 2,
    "preset": "smoke",
    "device": "cuda",
}
