"""Where a trial ran: versions, processor, threads, limits, code."""

import os
import platform
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import scipy.linalg  # noqa: F401 - loads SciPy's BLAS, so that each process finds the same libraries
import torch
from threadpoolctl import threadpool_info

import nodebench
from nodebench.distributions import git_state, installed

_PACKAGES = ("torch", "torchdiffeq", "torchvision", "numpy", "scipy", "pandas")
THREADS_VARIABLE = "OMP_NUM_THREADS"
_LIBRARIES = ("diffrax", "jax", "torchdyn", "torchode")  # recorded where they are installed
_SOLVERS = ("torchdiffeq", "scipy", "diffrax", "torchdyn", "torchode")  # their code affects the results of a trial


def describe_environment(device: str = "cpu") -> dict[str, Any]:
    """Describe this process's machine and software, and the accelerator if it is the one used.

    Values that cannot be read are None.
    """
    return software() | {
        **_processor(),
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
    """Return the software of this process, cached at the first call, because files on disk may change later.

    ``packages`` has the version of each library. ``identities`` has the commit or a hash of the files of each solver
    library, because two installations of the same version may differ.
    """
    code = git_state(Path(nodebench.__file__).parent)
    return {
        "nodebench": nodebench.__version__,
        "code": asdict(code) if code else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES}
        | {name: version for name in _LIBRARIES if (version := _version(name))},
        "identities": {name: found.identity for name in _SOLVERS if (found := installed(name)) and found.identity},
        "blas": _blas(),
    }


def usable_cores() -> int:
    """Return the number of cores that this process may use: its CPU affinity, limited by the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period or 100_000)))


def requested_threads() -> int | None:
    """The first number of ``OMP_NUM_THREADS``, which may list one for each nesting level; None if unset or invalid."""
    text = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def default_threads(jobs: int = 1) -> int:
    """Return the default number of CPU threads of a trial: ``OMP_NUM_THREADS``, or else all cores of its job.

    Args:
        jobs: trials that run at once and share the usable cores.
    """
    share = max(1, usable_cores() // jobs)
    return min(requested_threads() or share, share)


def _version(package: str) -> str | None:
    found = installed(package)
    return found.version if found else None


def _processor() -> dict[str, str | None]:
    """Return the processor's name (``cpu``) and ``microarchitecture``, for example ``family 25 model 1, AVX2``.

    A virtual machine may report the same name for processors whose results differ in the last digit. The instruction
    set is the one that torch uses.
    """
    known: dict[str, str] = {}
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        known.setdefault(name.strip(), value.strip())
    family, model = known.get("cpu family"), known.get("model")
    kind = f"family {family} model {model}" if family and model else platform.machine()
    return {
        "cpu": known.get("model name") or known.get("Model") or platform.processor() or None,
        "microarchitecture": f"{kind}, {torch.backends.cpu.get_cpu_capability()}",
    }


def _blas() -> str | None:
    """The BLAS that torch was built with, then those that NumPy and SciPy have loaded: ``mkl 2024.2, openblas …``.

    In a CUDA build ``torch.__config__.show`` initialises the CUDA driver, after which forked trials cannot use CUDA.
    ``parallel_info``, used there instead, names only MKL.
    """
    built = torch.__config__.parallel_info() if torch.version.cuda else torch.__config__.show()
    name, version = re.search(r"BLAS_INFO=(\w+)", built), re.search(r"Math Kernel Library Version (\S+)", built)
    words = [name[1] if name else "mkl" if version else "", version[1] if version else ""]
    of_torch = " ".join(filter(None, words))
    loaded = {
        " ".join(str(pool[key]) for key in ("internal_api", "version", "architecture") if pool.get(key))
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(filter(None, [of_torch, *sorted(loaded)])) or None


def _accelerator(device: torch.device) -> dict[str, Any] | None:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return {"name": "Apple MPS"} if device.type == "mps" else None


def accelerators() -> dict[str, str]:
    """Return the names of the accelerators that torch can use, by device string."""
    found = {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    return found | ({"mps": "Apple MPS"} if torch.backends.mps.is_available() else {})


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
