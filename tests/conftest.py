import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import pytest
import torch

# A third-party package, laid out as by pip; child processes find it through PYTHONPATH.
PLUGIN = Path(__file__).parent / "plugin"
sys.path.insert(0, str(PLUGIN))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH")]))
os.environ.pop("NODEBENCH_DATA_DIR", None)
# The computations of the tests are small: more threads only wait for each other, for minutes if the cores are busy.
# With the variable set, runs also do not compare numbers of threads first.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Two pytest workers constantly change each other's speed. Tests that need trials to run again use ``reruns``.
os.environ.setdefault("NODEBENCH_ATTEMPTS", "1")
torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Exclude imported objects from garbage collection, as a trial does: each memory meter collects garbage."""
    importlib.import_module("nodebench.trial.preload")

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with the full data sets; skip the test if there is none."""
    folder = os.environ.get("NODEBENCH_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("NODEBENCH_DATA names no folder with the full data sets")
    return Path(folder)


@pytest.fixture(autouse=True)
def _no_field_was_seen_before() -> None:
    """Clear diffrax's cache: it would take the fields of several tests for one model that creates new fields."""
    if "nodebench.solvers.diffrax" in sys.modules:
        from nodebench.solvers import adapters

        adapters()["diffrax"].forget()


@pytest.fixture(scope="module")
def reruns() -> Iterator[None]:
    """Run a trial again if the machine's speed changed, as for users. For tests that need usable times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODEBENCH_ATTEMPTS", "3")
        yield


def exit_code_of(arguments: Sequence[str], patch: pytest.MonkeyPatch) -> int:
    """Run the command line in this process; return its exit code."""
    from nodebench.cli import main

    patch.setattr(sys, "argv", ["nodebench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.fixture
def nodebench(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in an empty folder: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = exit_code_of(arguments, monkeypatch)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def nodebench_to():
    """Run the command line in this process, in a given folder, on given streams: the exit code."""

    def run(folder: Path, out: TextIO, err: TextIO, *arguments: str, **environment: str) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            return exit_code_of(arguments, patch)

    return run


@pytest.fixture(scope="session")
def nodebench_in(nodebench_to):
    """Run the command line in this process, in a given folder: (exit code, output, errors).

    For fixtures that several tests share. A command in a process of its own would start a fork server of its own, which
    takes longer than most trials.
    """

    def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True) for _ in range(2))
        code = nodebench_to(folder, out, err, *arguments, **environment)
        return code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode()

    return run


@pytest.fixture
def files_are_read_once(monkeypatch):
    """Read the records of a file once while it does not change: those that are published take seconds."""
    from nodebench.store.run_folder import RunFolder

    real, known = RunFolder.records, {}

    def records(run: RunFolder) -> list:
        path = run.folder / "records.jsonl"
        if not path.exists():
            return real(run)
        state = path.stat()
        key = (path.resolve(), state.st_mtime_ns, state.st_size)
        if key not in known:
            known[key] = real(run)
        return list(known[key])

    monkeypatch.setattr(RunFolder, "records", records)
