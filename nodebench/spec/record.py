"""A record: what one trial gave, as one line of JSON."""

import hashlib
import json
from base64 import b64decode
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError

from nodebench.errors import BadInput
from nodebench.spec.frozen import Frozen
from nodebench.spec.reasons import Reason
from nodebench.spec.request import Pass, Request
from nodebench.spec.trial import Trial

SCHEMA_VERSION = 4


class Status(StrEnum):
    """How a trial ended. Every planned trial ends in a record, and a failure is data."""

    OK = "ok"
    TIMEOUT = "timeout"
    NFE_BUDGET = "nfe-budget"
    MEMORY_BUDGET = "memory-budget"
    DT_UNDERFLOW = "dt-underflow"
    NON_FINITE = "non-finite"
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
    """Budgets of one trial; null is no limit."""

    timeout: Annotated[float, Field(gt=0)] | None = None  # seconds, all passes together
    max_nfe: Annotated[int, Field(gt=0)] | None = None  # evaluations of one solve, in one direction
    memory: Annotated[int, Field(gt=0)] | None = None  # bytes, resident, the whole process group


class Failure(Frozen):
    """Where a trial stood when it failed."""

    phase: str | None = None
    message: str
    t: float | None = None
    dt: float | None = None
    nfe: int | None = None  # evaluations so far in the solve that failed
    stderr: list[str] = Field(default_factory=list)


class DataCard(Frozen):
    """Which data a trial saw. Results of two data sets are never mixed in one table."""

    name: str
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
        shared: whether other trials of the run may have run on the same cores, so that seconds tell little.
        attempts: how often it was started: again where its worker was lost, or where the speed of the machine changed
            during it.
    """

    study: str | None = None
    groups: tuple[str, ...] = ()
    number: int | None = None
    host: str | None = None
    cores: tuple[int, ...] | None = None
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
    blocks: int
    steps: int
    ratios: dict[str, float]
    spread: dict[str, float] = Field(default_factory=dict)


class Record(Frozen):
    """What one trial gave. Figures are named in ``nodebench.spec.figures``.

    A figure that could not be measured is null, and ``reasons`` says why; it is never zero.
    """

    schema_version: int = SCHEMA_VERSION
    id: str
    trial: Trial
    status: Status
    started: str  # ISO 8601, UTC
    duration_seconds: float
    metrics: dict[str, float | None] = Field(default_factory=dict)
    costs: dict[str, int | float | None] = Field(default_factory=dict)
    reasons: dict[str, Reason] = Field(default_factory=dict)
    history: list[dict[str, float | None]] = Field(default_factory=list)
    profile: list[dict[str, float | None]] = Field(default_factory=list)
    passes: tuple[Pass, ...] = tuple(Pass)  # those that were asked for; up to schema 3 all
    passes_agree: bool | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    data: DataCard | None = None
    calibration: list[float] = Field(default_factory=list)  # seconds of the fixed load, before and after
    drifted: bool | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    limits: Limits = Limits()
    failure: Failure | None = None
    place: Place = Place()
    measured: Measured | None = None  # of a task that runs code of the user's
    traits: dict[FieldTrait, str] = Field(default_factory=dict)  # of the vector field, each with what was observed
    interleaved: Interleaved | None = None
    wrong: str | None = None  # which test items were classified wrongly: packed bits, base64

    def wrong_items(self) -> list[bool] | None:
        """For each test item, whether it was classified wrongly; None if the task does not say."""
        if self.wrong is None or self.data is None:
            return None
        packed = b64decode(self.wrong)
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
        body = self.model_dump_json()
        return f'{body[:-1]}{_CHECKSUM}"{_checksum(body)}"}}'

    @classmethod
    def parse(cls, line: str) -> "Record":
        """Read one line.

        Raises:
            json.JSONDecodeError: the line is torn.
            BadInput: it was written by a newer nodebench, or is no record.
        """
        content = json.loads(line)
        version = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(content, dict):
            content.pop("checksum", None)
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise BadInput(f"a record of schema {version}; this nodebench reads up to {SCHEMA_VERSION}: upgrade it")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"not a record: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


_CHECKSUM = ',"checksum":'


def is_intact(line: str) -> bool | None:
    """Whether a line is as it was written; null where it has no checksum, as those of schema 1."""
    body, _, checksum = line.rpartition(_CHECKSUM)
    return checksum == f'"{_checksum(body + "}")}"}}' if body else None


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
