"""A record: the result of one trial, as one line of JSON."""

import hashlib
import json
from base64 import b64decode
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from nodebench.errors import BadInput, first_fault
from nodebench.escapes import for_json
from nodebench.spec.bounded import parse_json
from nodebench.spec.environment import Environment
from nodebench.spec.frozen import Frozen
from nodebench.spec.names import Name, RecordId
from nodebench.spec.reasons import Reason
from nodebench.spec.request import Pass, Request
from nodebench.spec.trial import Positive, Trial

SCHEMA_VERSION = 4
WITHOUT_CHECKSUM = 1  # schema version of records without a checksum; they have no field ``place`` either
NAMES = 1000  # maximum number of metrics, costs, reasons or options of one record
ROWS = 100_000  # maximum number of rows of a history or a profile


class Status(StrEnum):
    """How a trial ended. Every planned trial ends in a record, also a failed one."""

    OK = "ok"
    TIMEOUT = "timeout"
    NFE_BUDGET = "nfe-budget"
    MEMORY_BUDGET = "memory-budget"
    DT_UNDERFLOW = "dt-underflow"
    NON_FINITE = "non-finite"
    STANDSTILL = "standstill"
    CRASHED = "crashed"
    ERROR = "error"
    UNSUPPORTED = "unsupported"
    NO_DEVICE = "no-device"
    INTERRUPTED = "interrupted"

    @property
    def sentence(self) -> str:
        """A description for tables: what happened and what to try next."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.OK: "finished",
    Status.TIMEOUT: "ran past its time limit; raise --timeout or choose a smaller preset",
    Status.NFE_BUDGET: "one solve asked for more evaluations than allowed; raise --max-nfe or loosen rtol",
    Status.MEMORY_BUDGET: "used more memory than allowed; raise --memory-limit, shrink the batch, or use the adjoint",
    Status.DT_UNDERFLOW: "the step size became too small to change t in this number format; the field may be stiff",
    Status.NON_FINITE: "the field, the state or the loss became NaN or infinite",
    Status.STANDSTILL: "no output differs from the initial state: each update was rounded to zero; use a wider format",
    Status.CRASHED: "the process was killed by a signal",
    Status.ERROR: "an exception ended the trial; the last lines of its output are in the record",
    Status.UNSUPPORTED: "this combination cannot be run",
    Status.NO_DEVICE: "the device is not present",
    Status.INTERRUPTED: "stopped by the user",
}


class SolveFailed(Exception):
    """Raised if a solve ends without a solution; holds the status of the trial."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class Limits(Frozen):
    """Resource limits of one trial; None means no limit.

    Attributes:
        timeout: wall time of all passes together, in seconds.
        max_nfe: number of evaluations of one forward solve, or of all backward solves of a training step together.
        memory: memory (PSS) of all processes of the trial together, in bytes.
    """

    timeout: Annotated[float, Field(gt=0)] | None = None
    max_nfe: Annotated[int, Field(gt=0)] | None = None
    memory: Annotated[int, Field(gt=0)] | None = None


class Failure(Frozen):
    """The state of a trial when it failed.

    Attributes:
        phase: phase in which the trial failed.
        message: what happened, in one line.
        t: the time that the solve had reached.
        dt: the step size that the solve tried.
        nfe: evaluations so far in the solve that failed.
        stderr: the last lines that the trial printed.
    """

    phase: str | None = None
    message: str
    t: float | None = None
    dt: float | None = None
    nfe: int | None = None
    stderr: list[str] = Field(default_factory=list)


class DataCard(Frozen):
    """The data that a trial used. Results of two data sets are never mixed in one table.

    Attributes:
        name: name of the data set.
        train: number of training items.
        test: number of test items.
        sha256: SHA-256 hash of the data.
    """

    name: Name
    train: int
    test: int
    sha256: str


class FieldTrait(StrEnum):
    """Ways in which a vector field differs from a pure function of time and state."""

    RANDOM = "random"  # two evaluations at one point differ because of torch's random numbers
    STATEFUL = "stateful"  # two evaluations at one point differ for another reason
    UPDATES_BUFFERS = "updates-buffers"  # an evaluation in training mode changes buffers, as BatchNorm does
    FIXED_BATCH = "fixed-batch"  # it accepts batches of one size only

    @property
    def is_repeatable(self) -> bool:
        """Whether two evaluations at one point are nevertheless equal."""
        return self not in (FieldTrait.RANDOM, FieldTrait.STATEFUL)


