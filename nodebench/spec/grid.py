"""A grid: the choices of one command, which multiply into trials. A study: a grid with its surroundings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from nodebench.spec.record import Frozen, Limits
from nodebench.spec.trial import Gradient, Positive, Preset, Scalar, Seed


class Grid(BaseModel):
    """What the user asked for, before the defaults of task and solver fill the gaps.

    An empty list means "the default". Every value given must end up in at least one trial, or the grid is
    refused: ``rk4`` beside ``dopri5`` with an ``rtol`` is fine, ``rk4`` alone with an ``rtol`` is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    dataset: list[str] = Field(default_factory=list)
    model: list[str] = Field(default_factory=list)
    solver: list[str] = Field(default_factory=list)
    gradient: list[Gradient] = Field(default_factory=list)
    rtol: list[Positive] = Field(default_factory=list)
    atol: list[Positive] = Field(default_factory=list)
    adjoint_rtol: Positive | None = None
    adjoint_atol: Positive | None = None
    step_size: list[Positive] = Field(default_factory=list)
    seed: list[Seed] = Field(default_factory=lambda: [0])
    preset: Preset = Preset.QUICK
    overrides: dict[str, Scalar] = Field(default_factory=dict)
    device: str = "cpu"
    dtype: Literal["float32", "float64"] = "float32"
    threads: Annotated[int, Field(ge=1)] | None = None


class DataSource(Frozen):
    """Where the user's data lies; a place, and so no part of a trial."""

    folder: Path | None = None
    download: bool = False


class Study(Frozen):
    """All that a run needs to be gone on with: its grid, the limits of each trial, and where the data lies."""

    grid: Grid
    limits: Limits = Limits()
    data: DataSource = DataSource()
