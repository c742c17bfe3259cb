"""A record: what one trial gave, as one line of JSON."""

import hashlib
import json
from base64 import b64decode
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from nodebench.errors import BadInput
from nodebench.escapes import for_json
from nodebench.spec.bounded import parse_json
from nodebench.spec.environment import Environment
from nodebench.spec.frozen import Frozen
from nodebench.spec.names import Name, RecordId
from nodebench.spec.reasons import Reason
from nodebench.spec.request import Pass, Request
from nodebench.spec.trial import Positive, Trial

SCHEMA_VERSION = 4
WITHOUT_CHECKSUM = 1  # the schema whose records have none; they have no place either
NAMES = 1000  # metrics, costs, reasons or options of one record, at most
ROWS = 100_000  # of a history or a profile, at most


class Status(StrEnum):
    """How a trial ended. Every planned trial ends in a record, and a failure is data."""

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
        """What happened and what to try next, for the person who reads the table."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.OK: "finished",
    Status.TIMEOUT: "ran past its time limit; raise --timeout or choose a smaller preset",
    Status.NFE_BUDGET: "one solve asked for more evaluations than allowed; raise --max-nfe or loosen rtol",
    Status.MEMORY_BUDGET: "used more memory than allowed; raise --memory-limit or use the adjoint gradient",
    Status.DT_UNDERFLOW: "the step size fell below what the number format can add to t; the field may be stiff",
    Status.NON_FINITE: "the field, the state or the loss became NaN or infinite",
    Status.STANDSTILL: "no output differs from the initial state: each update was rounded to zero; use a wider format",
    Status.CRASHED: "the process died of a signal",
    Status.ERROR: "an exception ended the trial; its last lines are in the record",
    Status.UNSUPPORTED: "this combination cannot be run",
    Status.NO_DEVICE: "the device is not present",
    Status.INTERRUPTED: "stopped by the user",
}


class SolveFailed(Exception):
    """A solve that ended without a solution, and the status that its trial gets."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class Limits(Frozen):
    """Budgets of one trial; null is no limit.

    Attributes:
        timeout: seconds, all passes together.
        max_nfe: evaluations of one solve, in one direction.
        memory: bytes, PSS, all processes of the trial together.
    """

    timeout: Annotated[float, Field(gt=0)] | None = None
    max_nfe: Annotated[int, Field(gt=0)] | None = None
    memory: Annotated[int, Field(gt=0)] | None = None