class Measured(Frozen):
    """Hashes of the user's code that a trial ran, and of its initial state.

    Attributes:
        modules: the user's modules that define the field, each with the hash of its file.
        packages: third-party packages that these modules import, each with its version and, if known, its commit.
        state: hash of parameters, buffers and plain tensors before the first step; it depends on the seed if they are
            drawn at random.
    """

    modules: dict[str, str]
    packages: dict[str, str]
    state: str

    @property
    def code(self) -> str:
        """One hash of modules and packages."""
        parts = sorted([*self.modules.items(), *self.packages.items()])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def differing(first: Measured, second: Measured) -> str:
    """Describe what differs: ``module mine, package torchsde``, or ``the initial weights`` if the code is equal."""
    kinds = (("module", first.modules, second.modules), ("package", first.packages, second.packages))
    parts = [
        f"{kind} {name}"
        for kind, before, after in kinds
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return ", ".join(parts) or "the initial weights"


class Place(Frozen):
    """The position of a trial in its study, and the machine and cores it ran on.

    Attributes:
        study: name of the study; None for a grid typed on the command line.
        groups: groups of the study that contain the trial.
        number: index of the trial in the order of the study's file, which is not the order in which trials run.
        host: name of the machine if it is not the machine of the parent process.
        cores: CPU cores reserved for the trial; None if it was not bound to cores.
        visible_devices: value of ``CUDA_VISIBLE_DEVICES``; None if it was not set.
        shared: whether other trials of the run may have used the same cores, which makes times unreliable.
        attempts: how often the trial was started; it is restarted if its worker was lost, or if the speed of the
            machine changed during the trial.
    """

    study: Name | None = None
    groups: tuple[Name, ...] = ()
    number: int | None = None
    host: str | None = None
    cores: tuple[int, ...] | None = None
    visible_devices: str | None = None
    shared: bool = False
    attempts: int = 1


class Interleaved(Frozen):
    """Costs of a trial's step relative to a baseline arm, measured in one process in alternating blocks.

    Attributes:
        baseline: the trial of the baseline arm, from the same seed.
        blocks: number of measured pairs of blocks.
        steps: number of training steps in a block.
        ratios: cost of this arm divided by that of the baseline, median over the pairs of blocks; for ``step_seconds``,
            ``forward_seconds``, ``backward_seconds`` and ``nfe_forward``.
        spread: half the interquartile range of these ratios, relative to their median, by metric.
    """

    baseline: Trial
    blocks: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    ratios: dict[str, Positive]
    spread: dict[str, float] = Field(default_factory=dict)


class Resumed(Frozen):
    """How a trial was resumed from its checkpoints after its process had ended.

    Attributes:
        times: how often it was resumed.
        seconds: wall time of the earlier processes from setup to the checkpoint; part of ``duration_seconds`` and
            ``passes_seconds``.
    """

    times: Annotated[int, Field(ge=1)]
    seconds: Annotated[float, Field(ge=0)]


Row = dict[str, float | None]


def _with_epochs(rows: list[Row]) -> list[Row]:
    if any(row.get("epoch") is None for row in rows):
        raise PydanticCustomError("epoch", "a row without an epoch")
    return rows


class Record(Frozen):
    """The result of one trial. ``nodebench.spec.metrics`` defines its metrics and costs.

    A metric or cost that could not be measured is None, never zero; ``reasons`` says why.

    Attributes:
        schema_version: schema version of the record; older versions can be read.
        id: id of the trial.
        trial: the trial that was run.
        status: how it ended.
        started: ISO 8601, UTC.
        duration_seconds: wall time of the whole trial.
        metrics: metrics of the task, by name.
        costs: NFE, seconds, bytes and errors, by name.
        reasons: why a metric or cost is None, by name.
        history: one row an epoch.
        profile: results of the trained network under other solver settings, one row each.
        passes: the requested passes; all passes in records up to schema 3.
        passes_agree: whether the other passes took the same steps as the training: equal NFE and loss.
        options: all options of the task, defaults included.
        data: data set that the trial used; None if the task generates its data.
        calibration: seconds of the reference load before and after the trial; for a resumed trial, before each of its
            processes and after the last one.
        drifted: whether the machine's speed changed by a quarter or more.
        environment: machine and software.
        limits: resource limits of the trial.
        failure: details of the failure; None if the trial did not fail.
        place: study, groups and number of the trial, and the machine and cores it ran on.
        measured: hashes of the user's code and weights, if the task runs them.
        traits: how the vector field differs from a pure function, each with what was observed.
        interleaved: costs relative to a baseline in alternating blocks; None if not requested.
        resumed: how the trial was resumed from checkpoints; None if it ran in one process.
        wrong: which test items were classified wrongly: packed bits, base64.
    """

    schema_version: Annotated[int, Field(strict=True, ge=1)] = SCHEMA_VERSION
    id: RecordId
    trial: Trial
    status: Status
    started: str
    duration_seconds: float
    metrics: dict[str, float | None] = Field(default_factory=dict, max_length=NAMES)
    costs: dict[str, int | float | None] = Field(default_factory=dict, max_length=NAMES)
    reasons: dict[str, Reason] = Field(default_factory=dict, max_length=NAMES)
    history: Annotated[list[Row], AfterValidator(_with_epochs)] = Field(default_factory=list, max_length=ROWS)
    profile: list[Row] = Field(default_factory=list, max_length=ROWS)
    passes: tuple[Pass, ...] = tuple(Pass)
    passes_agree: bool | None = None
    options: dict[str, Any] = Field(default_factory=dict, max_length=NAMES)
    data: DataCard | None = None
    calibration: list[Positive] = Field(default_factory=list)
    drifted: bool | None = None
    environment: Environment = Field(default_factory=Environment)
    limits: Limits = Limits()
    failure: Failure | None = None
    place: Place = Place()
    measured: Measured | None = None
    traits: dict[FieldTrait, str] = Field(default_factory=dict)
    interleaved: Interleaved | None = None
    resumed: Resumed | None = None
    wrong: str | None = None

    def wrong_items(self) -> list[bool] | None:
        """Return whether each test item was classified wrongly; None if the task does not record it.

        Raises:
            ValueError: the number of bits does not match the number of test items.
        """
        if self.wrong is None or self.data is None:
            return None
        packed = b64decode(self.wrong, validate=True)
        if len(packed) != -(-self.data.test // 8):
            raise ValueError(f"wrong: {len(packed)} bytes for {self.data.test} test items")
        return [bool(packed[i // 8] >> (7 - i % 8) & 1) for i in range(self.data.test)]

    def answers(self, request: Request) -> bool:
        """Return whether the record of a finished trial has everything that ``request`` asks for.

        An interleaved pass that could not be measured counts as answered if ``reasons`` says why.
        """
        if not set(request.passes) <= set(self.passes):
            return False
        if request.against is None or "interleaved" in self.reasons:
            return True
        return self.interleaved is not None and self.interleaved.baseline.id == request.against.id

    def line(self) -> str:
        """Return the record as one line of JSON, without the newline; it ends with a checksum of the text before it."""
        body = for_json(self.model_dump_json())
        return f'{body[:-1]}{_CHECKSUM}"{_checksum(body)}"}}'

    @classmethod
    def parse(cls, line: str | bytes) -> "Record":
        """Parse one line and verify its checksum.

        Raises:
            Edited: the checksum does not match, or is missing although it is required.
            Newer: the record was written by a newer nodebench.
            BadInput: the line is not a record.
        """
        text = line.decode(errors="surrogateescape") if isinstance(line, bytes) else line
        text = text.removesuffix("\n")
        content = parse_json(line)
        if not isinstance(content, dict):
            raise BadInput("not a record: not a JSON object")
        version = content.get("schema_version")
        if type(version) is not int or version < 1:
            raise BadInput("not a record: schema_version: must be a whole number, at least 1")
        if version > SCHEMA_VERSION:
            refused = Newer if _is_intact(text) else BadInput
            raise refused(f"a record of schema {version}; this nodebench reads up to {SCHEMA_VERSION}: upgrade it")
        checked = content.pop("checksum", None) is not None or version > WITHOUT_CHECKSUM or "place" in content
        try:
            record = cls.model_validate(content)
            datetime.fromisoformat(record.started)
            record.wrong_items()
        except ValidationError as error:
            raise BadInput(f"not a record: {first_fault(error)}") from None
        except ValueError as error:
            raise BadInput(f"not a record: {error}") from None
        if checked and not _is_intact(text):
            raise Edited(record)
        return record


class Newer(BadInput):
    """An intact record that only a newer nodebench can read."""


class Edited(BadInput):
    """A record that was modified after it was written.

    Attributes:
        record: the modified record.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(f"record {record.id} was modified: its checksum does not match")
        self.record = record


_CHECKSUM = ',"checksum":'


def _is_intact(line: str) -> bool:
    """Return whether a line ends with the correct checksum of the text before it."""
    body, _, checksum = line.rpartition(_CHECKSUM)
    return checksum == f'"{_checksum(body + "}")}"}}'


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode(errors="surrogateescape")).hexdigest()[:16]
