"""Where a trial ran: versions, processor, threads, limits, code."""

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

import nodebench

_PACKAGES = ("torch", "torchdiffeq", "torchvision", "numpy", "scipy", "pandas")
THREADS_VARIABLE = "OMP_NUM_THREADS"
_LIBRARIES = ("diffrax", "jax", "torchdyn", "torchode")  # told where they are installed


def describe_environment(device: str = "cpu") -> dict[str, Any]:
    """Describe this process's machine and software, and the accelerator if it is the one used.

    What cannot be read is null.
    """
    return software() | {
        "cpu": _cpu_model(),
        "cores": {
            "logical": os.cpu_count(),
            "physical": psutil.cpu_count(logical=False),
            "usable": usable_cores(),
        },
        "threads": torch.get_num_threads(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": psutil.virtual_memory().total,
        "container": {
            "cpu_max": _read("/sys/fs/cgroup/cpu.max"),
            "memory_max": _read("/sys/fs/cgroup/memory.max"),
        },
        "accelerator": _accelerator(torch.device(device)),
    }


@cache
def software() -> dict[str, Any]:
    """The software of this process, as it was when first asked: what is on disk may change after it was loaded."""
    return {
        "nodebench": nodebench.__version__,
        "code": _git_state(Path(nodebench.__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES}
        | {name: version for name in _LIBRARIES if (version := _version(name))},
        "blas": _blas(),
    }


def usable_cores() -> int:
    """Cores this process may run on: its affinity, cut to the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period or 100_000)))


def requested_threads() -> int | None:
    """The first number of ``OMP_NUM_THREADS``, which may list one for each nesting level; None if unset or invalid."""
    text = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def default_threads(jobs: int = 1) -> int:
    """CPU threads of a trial for which no number was given: ``OMP_NUM_THREADS``, else all cores that its job has.

    Args:
        jobs: trials that run at once and share the usable cores.
    """
    share = max(1, usable_cores() // jobs)
    return min(requested_threads() or share, share)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that holds the code; null for an installed package."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        # An environment inside some other project's checkout is not that project's code.
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_model() -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or None


def _blas() -> str | None:
    for part in torch.__config__.show().replace("\n", ",").split(","):
        if part.strip().startswith("BLAS_INFO="):
            return part.split("=", 1)[1].strip()
    return None


def _accelerator(device: torch.device) -> dict[str, Any] | None:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return {"name": "Apple MPS"} if device.type == "mps" else None


def accelerators() -> dict[str, str]:
    """The accelerators that torch can use here: the device of each, by the name to ask for it."""
    found = {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    return found | ({"mps": "Apple MPS"} if torch.backends.mps.is_available() else {})


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
