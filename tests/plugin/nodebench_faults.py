"""A third-party task, found by its entry point, whose field fails as the option ``fault`` selects."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import psutil
import torch
from torch import Tensor, nn

from nodebench.solvers import StepControl
from nodebench.spec import Preset
from nodebench.tasks import Batch, Experiment, ModelInfo, Options, Setup, Task


def _refuse_forks() -> None:
    """Let the forks from number ``first`` on fail, ``times`` times (REFUSED_FORKS=first:times).

    The file REFUSED_COUNT counts the forks.
    """
    first, times = map(int, os.environ["REFUSED_FORKS"].split(":"))
    fork = os.fork

    def counted() -> int:
        with open(os.environ["REFUSED_COUNT"], "ab") as file:
            file.write(b".")
            file.flush()
            number = file.tell()
        if first <= number < first + times:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = counted


if "REFUSED_FORKS" in os.environ:
    _refuse_forks()


class FaultOptions(Options):
    fault: str = "none"
    seconds: float = 0.0  # slept in each evaluation
    marker: str = ""  # path of a file; "drift" slows only the trial that creates it


class Faults(Task):
    name = "test/faults"
    about = "a field that fails on demand"
    source = "the tests"
    models = {"field": ModelInfo("one weight", "the tests")}
    options = FaultOptions
    presets = {Preset.SMOKE: FaultOptions(), Preset.QUICK: FaultOptions()}
    rtol = atol = 1e-6
    step_size = 0.1
    reference = StepControl("dopri5", rtol=1e-9, atol=1e-9)
    headlines = ("final",)

    def build(self, setup: Setup) -> Experiment:
        return _Experiment(setup)


class _Field(nn.Module):
    def __init__(self, options: FaultOptions) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(-1.0))
        self.options = options

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        time.sleep(self.options.seconds)
        dy = self.weight * y
        if float(t) > 0.5:
            dy = _FAULTS[self.options.fault](t, dy)
        return dy


def _hog(t: Tensor, dy: Tensor) -> Tensor:
    hoard = [torch.ones(25_000_000) for _ in range(40)]  # 100 MB each, 4 GB in all
    time.sleep(60)
    return dy + len(hoard)


def _abort(t: Tensor, dy: Tensor) -> Tensor:
    os.abort()


def _grandchild(t: Tensor, dy: Tensor) -> Tensor:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # nodebench-grandchild"])
    time.sleep(600)
    return dy


def _abort_with_grandchild(t: Tensor, dy: Tensor) -> Tensor:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # nodebench-grandchild"], close_fds=False)
    os.abort()


def _kill_worker(t: Tensor, dy: Tensor) -> Tensor:
    """Kill the parent process of the fork server."""
    psutil.Process(os.getppid()).parent().kill()
    time.sleep(600)
    return dy


def _exit(t: Tensor, dy: Tensor) -> Tensor:
    os._exit(3)


def _print(t: Tensor, dy: Tensor) -> Tensor:
    print("chatter")
    return dy


def _raise(t: Tensor, dy: Tensor) -> Tensor:
    raise ValueError("planted")


def _threads_hurt(t: Tensor, dy: Tensor) -> Tensor:
    time.sleep(0.005 * (torch.get_num_threads() - 1))
    return dy


def _threads_help(t: Tensor, dy: Tensor) -> Tensor:
    time.sleep(0.01 / torch.get_num_threads() ** 3)
    return dy


def _raise_long(t: Tensor, dy: Tensor) -> Tensor:
    raise ValueError("first" + "x" * 5_000_000 + "last \udc80")


class _NoMessage(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message either")


def _raise_silent(t: Tensor, dy: Tensor) -> Tensor:
    raise _NoMessage


def _flood(t: Tensor, dy: Tensor) -> Tensor:
    """Write 100 MB to standard error, without a newline until the last line."""
    os.write(2, b"begins here\n")
    for _ in range(100):
        os.write(2, b"x" * 1_000_000)
    os.write(2, b"\nends here\n")
    raise ValueError("planted")


def _sys_exit(t: Tensor, dy: Tensor) -> Tensor:
    sys.exit("planted")


_daemons: list[str] = []


def _start_daemon(code: str) -> None:
    """Start a process outside the trial's session, whose parent ends at once; later calls do nothing."""
    if _daemons:
        return
    _daemons.append(code)
    daemon = [sys.executable, "-c", f"import time; {code}; time.sleep(600)  # nodebench-grandchild"]
    launcher = f"import subprocess; subprocess.Popen({daemon!r}, start_new_session=True)"
    subprocess.run([sys.executable, "-c", launcher], check=True)


