"""Names of devices."""

import torch

from nodebench.errors import BadInput, choose


def resolve_device(name: str) -> str:
    """Return the canonical name of a device that is present: ``cuda`` is ``cuda:0``.

    Raises:
        BadInput: it is absent here, or no device.
    """
    kind, _, index = name.partition(":")
    choose("device", kind, ["cpu", "cuda", "mps"])
    if kind == "cpu" and not index:
        return "cpu"
    if kind == "mps" and not index:
        if torch.backends.mps.is_available():
            return "mps"
        raise BadInput("device 'mps' is not present on this machine. Allowed here: " + ", ".join(_present()))
    if kind == "cuda" and (not index or index.isdecimal()):
        if int(index or 0) < torch.cuda.device_count():
            return f"cuda:{int(index or 0)}"
        raise BadInput(f"device '{name}' is not present on this machine. Allowed here: {', '.join(_present())}")
    raise BadInput(f"no device named '{name}'. Allowed: cpu, cuda, cuda:N, mps")


def device_kind(name: str) -> str:
    """The name of a device of another machine: ``cuda`` is its first one."""
    choose("device", name.partition(":")[0], ["cpu", "cuda", "mps"])
    return "cuda:0" if name == "cuda" else name


def _present() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
