"""Names of devices."""

import os

import torch

from nodebench.errors import BadInput, choose


def resolve_device(name: str) -> str:
    """Return the canonical name of a device that is present: ``cuda`` is ``cuda:0``.

    Raises:
        BadInput: the device is not present, or the name is not valid.
    """
    kind, _, index = name.partition(":")
    choose("device", kind, ["cpu", "cuda", "mps"])
    if kind == "cpu" and not index:
        return "cpu"
    if kind == "mps" and not index:
        if torch.backends.mps.is_available():
            return "mps"
        raise _absent(name)
    if kind == "cuda" and (not index or index.isdecimal()):
        if int(index or 0) < torch.cuda.device_count():
            return f"cuda:{int(index or 0)}"
        raise _absent(name)
    raise BadInput(f"no device named '{name}'. Allowed: cpu, cuda, cuda:N, mps")


def device_kind(name: str) -> str:
    """Return the canonical name of a device on another machine: ``cuda`` is ``cuda:0``."""
    choose("device", name.partition(":")[0], ["cpu", "cuda", "mps"])
    return "cuda:0" if name == "cuda" else name


def visible_devices() -> str | None:
    """The CUDA devices that this process may see, by ``CUDA_VISIBLE_DEVICES``; None if it may see all of them."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def _absent(name: str) -> BadInput:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    present = ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
    visible = visible_devices()
    limited = "" if visible is None else f", where CUDA_VISIBLE_DEVICES is '{visible}'"
    return BadInput(f"device '{name}' is not present on this machine{limited}. Allowed here: {', '.join(present)}")