def _daemon(t: Tensor, dy: Tensor) -> Tensor:
    _start_daemon("pass")
    return dy


def _daemon_abort(t: Tensor, dy: Tensor) -> Tensor:
    _start_daemon("pass")
    os.abort()


def _daemon_hog(t: Tensor, dy: Tensor) -> Tensor:
    _start_daemon("hoard = b'1' * 800_000_000")
    time.sleep(60)
    return dy


def _share(t: Tensor, dy: Tensor) -> Tensor:
    """Hold 150 MB that ten forked processes share for two seconds."""
    hoard = bytearray(b"1" * 150_000_000)
    children = []
    for _ in range(10):
        if not (pid := os.fork()):
            time.sleep(2)
            os._exit(0)
        children.append(pid)
    for child in children:
        os.waitpid(child, 0)
    raise ValueError(f"held {len(hoard)}")


_FAULTS = {
    "none": lambda t, dy: dy,
    "nan": lambda t, dy: dy * float("nan"),
    # Grows without bound before t = 0.75.
    "blow-up": lambda t, dy: 1 / (0.75 - t).abs() ** 2 * (1 + dy**2),
    "endless": lambda t, dy: dy + 1e3 * torch.sin(1e7 * t),
    "abort": _abort,
    "hog": _hog,
    "grandchild": _grandchild,
    "abort-with-grandchild": _abort_with_grandchild,
    "exit": _exit,
    "kill-worker": _kill_worker,
    "print": _print,
    "raise": _raise,
    "threads-hurt": _threads_hurt,
    "threads-help": _threads_help,
    "raise-long": _raise_long,
    "raise-silent": _raise_silent,
    "flood": _flood,
    "sys-exit": _sys_exit,
    "daemon": _daemon,
    "daemon-abort": _daemon_abort,
    "daemon-hog": _daemon_hog,
    "share": _share,
    "text-metric": lambda t, dy: dy,
    "tensor-metric": lambda t, dy: dy,
    "vector-metric": lambda t, dy: dy,
    "infinite-metric": lambda t, dy: dy,
    "few-batches": lambda t, dy: dy,
    "drift": lambda t, dy: dy,
}


def _slow_down(marker: str) -> None:
    """Make all Python functions called from now on many times slower: a trace function runs a loop at each line.

    Unlike threads or processes that occupy the cores, this slows a busy machine as much as an idle one.
    """
    if marker and Path(marker).exists():
        return
    if marker:
        Path(marker).touch()
    sys.settrace(_trace_line)


def _trace_line(frame: FrameType, event: str, arg: object) -> Callable[..., object]:
    for _ in range(30):
        pass
    return _trace_line


class _Model(nn.Module):
    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.field = _Field(setup.options)
        self.solve = setup.solve

    def forward(self, y0: Tensor) -> Tensor:
        return self.solve(self.field, y0, torch.tensor([0.0, 1.0], dtype=y0.dtype))[-1]


class _Experiment(Experiment):
    epochs = 2
    steps_per_epoch = 3

    def __init__(self, setup: Setup) -> None:
        torch.manual_seed(setup.seed)
        self.model = _Model(setup).to(setup.dtype)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.probe = (torch.tensor([1.0, 2.0], dtype=setup.dtype),)
        self._evaluated = 0

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(2 if self.model.field.options.fault == "few-batches" else self.steps_per_epoch):
            yield self.probe

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch[0]).pow(2).sum()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        if model.field.options.fault == "text-metric":
            return {"final": "high"}
        if model.field.options.fault == "tensor-metric":
            return {"final": model(self.probe[0])[:1]}
        if model.field.options.fault == "vector-metric":
            return {"final": model(self.probe[0])}
        if model.field.options.fault == "infinite-metric":
            return {"final": float("inf")}
        self._evaluated += 1
        if model.field.options.fault == "drift" and self._evaluated == self.epochs:
            _slow_down(model.field.options.marker)
        return {"final": model(self.probe[0])[0].item()}
