"""The machine and the software that trials ran with, as stored in ``environment.json`` and each record.

At run time it is a plain dictionary. Every key may be absent, because older versions wrote fewer keys. Unknown keys
are kept, because newer versions and other machines write more.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from nodebench.errors import BadInput, first_fault
from nodebench.spec.bounded import read_json

_TOLERANT = ConfigDict(extra="allow", str_max_length=10_000)


class Code(TypedDict, total=False):
    """The checkout that nodebench ran from.

    Attributes:
        commit: commit hash.
        dirty: whether files differed from the commit.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    commit: str | None
    dirty: bool | None


class Cores(TypedDict, total=False):
    """Processor cores.

    Attributes:
        logical: logical cores of the machine, hyper-threads included.
        physical: physical cores of the machine.
        usable: cores that the process may use.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    logical: int | None
    physical: int | None
    usable: int | None


class Container(TypedDict, total=False):
    """The limits of the control group (cgroup).

    Attributes:
        cpu_max: content of ``cpu.max``.
        memory_max: content of ``memory.max``.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    cpu_max: str | None
    memory_max: str | None


class Accelerator(TypedDict, total=False):
    """The accelerator that the trial used.

    Attributes:
        name: name of the device.
        memory_bytes: memory of the device, in bytes.
        cuda: CUDA version that torch was built with.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    name: str | None
    memory_bytes: int | None
    cuda: str | None


class Environment(TypedDict, total=False):
    """A machine and its software. None is a value that could not be read.

    Attributes:
        nodebench: version of nodebench.
        code: the checkout that nodebench ran from.
        python: version of Python.
        platform: operating system and architecture.
        packages: versions by package.
        identities: commit, or hash of the installed files, by solver library.
        plugins: packages that define the trial's task and solver, if not nodebench.
        threads_choice: how the number of threads of a run was chosen, if it was not given.
        blas: the library behind matrix products.
        cpu: name of the processor.
        cores: processor cores.
        threads: number of torch threads in the described process.
        governor: frequency governor of the processor.
        memory_bytes: memory of the machine, in bytes.
        container: limits of the control group.
        accelerator: accelerator that the trial used.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    nodebench: str | None
    code: Code | None
    python: str | None
    platform: str | None
    packages: dict[str, str | None] | None
    identities: dict[str, str] | None
    plugins: dict[str, Any] | None
    threads_choice: dict[str, Any] | None
    blas: Any
    cpu: str | None
    cores: Cores | None
    threads: int | None
    governor: str | None
    memory_bytes: int | None
    container: Container | None
    accelerator: Accelerator | None


class RunEnvironment(Environment, total=False):
    """What ``environment.json`` holds.

    Attributes:
        created: when the run was created, UTC; absent from runs of older versions.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    created: datetime | None


_ADAPTER = TypeAdapter(RunEnvironment)


def read_environment(path: Path) -> RunEnvironment:
    """Read an ``environment.json``.

    Raises:
        BadInput: the file cannot be read, or is not a valid environment.
    """
    try:
        found = _ADAPTER.validate_python(read_json(path))
    except ValidationError as error:
        raise BadInput(f"{path}: {first_fault(error)}") from None
    if (created := found.get("created")) is not None and created.tzinfo is None:
        found["created"] = created.replace(tzinfo=UTC)
    return found
