"""``problem``: a user's ``nodebench.Problem``, from a file or from live Python objects."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

from nodebench.errors import BadInput, first_line
from nodebench.objects import load_object
from nodebench.solvers import Integrator, StepControl
from nodebench.solvers.odeint import activate, counting_by_field
from nodebench.solvers.precision import convert, converted
from nodebench.solvers.states import Flat, States, pack, unpack
from nodebench.spec import Gradient, Preset
from nodebench.tasks import live
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Options, Setup, Task
from nodebench.tasks.field_check import check_field
from nodebench.tasks.problem import Problem, module_of, problem_of
from nodebench.tasks.user_code import identify

STEPS = 10  # per epoch, if there are no data


class OwnProblemOptions(Options):
    """Options of ``problem``."""

    problem: str = ""  # file.py:name or module:name of a nodebench.Problem
    epochs: int = Field(0, ge=0)  # 0: the problem's own value
    steps_per_epoch: int = Field(0, ge=0)  # 0: the problem's own value

    @field_validator("problem")
    @classmethod
    def _named(cls, text: str) -> str:
        if not text:
            raise ValueError("missing; add --task file.py:NAME")
        if "@" not in text and ":" not in text:
            raise ValueError(f"'{text}': write it as file.py:name or module:name")
        return text


class OwnProblem(Task):
    """Costs and gradient errors of a user's problem."""

    name = live.TASK
    about = "your own problem: a field or a model with its data and loss, given by --task file.py:NAME"
    source = "yours"
    models = {"own": ModelInfo("the field or the model as it is", "yours")}
    options = OwnProblemOptions
    presets = {Preset.SMOKE: OwnProblemOptions(epochs=1, steps_per_epoch=3), Preset.QUICK: OwnProblemOptions()}
    gradient = Gradient.DIRECT
    rtol = atol = 1e-5
    step_size = None
    reference = StepControl(method="dopri8", rtol=1e-9, atol=1e-9, land_on_outputs=True)
    second_reference = StepControl(method="dopri5", rtol=1e-9, atol=1e-9, land_on_outputs=True)
    headlines = ("final_loss",)
    brief = {"epochs": 1, "steps_per_epoch": STEPS}
    runs_user_code = True

    def build(self, setup: Setup) -> Experiment:
        """Build the experiment from the user's problem."""
        named: str = setup.options.problem
        torch.manual_seed(setup.seed)
        problem = problem_of(live.find(named) if "@" in named else load_object(named), named)
        try:
            return _Fields(setup, problem) if problem.field is not None else _Models(setup, problem)
        except BadInput as error:
            raise BadInput(f"{named}: {error}") from error
        except Exception as error:
            raise BadInput(f"{named}: {type(error).__name__}: {first_line(error)}") from error