class Failure(Frozen):
    """Where a trial stood when it failed.

    Attributes:
        phase: of the trial.
        message: what happened, in one line.
        t: the time that the solve had reached.
        dt: the step that it tried.
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
    """Which data a trial saw. Results of two data sets are never mixed in one table.

    Attributes:
        name: of the data set.
        train: items to learn from.
        test: items to test on.
        sha256: of the data.
    """

    name: Name
    train: int
    test: int
    sha256: str


class FieldTrait(StrEnum):
    """What a vector field does besides returning a derivative that depends on time and state alone."""

    RANDOM = "random"  # two evaluations at one point differ, by random numbers of torch's
    STATEFUL = "stateful"  # two evaluations at one point differ for another reason
    UPDATES_BUFFERS = "updates-buffers"  # an evaluation in training mode changes buffers, as BatchNorm does
    FIXED_BATCH = "fixed-batch"  # it can be evaluated at batches of one size only

    @property
    def is_repeatable(self) -> bool:
        """Whether two evaluations at one point are equal all the same."""
        return self not in (FieldTrait.RANDOM, FieldTrait.STATEFUL)


class Measured(Frozen):
    """The code of the user's that a trial has run, and its state at the start, by hash.

    Attributes:
        modules: the user's modules that the field comes from, each with the hash of its file.
        packages: third-party packages that these import, each with its version and, where it is known, its commit.
        state: hash of parameters, buffers and plain tensors before the first step; it differs from seed to seed
            where these are drawn at random.
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
    """What differs: ``module mine, package torchsde``; the initial weights where the code is the same."""
    kinds = (("module", first.modules, second.modules), ("package", first.packages, second.packages))
    parts = [
        f"{kind} {name}"
        for kind, before, after in kinds
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return ", ".join(parts) or "the initial weights"


class Place(Frozen):
    """Where a trial stood in its study and on its machine.

    Attributes:
        study: its name; null for a grid typed on the command line.
        groups: those that asked for the trial.
        number: in the order of the study's file, which is not the order in which trials run.
        host: the machine, where it is not the parent's.
        cores: those that the trial had to itself; null where it was bound to none.
        visible_devices: the CUDA devices that the trial could see, as ``CUDA_VISIBLE_DEVICES`` had them; null where it
            was not set.
        shared: whether other trials of the run may have run on the same cores, so that seconds tell little.
        attempts: how often it was started: again where its worker was lost, or where the speed of the machine changed
            during it.
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
    """Costs of a trial's step over those of a baseline arm that ran in the same process, in alternating blocks.

    Attributes:
        baseline: the trial of the baseline arm, from the same seed.
        blocks: pairs of blocks measured.
        steps: training steps in a block.
        ratios: this arm's cost over the baseline's, the median over the pairs of blocks; of ``step_seconds``,
            ``forward_seconds``, ``backward_seconds`` and ``nfe_forward``.
        spread: by figure, the relative half width of the middle half of these ratios.
    """

    baseline: Trial
    blocks: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    ratios: dict[str, Positive]
    spread: dict[str, float] = Field(default_factory=dict)


class Resumed(Frozen):
    """How a trial went on from its checkpoints after its process had ended.

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
    """What one trial gave. Figures are named in ``nodebench.spec.figures``.

    A figure that could not be measured is null, and ``reasons`` says why; it is never zero.

    Attributes:
        schema_version: of the record; older records are read.
        id: of the trial.
        trial: what was run.
        status: how it ended.
        started: ISO 8601, UTC.
        duration_seconds: of the whole trial.
        metrics: figures of the task, by name.
        costs: NFE, seconds, bytes and errors, by name.
        reasons: why a figure is null, by name.
        history: one row an epoch.
        profile: the trained network under other settings of the solver, one row each.
        passes: those that were asked for; up to schema 3 all.
        passes_agree: whether the memory pass took the same step as the training: equal NFE and loss.
        options: of the task, defaults filled in.
        data: which data the trial saw; None where the task makes its own.
        calibration: seconds of a fixed load before the trial and after it; of a resumed trial before each process.
        drifted: whether the machine's speed changed by a quarter or more.
        environment: machine and software.
        limits: of the trial.
        failure: where it failed; None where it did not.
        place: study, groups and number of the trial in its run, and whether others ran on the same cores.
        measured: hashes of the user's code and weights, of a task that runs them.
        traits: what the vector field does besides returning a derivative, each with what was observed.
        interleaved: times against a baseline in alternating blocks; None where that was not asked for.
        resumed: how often the trial went on from a checkpoint; None where it ran in one process.
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
        """For each test item, whether it was classified wrongly; None if the task does not say.

        Raises:
            ValueError: there is not one bit for each item.
        """
        if self.wrong is None or self.data is None:
            return None
        packed = b64decode(self.wrong, validate=True)
        if len(packed) != -(-self.data.test // 8):
            raise ValueError(f"wrong: {len(packed)} bytes for {self.data.test} test items")
        return [bool(packed[i // 8] >> (7 - i % 8) & 1) for i in range(self.data.test)]

    def answers(self, request: Request) -> bool:
        """Whether the record of a finished trial has all that is asked for, or the reason why it was not measured."""
        if not set(request.passes) <= set(self.passes):
            return False
        if request.against is None or "interleaved" in self.reasons:
            return True
        return self.interleaved is not None and self.interleaved.baseline.id == request.against.id

    def line(self) -> str:
        """One line of JSON, without the newline; it ends with a checksum of what stands before."""
        body = for_json(self.model_dump_json())
        return f'{body[:-1]}{_CHECKSUM}"{_checksum(body)}"}}'

    @classmethod
    def parse(cls, line: str | bytes) -> "Record":
        """Read one line, and check that it is as it was written.

        Raises:
            Edited: it is not what its checksum says, or has none and should.
            Newer: it was written by a newer nodebench.
            BadInput: it is no record.
        """
        text = line.decode(errors="surrogateescape") if isinstance(line, bytes) else line
        text = text.removesuffix("\n")
        content = parse_json(line)
        if not isinstance(content, dict):
            raise BadInput("not a record: no object of JSON")
        version = content.get("schema_version")
        if type(version) is not int or version < 1:
            raise BadInput("not a record: schema_version: a whole number from 1 on")
        if version > SCHEMA_VERSION:
            refused = Newer if _is_intact(text) else BadInput
            raise refused(f"a record of schema {version}; this nodebench reads up to {SCHEMA_VERSION}: upgrade it")
        checked = content.pop("checksum", None) is not None or version > WITHOUT_CHECKSUM or "place" in content
        try:
            record = cls.model_validate(content)
            datetime.fromisoformat(record.started)
            record.wrong_items()
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"not a record: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ValueError as error:
            raise BadInput(f"not a record: {error}") from None
        if checked and not _is_intact(text):
            raise Edited(record)
        return record


class Newer(BadInput):
    """A record that is as it was written, and that only a newer nodebench can read."""


class Edited(BadInput):
    """A record that is no longer what was written.

    Attributes:
        record: what stands there now.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(f"record {record.id} was edited: it is not what its checksum says")
        self.record = record


_CHECKSUM = ',"checksum":'


def _is_intact(line: str) -> bool:
    """Whether a line ends with the checksum of what stands before."""
    body, _, checksum = line.rpartition(_CHECKSUM)
    return checksum == f'"{_checksum(body + "}")}"}}'


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode(errors="surrogateescape")).hexdigest()[:16]
