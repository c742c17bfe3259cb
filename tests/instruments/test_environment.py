from pathlib import Path

import pytest
import torch

from nodebench.instruments import (
    environment,
)

CPU = torch.device("cpu")
Y0 = torch.ones(4, 3)


def files(monkeypatch, **content: str | None) -> None:
    """What the system's files hold, by their last name."""
    monkeypatch.setattr(environment, "_read", lambda path: content.get(Path(path).name.replace(".", "_")))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        (None, 8),
        ("max 100000", 8),
        ("max", 8),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("400000", 4),
        ("9900000 100000", 8),
    ],
)
def test_usable_cores_are_cut_to_the_quota_of_a_container(monkeypatch, quota, cores):
    files(monkeypatch, cpu_max=quota)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert environment.usable_cores() == cores


def test_the_processor_is_named_by_the_system_or_by_python(monkeypatch):
    files(monkeypatch, cpuinfo="processor : 0\nmodel name : Fast: 3 GHz\nmodel name : other")
    assert environment._cpu_model() == "Fast: 3 GHz"
    files(monkeypatch, cpuinfo="processor : 0\nModel : Raspberry Pi 5")
    assert environment._cpu_model() == "Raspberry Pi 5"
    files(monkeypatch)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert environment._cpu_model() == "arm"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert environment._cpu_model() is None


def test_the_environment_tells_the_limits_of_the_container_and_what_runs_the_code(monkeypatch):
    files(monkeypatch, cpu_max="max 100000", memory_max="1024", scaling_governor="performance")
    found = environment.describe_environment()
    assert (found["container"], found["governor"]) == ({"cpu_max": "max 100000", "memory_max": "1024"}, "performance")
    assert (found["accelerator"], found["threads"]) == (None, torch.get_num_threads())
    assert found["cores"]["logical"] >= found["cores"]["physical"] >= 1
    assert found["blas"] in ("mkl", "open", "accelerate", "openblas", None)
    assert environment.describe_environment("mps")["accelerator"] == {"name": "Apple MPS"}


def test_software_is_told_with_the_libraries_that_are_there(monkeypatch):
    monkeypatch.setattr(environment, "_version", lambda name: None if name in ("scipy", "jax") else "1.0")
    packages = environment.software.__wrapped__()["packages"]
    named = ("torch", "torchdiffeq", "torchvision", "numpy", "pandas", "diffrax", "torchdyn", "torchode")
    assert packages == dict.fromkeys(named, "1.0") | {"scipy": None}


def test_the_commit_is_that_of_the_checkout_of_the_code_and_of_no_other(tmp_path):
    import subprocess

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert environment._git_state(tmp_path) is None
    git("init")
    package, installed = tmp_path / "package", tmp_path / "venv"
    for folder in (package, installed):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
    git("add", "package")
    git("commit", "-m", "first")
    assert environment._git_state(package) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert environment._git_state(installed) is None
    (package / "__init__.py").write_text("changed = True")
    assert environment._git_state(package)["dirty"] is True
