"""A third-party task whose training depends on every random generator and on a state of its own."""

import random
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nodebench.solvers import Integrator, StepControl
from nodebench.spec import Preset
from nodebench.tasks import Batch, Experiment, ModelInfo, Options, Setup, Task


class RandomOptions(Options):
    epochs: int = 4
    steps_per_epoch: int = 8
    seconds: float = 0.0  # slept in each step
    tells_state: bool = True  # whether ``state_dict`` returns the state of the training
    repeats_batches: bool = True  # false: batches are also drawn from Python's clock
    hidden: bool = False  # the field counts its calls


class Random(Task):
    name = "test/random"
    about = "a training that depends on everything random"
    source = "the tests"
    models = {"field": ModelInfo("a linear field with batch normalisation before it", "the tests")}
    options = RandomOptions
    presets = {Preset.SMOKE: RandomOptions(), Preset.QUICK: RandomOptions()}
    rtol = atol = 1e-4
    step_size = 0.25
    reference = StepControl("dopri5", rtol=1e-9, atol=1e-9)
    headlines = ("size",)

    def build(self, setup: Setup) -> Experiment:
        return _Random(setup)


class _Field(nn.Module):
    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.hidden, self.calls = hidden, 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += self.hidden
        return torch.tanh(self.linear(y)) + 1e-3 * self.calls


class _Model(nn.Module):
    norm_of_inputs: Tensor

    def __init__(self, solve: Integrator, hidden: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)  # buffers
        self.register_buffer("norm_of_inputs", torch.zeros(()), persistent=False)
        self.field = _Field(hidden)
        self.solve = solve

    def forward(self, y0: Tensor) -> Tensor:
        if self.training:
            self.norm_of_inputs += y0.norm()
        y0 = self.norm(y0) + 1e-3 * self.norm_of_inputs
        return self.solve(self.field, y0, torch.tensor([0.0, 1.0], dtype=y0.dtype))[-1]


class _Random(Experiment):
    def __init__(self, setup: Setup) -> None:
        options: RandomOptions = setup.options
        self._options = options
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        torch.manual_seed(setup.seed)
        np.random.seed(setup.seed)
        random.seed(setup.seed)
        self.model = _Model(setup.solve, options.hidden).to(setup.dtype)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self._rate = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self._order = torch.Generator().manual_seed(setup.seed)
        self._draw = np.random.default_rng(setup.seed)
        self.probe = (torch.ones(4, 3, dtype=setup.dtype),)

    def begin_epoch(self, epoch: int) -> None:
        if epoch:
            self._rate.step()

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(self.steps_per_epoch):
            time.sleep(self._options.seconds)
            noise = torch.randn(4, 3, generator=self._order) + float(self._draw.normal())  # the augmentation
            yield (noise + (0 if self._options.repeats_batches else time.time() % 1),)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        dropped = functional.dropout(model(batch[0]), 0.3)  # torch's generator
        return (dropped - random.random()).square().mean() * (1 + np.random.random())

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        return {"size": model(self.probe[0]).norm().item()}

    def state_dict(self) -> dict[str, Any] | None:
        if not self._options.tells_state:
            return None
        draw = self._draw.bit_generator.state["state"]
        numbers = {name: str(value) for name, value in draw.items()}  # of 128 bits
        return {"order": self._order.get_state(), "draw": numbers, "rate": self._rate.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._order.set_state(state["order"])
        known = self._draw.bit_generator.state
        self._draw.bit_generator.state = known | {"state": {name: int(text) for name, text in state["draw"].items()}}
        self._rate.load_state_dict(state["rate"])
