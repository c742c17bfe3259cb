"""What a task is: data, models, a loss and metrics. A task knows no solver, engine, process or file.

A new task is a ``Task`` that builds an ``Experiment``, and one entry point in the group
``nodebench.tasks``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, InstanceOf
from torch import Tensor, nn

from nodebench.solvers import Integrator, StepControl
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.spec.record import DataCard, Measured
from nodebench.spec.trajectories import Trajectories
from nodebench.spec.trial import USUAL_DTYPES, Dtype, Scalar

Batch = tuple[Tensor, ...]


class Options(BaseModel):
    """Options of a task, set by ``--set name=value``; a preset is one instance of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class ModelInfo:
    """A network variant of a task.

    Attributes:
        about: one-line description.
        source: publication.
        gradients: gradient methods that can train it. If empty, it has no ODE: solver and gradient do not apply.
    """

    about: str
    source: str
    gradients: frozenset[Gradient] = frozenset(Gradient)


@dataclass(frozen=True)
class DatasetInfo:
    """A data set of a task.

    Attributes:
        about: one-line description.
        source: publication.
    """

    about: str
    source: str


@dataclass(frozen=True)
class Setup:
    """All that a task needs to build an experiment.

    Attributes:
        model: the network variant.
        options: the task's own ``Options``.
        solve: the integrator that the model solves with.
        seed: random seed of data, initial weights and data order.
        device: device of the model and the data.
        dtype: dtype of states and parameters.
        dataset: the data set; None if the task has none.
        source: location of the data.
    """

    model: str
    options: Any
    solve: Integrator
    seed: int
    device: torch.device
    dtype: torch.dtype
    dataset: str | None
    source: DataSource


class Experiment(ABC):
    """One trial's model, data and loss, ready to run.

    ``__init__`` draws the initial weights after ``torch.manual_seed(seed)`` and the data order from a separate
    generator. Trials of the same seed are therefore paired across models, solvers and gradients.

    Attributes:
        model: the model, on the trial's device and in its dtype.
        optimizer: the optimiser; None if nothing is trained, and a step is then one forward solve.
        epochs: number of training epochs.
        steps_per_epoch: number of training steps per epoch.
        probe: small fixed batch for the errors of solution and gradient, and for NFE during training.
        data: description of the data; None if the task generates its data from the seed.
        measured: hashes of the user's code that the model runs; None if it runs none.
        wrong: mask of the test items that the latest call of ``metrics`` misclassified, bool, shape ``(data.test,)``;
            None if the task does not classify.
        generators: random generators of the experiment by name; empty if it has none. None if they are unknown: the
            training can then not be resumed from a checkpoint; see ``state_dict``.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer | None = None
    epochs: int
    steps_per_epoch: int
    probe: Batch
    data: DataCard | None = None
    measured: Measured | None = None
    wrong: Tensor | None = None
    generators: Mapping[str, torch.Generator] | None = None

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the ``steps_per_epoch`` batches of an epoch, on the device; the trial fails if there are fewer."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch under ``model``, which may be a copy in another dtype.

        Training differentiates the loss. It is also evaluated under ``torch.no_grad()``: on the probe batch before
        training and after each epoch, in evaluation mode, and on a training batch in the numerics pass. A loss that
        contains a derivative, for example a gradient penalty, must enable gradients for that part.
        """

    @abstractmethod
    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Evaluate ``model`` on held-out data. Called without gradients.

        A metric that is not defined for the trial is None. NaN and infinite values are stored as None with
        that reason.
        """

    def counted(self) -> Iterable[nn.Parameter]:
        """The parameters that the metric ``parameters`` counts."""
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def check(self) -> None:  # noqa: B027 - optional
        """Check the user's code in a separate process before any trial runs; see ``Task.runs_user_code``.

        Raises:
            BadInput: the code cannot be used; the message is one line.
        """

    def picture(self, model: nn.Module) -> Trajectories | None:
        """Return predictions of ``model`` for a few examples, to plot; None if there is nothing to draw."""
        return None

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027 - optional
        """Prepare an epoch, for example set the learning rate of a schedule."""

    def state_dict(self) -> dict[str, Any] | None:
        """Return the experiment's own training state for a checkpoint; None if it is unknown.

        The checkpoint also stores model, optimiser and the global generators of torch, NumPy and Python. By default,
        this method returns the state of each of ``generators``. An experiment with more state overrides both methods.
        Values are tensors, numbers, strings, None, and lists and dictionaries of these. Later steps must not modify
        them.

        Within an epoch, only the step number is stored. Resumed training calls ``load_state_dict`` with the
        state at the start of the epoch, then ``begin_epoch`` and ``batches``, and skips that many batches.
        """
        if self.generators is None:
            return None
        return {name: generator.get_state() for name, generator in self.generators.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state_dict`` returned in an experiment of the same trial."""
        for name, generator in (self.generators or {}).items():
            generator.set_state(state[name])


