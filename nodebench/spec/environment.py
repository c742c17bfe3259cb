"""The machine and the software that trials ran with, as ``environment.json`` and each record have it.

At run time it is a plain dictionary. Every key may be absent, since older versions wrote fewer; keys that are unknown
here are kept, since newer versions and other machines write more.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from nodebench.errors import BadInput
from nodebench.spec.bounded import read_json

_TOLERANT = ConfigDict(extra="allow", str_max_length=10_000)


class Code(TypedDict, total=False):
    """The checkout that nodebench ran from.

    Attributes:
        commit: its hash.
        dirty: whether files differed from it.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    commit: str | None
    dirty: bool | None


class Cores(TypedDict, total=False):
    """Processor cores.

    Attributes:
        logical: of the machine, with hyper-threads.
        physical: of the machine.
        usable: by the process.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    logical: int | None
    physical: int | None
    usable: int | None


class Container(TypedDict, total=False):
    """The limits of the control group.

    Attributes:
        cpu_max: as in ``cpu.max``.
        memory_max: as in ``memory.max``.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    cpu_max: str | None
    memory_max: str | None


class Accelerator(TypedDict, total=False):
    """The accelerator that the trial used.

    Attributes:
        name: of the device.
        memory_bytes: of the device.
        cuda: the version that torch was built with.
    """

    __pydantic_config__ = _TOLERANT  # type: ignore[misc]

    name: str | None
    memory_bytes: int | None
    cuda: str | None


class Environment(TypedDict, total=False):
    """A machine and its software. None is a value that could not be read.

    Attributes:
        nodebench: its version.
        code: the checkout that it ran from.
        python: version.
        platform: operating system and architecture.
        packages: versions by package.
        identities: by solver library, the commit or a hash of the files that are installed.
        plugins: the packages that the trial's task and solver come from, where that is not nodebench.
        threads_choice: how the number of threads of a run was chosen, where it was not given.
        blas: the library behind matrix products.
        cpu: name of the processor.
        cores: processor cores.
        threads: of torch, in the process that was described.
        governor: of the processor's frequency.
        memory_bytes: of the machine.
        container: the limits of the control group.
        accelerator: that the trial used.
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
        BadInput: it cannot be read, or is no environment.
    """
    try:
        found = _ADAPTER.validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if (created := found.get("created")) is not None and created.tzinfo is None:
        found["created"] = created.replace(tzinfo=UTC)
    return found
