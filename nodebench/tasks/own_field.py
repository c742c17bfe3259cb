"""``field``: a vector field of the user's own, solved and differentiated as it is. Nothing is learned."""

import copy
import importlib
import os
import sys
from collections.abc import Iterator

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from nodebench.solvers import Integrator, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Options, Setup, Task


class Example(nn.Module):
    """What is measured where no field is named: a tanh network 64–64–64."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(B, 64)`` of ``y``."""
        return self.net(y)


class OwnFieldOptions(Options):
    """Options of ``field``."""

    field: str = "nodebench.tasks.own_field:Example"  # module:name of a class, a function or a module
    state_shape: str = "64"  # of one sample
    batch_size: int = Field(32, ge=1)
    span: float = Field(1.0, gt=0)  # from t = 0
    outputs: int = Field(1, ge=1)  # output times after the start
    epochs: int = Field(1, ge=1)
    steps_per_epoch: int = Field(10, ge=1)

    @field_validator("state_shape")
    @classmethod
    def _whole_numbers(cls, text: str) -> str:
        parts = [part.strip() for part in str(text).split(",")]
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError("whole numbers by comma, as in 64 or 3,28,28")
        return ",".join(parts)

    @model_validator(mode="after")
    def _fits(self) -> "OwnFieldOptions":
        """Load the field and evaluate it once: a mistake is told before anything runs."""
        if self.field != OwnFieldOptions.model_fields["field"].default:
            field, states = copy.deepcopy(load_field(self.field)).float(), torch.zeros(2, *self.shape())
            try:
                found = tuple(field(torch.tensor(0.0), states).shape)
            except Exception as error:
                message = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ValueError(f"{self.field}, called with states {tuple(states.shape)}: {message}") from None
            if found != states.shape:
                raise ValueError(f"{self.field} maps states {tuple(states.shape)} to {found}; the shape must stay")
        return self

    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(int(part) for part in self.state_shape.split(","))


def load_field(name: str) -> nn.Module:
    """The vector field behind ``module:name``; a class or a function is called to make it.

    Raises:
        ValueError: it cannot be found or made, or is no module; one line.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"'{name}': write it as module:name")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
        field = found if isinstance(found, nn.Module) else found()
    except Exception as error:
        raise ValueError(f"{name} cannot be made: {type(error).__name__}: {error}") from None
    if not isinstance(field, nn.Module):
        raise ValueError(f"{name} is a {type(field).__name__}, not a torch.nn.Module")
    return field


class OwnField(Task):
    """Costs and gradient errors of a field that the user brings."""

    name = "field"
    about = "a vector field of your own, named by the option field: what it costs to solve and to differentiate"
    source = "yours"
    models = {"own": ModelInfo("the field as it is; its weights stay as they are", "yours")}
    options = OwnFieldOptions
    presets = {Preset.SMOKE: OwnFieldOptions(steps_per_epoch=3), Preset.QUICK: OwnFieldOptions()}
    gradient = Gradient.DIRECT
    rtol = atol = 1e-5
    step_size = 0.0625
    reference = StepControl(method="dopri8", rtol=1e-9, atol=1e-9, land_on_outputs=True)
    headlines = ("growth",)

    def build(self, setup: Setup) -> Experiment:
        """Build the solves."""
        return _Steps(setup)


class _Placed(nn.Module):
    """The field with states to start from, which get a gradient as they would from the layers below."""

    times: Tensor

    def __init__(self, field: nn.Module, starts: Tensor, times: Tensor, solve: Integrator) -> None:
        super().__init__()
        self.field = field
        self.starts = nn.Parameter(starts)
        self.register_buffer("times", times)
        self.solve = solve

    def forward(self) -> Tensor:
        return self.solve(self.field, self.starts, self.times)


class _Steps(Experiment):
    def __init__(self, setup: Setup) -> None:
        options: OwnFieldOptions = setup.options
        torch.manual_seed(setup.seed)
        field = load_field(options.field)
        starts = torch.randn(options.batch_size, *options.shape(), generator=torch.Generator().manual_seed(setup.seed))
        times = torch.linspace(0, options.span, options.outputs + 1)
        self.model = _Placed(field, starts, times, setup.solve).to(setup.device, setup.dtype)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        self.probe = (torch.zeros(1, device=setup.device, dtype=setup.dtype),)  # the states are the model's own

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(self.steps_per_epoch):
            yield self.probe

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean square of the states at the output times."""
        return model()[1:].square().mean()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        states = model()
        named = model.named_parameters()
        trained = sum(p.numel() for name, p in named if p.requires_grad and name != "starts")
        return {"growth": float(states[-1].norm() / states[0].norm()), "parameters": trained}
