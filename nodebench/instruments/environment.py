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
from nodebench.cores import system_file, usable_cores
from nodebench.distributions import git_state, installed

_PACKAGES = ("torch", "torchdiffeq", "torchvision", "numpy", "scipy", "pandas")
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
        "governor": system_file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": psutil.virtual_memory().total,
        "container": {
            "cpu_max": system_file("/sys/fs/cgroup/cpu.max"),
            "memory_max": system_file("/sys/fs/cgroup/memory.max"),
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


def _version(package: str) -> str | None:
    found = installed(package)
    return found.version if found else None


def _processor() -> dict[str, str | None]:
    """Return the processor's name (``cpu``) and ``microarchitecture``, for example ``family 25 model 1, AVX2``.

    A virtual machine may report the same name for processors whose results differ in the last digit. The instruction
    set is the one that torch uses.
    """
    known: dict[str, str] = {}
    for line in (system_file("/proc/cpuinfo") or "").splitlines():
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
