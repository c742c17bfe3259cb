import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from nodebench.distributions import Installed
from nodebench.instruments import environment
from nodebench.solvers import adapters, is_installed

CPU = torch.device("cpu")
Y0 = torch.ones(4, 3)


def files(monkeypatch, **content: str | None) -> None:
    """What the system's files hold, by their last name."""
    monkeypatch.setattr(environment, "system_file", lambda path: content.get(Path(path).name.replace(".", "_")))


def test_the_processor_is_named_by_the_system_or_by_python(monkeypatch):
    files(monkeypatch, cpuinfo="processor : 0\nmodel name : Fast: 3 GHz\nmodel name : other")
    assert environment._processor()["cpu"] == "Fast: 3 GHz"
    files(monkeypatch, cpuinfo="processor : 0\nModel : Raspberry Pi 5")
    assert environment._processor()["cpu"] == "Raspberry Pi 5"
    files(monkeypatch)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert environment._processor()["cpu"] == "arm"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert environment._processor()["cpu"] is None


def test_the_environment_tells_the_limits_of_the_container_and_what_runs_the_code(monkeypatch):
    files(monkeypatch, cpu_max="max 100000", memory_max="1024", scaling_governor="performance")
    found = environment.describe_environment()
    assert (found["container"], found["governor"]) == ({"cpu_max": "max 100000", "memory_max": "1024"}, "performance")
    assert (found["accelerator"], found["threads"]) == (None, torch.get_num_threads())
    assert found["cores"]["logical"] >= found["cores"]["physical"] >= 1
    assert environment.describe_environment("mps")["accelerator"] == {"name": "Apple MPS"}


def test_software_is_recorded_with_the_libraries_that_are_there(monkeypatch):
    def found(name):
        absent, unknown = ("scipy", "jax"), ("torchode",)
        return None if name in absent else Installed(name, "1.0", None, None if name in unknown else f"files:{name}")

    monkeypatch.setattr(environment, "installed", found)
    software = environment.software.__wrapped__()
    named = ("torch", "torchdiffeq", "torchvision", "numpy", "pandas", "diffrax", "torchdyn", "torchode")
    assert software["packages"] == dict.fromkeys(named, "1.0") | {"scipy": None}
    assert software["identities"] == {name: f"files:{name}" for name in ("torchdiffeq", "diffrax", "torchdyn")}


def test_every_solver_library_of_ours_is_identified():
    libraries = [adapter for adapter in adapters().values() if adapter.backend != "mali"]  # whose method is our own
    backends = {adapter.package or adapter.backend for adapter in libraries if is_installed(adapter)}
    assert set(environment.software()["identities"]) == backends


def test_the_blas_of_torch_and_those_loaded_are_named():
    """Against what torch prints of its build, and the libraries that this process has mapped."""
    named = environment.software()["blas"]
    built = torch.__config__.show()
    of_torch = built.partition("BLAS_INFO=")[2].split(",")[0]
    if of_torch == "mkl" or not torch.version.cuda:  # a CUDA build is asked for MKL alone
        assert named.split(",")[0].split()[0] == of_torch
    if of_torch == "mkl":
        assert f"Math Kernel Library Version {named.split(',')[0].split()[1]}" in built
    for library in ("openblas", "mkl_rt", "blis"):
        if any(library in line for line in Path("/proc/self/maps").read_text().splitlines()):
            assert library.removesuffix("_rt") in named


@pytest.mark.skipif(not torch.version.cuda, reason="a build of torch without CUDA starts no driver")
def test_describing_the_software_leaves_the_driver_of_an_accelerator_alone(monkeypatch):
    """The fork server describes it, and no trial that it forks could use CUDA if the driver had been started there.

    Measured with a CUDA build of torch 2.11: ``torch.__config__.show`` starts the driver.
    """

    def starts_the_driver():
        pytest.fail("torch.__config__.show starts CUDA's driver")

    monkeypatch.setattr(torch.__config__, "show", starts_the_driver)
    assert environment.software.__wrapped__()["blas"]


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="no lscpu")
def test_processors_of_one_name_differ_by_family_model_and_instructions():
    """Against ``lscpu``; where it says x86, torch uses no instructions that the processor lacks."""
    listed = subprocess.run(["lscpu", "--json"], capture_output=True, text=True, check=True).stdout
    known = {one["field"]: one["data"] for one in json.loads(listed)["lscpu"]}
    named, _, instructions = environment.describe_environment()["microarchitecture"].partition(", ")
    if "CPU family:" in known:
        assert named == f"family {known['CPU family:']} model {known['Model:']}"
        assert instructions == "DEFAULT" or instructions.lower() in known["Flags:"]
