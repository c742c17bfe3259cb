"""A study: named grids that together produce one table or figure, read from a TOML file.

The file gives the settings of all scales, and under ``smoke``, ``quick`` and ``paper`` the settings that differ::

    about = "solution error and cost against tolerance"
    source = "Chen et al. 2018, Figure 3"
    claims = ["error-follows-tolerance"]
    seeds = 5
    smoke = { seeds = 1 }

    passes = ["training", "numerics"]

    [groups.tolerance]
    task = "mnist"
    rtol = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
    smoke = { rtol = [1e-1, 1e-3] }
    exclude = [{ reason = "…", solver = "rk4", gradient = "adjoint" }]
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from nodebench.errors import BadInput, choose, first_fault, nearest
from nodebench.spec.bounded import read_toml
from nodebench.spec.frozen import Frozen
from nodebench.spec.grid import DataSource, Exclusion, Grid, replicates
from nodebench.spec.names import Name, StudyName
from nodebench.spec.record import Limits
from nodebench.spec.request import Pass, Passes
from nodebench.spec.trial import Preset

REPRODUCED = "reproduced"  # the study of trials that are rerun from their records
RECOMMEND = "recommend"  # the study that 'nodebench recommend --measure' runs
CHECKPOINT_SECONDS = 600.0  # between two checkpoints of a trial, by default
RESERVED = (REPRODUCED, RECOMMEND)


class Study(Frozen):
    """The definition of a run: its grids, the limits of each trial and the location of the data.

    Attributes:
        name: name of the file, without ``.toml``; empty for a grid typed on the command line.
        about: one-line description.
        source: the published source.
        claims: ids of the published claims that its records are evidence for.
        passes: what is measured of each trial; ``training`` is always one of them.
        checkpoint_every: seconds between two checkpoints of a trial's training; 0 for none.
        timing: whether times matter; if so, trials run one at a time unless requested otherwise.
        pictures: whether the report page of the study shows plots of what the models learned.
        without_accelerator: text that the report page shows if no record is from an accelerator.
        order: seed of the order in which the trials of a replicate run.
        groups: grids by name; a trial that is in two of them runs once.
        limits: resource limits of each trial.
        data: location of the user's data.
    """

    name: StudyName = ""
    about: str = ""
    source: str = ""
    claims: list[Name] = []
    passes: Passes = tuple(Pass)
    checkpoint_every: Annotated[float, Field(ge=0, allow_inf_nan=False)] = CHECKPOINT_SECONDS
    timing: bool = True
    pictures: bool = False
    without_accelerator: str = ""
    order: int = 0
    groups: dict[Name, Grid] = Field(min_length=1)
    limits: Limits = Limits()
    data: DataSource = DataSource()

    def with_axes(self, **axes: object) -> "Study":
        """Return the study with some axes replaced in every grid."""
        groups = {name: grid.model_copy(update=axes) for name, grid in self.groups.items()}
        return self.model_copy(update={"groups": groups})


def shipped_studies() -> dict[str, Path]:
    """The studies that come with nodebench, by name."""
    folder = Path(str(resources.files("nodebench"))) / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_study(name: str, preset: Preset) -> Study:
    """Read a shipped study by name, or any study by the path of its ``.toml`` file, at one scale.

    Raises:
        BadInput: the study does not exist or cannot be read; the message names the location and the nearest match.
    """
    shipped = shipped_studies()
    path = Path(name) if name.endswith(".toml") else shipped[choose("study", name, shipped)]
    try:
        content = read_toml(path)
        if path.stem in RESERVED or (path.stem in shipped and content != read_toml(shipped[path.stem])):
            raise BadInput(f"{path}: the name '{path.stem}' is reserved; rename the file, for example my-{path.name}")
    except BadInput as error:
        raise BadInput(f"study {error}") from None
    try:
        # Validate every scale, so that an error in another scale is reported too.
        return {scale: _at(content, path.stem, scale) for scale in Preset}[preset]
    except BadInput as error:
        raise BadInput(f"study {path}: {error}") from None


def _at(content: Mapping[str, Any], name: str, preset: Preset) -> Study:
    merged = _merged(content, preset)
    seeds = merged.pop("seeds", 1)
    if type(seeds) is not int or seeds < 1:
        raise BadInput(f"seeds = {seeds}: must be a whole number, at least 1")
    groups = merged.get("groups")
    if not isinstance(groups, dict) or not all(isinstance(group, dict) for group in groups.values()):
        raise BadInput("no table [groups.NAME]; a study needs at least one named grid")
    common = {"seed": replicates(seeds), "preset": preset}
    try:
        return Study.model_validate(
            merged | {"name": name, "groups": {key: common | _merged(group, preset) for key, group in groups.items()}}
        )
    except ValidationError as error:
        raise BadInput(_complaint(error)) from None


def _merged(table: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    """Return a table with the settings of one scale merged into it, option by option."""
    plain = {key: value for key, value in table.items() if key not in list(Preset)}
    changes = table.get(preset, {})
    if not isinstance(changes, dict):
        raise BadInput(f"{preset} = {changes!r}: must be a table of the settings that differ at this scale")
    if isinstance(options := changes.get("overrides"), dict):
        changes = changes | {"overrides": plain.get("overrides", {}) | options}
    return plain | changes


_MODELS: dict[str, type[BaseModel]] = {"groups": Grid, "exclude": Exclusion, "limits": Limits, "data": DataSource}


def _complaint(error: ValidationError) -> str:
    """Return the first validation error as a message, with the nearest key if a key is unknown."""
    fault = first_fault(error)
    if error.errors()[0]["type"] != "extra_forbidden":
        return str(fault)
    place = fault.path
    where = ".".join(map(str, place))
    model: type[BaseModel] = Study
    for part in place[:-1]:
        model = _MODELS.get(str(part), model)
    allowed = [*model.model_fields, *(Preset if model in (Study, Grid) else ())]
    allowed = ["seeds" if model is Study and key == "name" else key for key in allowed]
    near = nearest(str(place[-1]), allowed)
    hint = f"; did you mean {near}?" if near else "."
    return f"no key named '{where}'{hint} Allowed: {', '.join(allowed)}"