class Task(ABC):
    """A task of the registry.

    Attributes:
        name: name on the command line and in records.
        about: one-line description.
        source: publication.
        models: network variants; the first is the default.
        options: class of the options; ``presets`` has one instance per scale.
        gradient: default gradient method of a trial, as published or as in the library. The next three are defaults,
            too.
        rtol: relative tolerance.
        atol: absolute tolerance.
        step_size: step size of fixed-step methods; None for one step per output interval.
        reference: the solve that errors are measured against, run in float64.
        second_reference: reference for fields on which ``reference`` needs too many evaluations; None if there is none.
            On fields that are not smooth, a method of lower order may need fewer.
        headlines: metrics that tables show, in this order.
        trains: whether there is a loss to differentiate.
        datasets: available data sets; if empty, the task generates its data from the seed.
        dtypes: supported dtypes of states and parameters.
        brief: options of a trial of a few steps that only measures costs.
        runs_user_code: whether an option names user code. Before a run, each of its trials is then built once, and its
            experiment checked, in a separate process.
    """

    name: ClassVar[Annotated[str, Field(pattern=r"^[^\s,:]+$")]]
    about: ClassVar[str]
    source: ClassVar[str]
    models: ClassVar[Annotated[Mapping[str, InstanceOf[ModelInfo]], Field(min_length=1)]]
    options: ClassVar[type[Options]]
    presets: ClassVar[Annotated[Mapping[Preset, InstanceOf[Options]], Field(min_length=1)]]
    gradient: ClassVar[Gradient] = Gradient.ADJOINT
    rtol: ClassVar[Annotated[float, Field(gt=0)]]
    atol: ClassVar[Annotated[float, Field(gt=0)]]
    step_size: ClassVar[Annotated[float | None, Field(gt=0)]]
    reference: ClassVar[InstanceOf[StepControl]]
    second_reference: ClassVar[InstanceOf[StepControl] | None] = None
    headlines: ClassVar[tuple[str, ...]]
    trains: ClassVar[bool] = True
    datasets: ClassVar[Mapping[str, InstanceOf[DatasetInfo]]] = {}
    dtypes: ClassVar[Annotated[tuple[Dtype, ...], Field(min_length=1)]] = USUAL_DTYPES
    brief: ClassVar[Mapping[str, Scalar]] = {}
    runs_user_code: ClassVar[bool] = False

    def dataset(self, wanted: str | None, source: DataSource, preset: Preset) -> str:
        """Return the name of the requested data set, or of the one in ``source``, after checking that it exists.

        Called only for tasks that have ``datasets``.

        Raises:
            BadInput: the data set does not exist.
        """
        raise NotImplementedError

    def data_card(self, dataset: str | None, options: Any, source: DataSource) -> DataCard | None:
        """Return the data card of the user's data before any trial runs; None if the task uses no user data.

        Every trial records the same card. A run whose data have changed is not resumed. Called only for tasks that have
        ``datasets``.

        Raises:
            BadInput: the data cannot be read, or the options do not fit them; the message is one line.
        """
        return None

    def data_summary(self, dataset: str | None, options: Any, source: DataSource) -> str:
        """Return a one-line summary of the user's data; empty if the task uses no user data.

        Raises:
            BadInput: see ``data_card``.
        """
        return ""

    @abstractmethod
    def build(self, setup: Setup) -> Experiment:
        """Build the experiment of one trial."""