class _Steps(Experiment):
    """Base class of the experiments with a field or a model: batches, optimiser, loss."""

    def __init__(self, setup: Setup, problem: Problem, model: nn.Module) -> None:
        options: OwnProblemOptions = setup.options
        self._problem, self._setup = problem, setup
        self.model = convert(model, setup.dtype, setup.device)
        parameters = [one for one in self.model.parameters() if one.requires_grad]
        if not parameters:
            raise BadInput("nothing to differentiate: no parameter requires a gradient, and the states are data")
        self.optimizer = problem.optimizer(parameters) if problem.optimizer else torch.optim.SGD(parameters, lr=0.0)
        self.epochs = options.epochs or problem.epochs
        self.steps_per_epoch = options.steps_per_epoch or problem.steps_per_epoch or _length(problem.data)
        self.generators = None if problem.data is not None else {}

    def _identify(self) -> None:
        """Hash the code, the initial weights, the probe batch and the data in memory."""
        named: str = self._setup.options.problem
        data = (*self.probe, *_contents(self._problem.data))
        self.measured = identify("" if "@" in named else named, self.model, data)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; if there are too few, repeat the data."""
        assert self._problem.data is not None
        for batch in islice(_again(self._problem.data), self.steps_per_epoch):
            yield self._placed(batch)

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Return the loss of the probe batch and the problem's own metrics."""
        own: Mapping[str, float] = self._problem.metrics(model) if self._problem.metrics else {}
        return self._of_probe(model) | {name: float(one) for name, one in own.items()}

    def _of_probe(self, model: nn.Module) -> dict[str, float | None]:
        """Return the metrics of the probe batch."""
        return {"final_loss": float(self.loss(model, self.probe))}

    def check(self) -> None:
        """Compute the loss of the probe batch; it must be a real scalar."""
        with torch.no_grad():
            found = self.loss(self.model, self.probe)
        if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
            shape = f"shape {tuple(found.shape)}, {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            raise BadInput(f"{self._setup.options.problem}: the loss must be one real number, not {shape}")

    def _placed(self, batch: Any) -> Batch:
        """A batch as tensors on the device, in the trial's precision."""
        parts = (batch,) if isinstance(batch, Tensor) else tuple(batch)
        if not all(isinstance(part, Tensor) for part in parts):
            kinds = ", ".join(type(part).__name__ for part in parts)
            raise BadInput(f"a batch of the data must be a tensor or a tuple of tensors, not ({kinds})")
        return tuple(converted(part.to(self._setup.device), self._setup.dtype) for part in parts)


class _Models(_Steps):
    """A model that solves with ``nodebench.odeint``."""

    def __init__(self, setup: Setup, problem: Problem) -> None:
        activate(setup.solve)
        super().__init__(setup, problem, module_of(problem.model, "model"))
        assert problem.data is not None
        self.probe = self._placed(next(iter(problem.data)))
        self._identify()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        activate(self._setup.solve)  # a process may build two experiments, whose solves alternate
        assert self._problem.loss is not None
        return self._problem.loss(model, *batch)

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        activate(self._setup.solve)
        return super().metrics(model)

    def _of_probe(self, model: nn.Module) -> dict[str, float | None]:
        """Return the metrics of the probe batch, with the NFE of each ODE block if there are several."""
        with counting_by_field() as found:
            loss = super()._of_probe(model)
        names = {id(module): name for name, module in model.named_modules()}
        blocks = {names[field]: nfe for field, nfe in found.items() if field in names}
        if len(blocks) < 2 or self._setup.solve.counter.blind:
            return loss
        return loss | {f"nfe_of_{name.replace('.', '_')}": float(nfe) for name, nfe in blocks.items()}


class _Fields(_Steps):
    """A vector field, solved from its initial states."""

    def __init__(self, setup: Setup, problem: Problem) -> None:
        batch = None if problem.data is None else next(iter(problem.data))
        field, first = module_of(problem.field, "field"), _first_states(problem, setup.seed, batch)
        _refuse_complex(first)
        self._shapes = None if isinstance(first, Tensor) else tuple(tuple(one.shape) for one in first)
        assert problem.t is not None
        fixed = pack(first) if isinstance(problem.y0, Tensor | tuple) else None
        # Without training, fixed initial states receive a gradient, as if earlier layers had produced them. Training
        # leaves them unchanged.
        learned = problem.optimizer is None
        placed = _Placed(field, self._shapes, torch.as_tensor(problem.t), setup.solve, fixed, learned)
        super().__init__(setup, problem, placed)
        self._field, self._solved = field, placed
        self._draws = torch.Generator().manual_seed(setup.seed)
        if problem.data is None:
            self.generators = {"states": self._draws}
        self.probe = self._drawn(first) if batch is None else self._placed(batch)
        self._identify()

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield batches of data or drawn initial states; the model itself holds fixed initial states."""
        if self._problem.data is not None:
            yield from super().batches(epoch)
            return
        for _ in range(self.steps_per_epoch):
            sampler = self._problem.y0
            yield self._drawn(sampler(self._draws)) if callable(sampler) else self.probe

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The problem's loss of the states at the output times."""
        start, *rest = batch
        states = model(start)
        solved = states if self._shapes is None else unpack(states, self._shapes)
        if self._problem.loss is not None:
            return self._problem.loss(solved, *rest)
        return states[1:].square().mean()

    def counted(self) -> Iterable[nn.Parameter]:
        """Parameters of the field, without the initial states."""
        return (parameter for parameter in self._field.parameters() if parameter.requires_grad)

    def check(self) -> None:
        """Evaluate the field at the initial states, then compute the loss."""
        placed, named = self._solved, self._setup.options.problem
        check_field(placed.vector_field, placed.times.flatten()[0], placed.start(self.probe[0]), f"{named}: the field")
        super().check()

    def _drawn(self, states: States) -> Batch:
        return self._placed(pack(states))


