"""``field``: solve and differentiate a user's vector field. Nothing is trained."""

from collections.abc import Iterable, Iterator

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nodebench.solvers import Solve, StepControl
from nodebench.solvers.precision import convert
from nodebench.spec import Gradient, Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup, Task
from nodebench.tasks.field_check import check_field, evaluate
from nodebench.tasks.regularised import PenaltyOptions, regularised
from nodebench.tasks.user_code import identify, load_module


class OwnFieldOptions(PenaltyOptions):
    """Options of ``field``."""

    field: str = ""  # file.py:name or module:name of a class, a function or a module
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
            raise ValueError("comma-separated whole numbers, for example 64 or 3,28,28")
        return ",".join(parts)

    @field_validator("field")
    @classmethod
    def _named(cls, text: str) -> str:
        if not text:
            raise ValueError("missing; add --set field=file.py:NAME --set state_shape=64")
        module, _, name = text.partition(":")
        if not (module and name):
            raise ValueError(f"'{text}': write it as file.py:name or module:name")
        return text

    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(int(part) for part in self.state_shape.split(","))


class OwnField(Task):
    """Costs and gradient errors of a user's vector field."""

    name = "field"
    about = "your own vector field, given by the option field: cost of solving and differentiating it"
    source = "yours"
    models = {"own": ModelInfo("your field; its weights are not trained", "yours")}
    options = OwnFieldOptions
    presets = {Preset.SMOKE: OwnFieldOptions(steps_per_epoch=3), Preset.QUICK: OwnFieldOptions()}
    gradient = Gradient.DIRECT
    rtol = atol = 1e-5
    step_size = 0.0625
    reference = StepControl(method="dopri8", rtol=1e-9, atol=1e-9, land_on_outputs=True)
    second_reference = StepControl(method="dopri5", rtol=1e-9, atol=1e-9, land_on_outputs=True)
    headlines = ("growth",)
    runs_user_code = True

    def build(self, setup: Setup) -> Experiment:
        """Build the experiment, which solves and differentiates."""
        return _Steps(setup)


class _Placed(nn.Module):
    """The field with initial states, which receive a gradient as if earlier layers had produced them."""

    times: Tensor

    def __init__(self, field: nn.Module, starts: Tensor, times: Tensor, solve: Solve) -> None:
        super().__init__()
        self.field = field
        self.starts = nn.Parameter(starts)
        self.register_buffer("times", times)
        self.solve = solve

    def forward(self) -> Tensor:
        return self.solve(self.field, self.starts, self.times)


class _Steps(Experiment):
    generators = {}  # draws nothing

    def __init__(self, setup: Setup) -> None:
        options: OwnFieldOptions = setup.options
        torch.manual_seed(setup.seed)
        field = load_module(options.field)
        self.measured = identify(options.field, field)
        starts = torch.randn(options.batch_size, *options.shape(), generator=torch.Generator().manual_seed(setup.seed))
        starts = starts.to(setup.device, setup.dtype)
        times = torch.linspace(0, options.span, options.outputs + 1)
        convert(field, setup.dtype, setup.device)
        self._name = options.field
        if any(is_lazy(parameter) for parameter in (*field.parameters(), *field.buffers())):
            evaluate(
                field, _start_time(starts), starts, self._name
            )  # lazy layers take their shapes from the first batch
        self._field, self._starts = field, starts
        self._solve = regularised(setup.solve, options)
        self.model = convert(_Placed(field, starts, times, self._solve), setup.dtype, setup.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        self.probe = (torch.zeros(1, device=setup.device, dtype=setup.dtype),)  # not used: the model holds the states

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(self.steps_per_epoch):
            yield self.probe

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean square of the states at the output times, and penalties."""
        return model()[1:].square().mean() + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        states = model()
        return {"growth": float(states[-1].norm() / states[0].norm())}

    def counted(self) -> Iterable[nn.Parameter]:
        """Parameters of the field, without the initial states."""
        return (parameter for parameter in self._field.parameters() if parameter.requires_grad)

    def check(self) -> None:
        """Evaluate the field at the trial's batch."""
        check_field(self._field, _start_time(self._starts), self._starts, self._name)


def _start_time(states: Tensor) -> Tensor:
    return torch.zeros((), device=states.device, dtype=states.dtype)
