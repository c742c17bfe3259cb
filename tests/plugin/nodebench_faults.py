"""A third-party task, found by its entry point, whose field fails in the way one asks for."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import torch
from torch import Tensor, nn

from nodebench.solvers import StepControl
from nodebench.spec import Preset
from nodebench.tasks import Batch, Experiment, ModelInfo, Options, Setup, Task


class FaultOptions(Options):
    fault: str = "none"
    seconds: float = 0.0  # slept in each evaluation


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
    """End the process that our fork server belongs to."""
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
    "text-metric": lambda t, dy: dy,
    "infinite-metric": lambda t, dy: dy,
    "few-batches": lambda t, dy: dy,
}


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

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(2 if self.model.field.options.fault == "few-batches" else self.steps_per_epoch):
            yield self.probe

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch[0]).pow(2).sum()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        if model.field.options.fault == "text-metric":
            return {"final": "high"}
        if model.field.options.fault == "infinite-metric":
            return {"final": float("inf")}
        return {"final": model(self.probe[0])[0].item()}