class _Placed(nn.Module):
    """A field with its output times and, if they are fixed, its initial states.

    Args:
        shapes: shapes of the tensors if the state is a tuple; None if it is a tensor.
        fixed: the packed initial states; None if the batches contain them.
        learned: whether fixed states receive a gradient.
    """

    times: Tensor

    def __init__(
        self,
        field: nn.Module,
        shapes: tuple[tuple[int, ...], ...] | None,
        times: Tensor,
        solve: Integrator,
        fixed: Tensor | None,
        learned: bool,
    ) -> None:
        super().__init__()
        self.vector_field = field if shapes is None else Flat(field, shapes)
        self.fixed = None if fixed is None else nn.Parameter(fixed.detach().clone(), requires_grad=learned)
        self.register_buffer("times", times.detach().double())
        self.solve = solve

    def start(self, given: Tensor) -> Tensor:
        """The initial states."""
        return given if self.fixed is None else self.fixed

    def forward(self, given: Tensor) -> Tensor:
        """Return the states at the output times, shape ``(T, *y0.shape)``."""
        start = self.start(given)
        if self.times.ndim == 1:
            return self.solve(self.vector_field, start, self.times)
        # Solve at the union of the times of all samples, then select the times of each sample.
        union, places = torch.unique(self.times, return_inverse=True)
        states = self.solve(self.vector_field, start, union)
        samples = torch.arange(len(self.times), device=states.device)
        return states[places.T, samples]


def _first_states(problem: Problem, seed: int, batch: Any) -> States:
    """Return the fixed initial states, the first drawn ones, or those of the first batch."""
    if callable(problem.y0):
        return problem.y0(torch.Generator().manual_seed(seed))
    if problem.y0 is not None:
        return problem.y0
    first: Tensor = batch if isinstance(batch, Tensor) else batch[0]
    return first


def _contents(data: Any) -> Iterator[Tensor]:
    """Yield the tensors that can be read without random draws: listed batches, or a loader's TensorDataset."""
    if isinstance(data, list | tuple):
        for batch in data:
            parts = (batch,) if isinstance(batch, Tensor) else batch
            yield from (part for part in parts if isinstance(part, Tensor))
    dataset = getattr(data, "dataset", None)
    if isinstance(dataset, Subset):
        yield torch.as_tensor(dataset.indices)
        dataset = dataset.dataset
    if isinstance(dataset, TensorDataset):
        yield from dataset.tensors


def _refuse_complex(states: States) -> None:
    parts = states if isinstance(states, tuple) else (states,)
    for part in parts:
        if not isinstance(part, Tensor):
            raise BadInput(f"initial states must be a tensor or a tuple of tensors, not a {type(part).__name__}")
        if part.is_complex():
            raise BadInput("complex states are not supported; solve for real and imaginary part: torch.view_as_real")
        if not part.is_floating_point():
            raise BadInput(f"initial states are {part.dtype}; they must be real numbers")


def _again(data: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches of data in an endless loop; nothing if the data are empty."""
    while True:
        batch = None
        for batch in data:
            yield batch
        if batch is None:
            return


def _length(data: Iterable[Any] | None) -> int:
    if data is None:
        return STEPS
    try:
        return len(data)  # type: ignore[arg-type]  # those without a length are refused
    except TypeError:
        raise BadInput("data have no length: give steps_per_epoch") from None
