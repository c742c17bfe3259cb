"""What a task is: data, models, a loss and metrics. A task knows no solver, engine, process or file.

A new task is a ``Task`` that builds an ``Experiment``, and one entry point in the group
``nodebench.tasks``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from nodebench.solvers import Integrator, StepControl
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.spec.record import DataCard, Measured
from nodebench.spec.trajectories import Trajectories
from nodebench.spec.trial import USUAL_DTYPES, Dtype, Scalar

Batch = tuple[Tensor, ...]


class Options(BaseModel):
    """A task's own options, settable by ``--set name=value``; a preset is one value of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class ModelInfo:
    """A network variant of a task.

    Attributes:
        about: one line for a person.
        source: where it was published.
        gradients: those that it can be trained with. Without any it has no ODE: solver and gradient do not apply.
    """

    about: str
    source: str
    gradients: frozenset[Gradient] = frozenset(Gradient)


@dataclass(frozen=True)
class DatasetInfo:
    """A data set of a task.

    Attributes:
        about: one line for a person.
        source: where it was published.
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
        seed: of data, weights and order.
        device: where model and data lie.
        dtype: of states and parameters.
        dataset: the data set; None where the task has none.
        source: where the data are.
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

    ``__init__`` draws the initial weights after ``torch.manual_seed(seed)`` and takes the order of the data
    from a generator of its own, so that equal seeds pair models, solvers and gradients.

    Attributes:
        model: on the trial's device, in its dtype.
        optimizer: None when nothing is trained: the step is then one forward solve.
        epochs: how long the training is.
        steps_per_epoch: of training.
        probe: a small fixed batch, for errors of solution and gradient and for NFE over training.
        data: which data; None when the task makes its own from the seed.
        measured: the user's code that the model runs; None where it runs none.
        wrong: which test items the latest call of ``metrics`` classified wrongly, bool, shape ``(data.test,)``; None
            where nothing is classified.
        generators: the generators that the experiment draws from, by name; empty if it has none. None: the experiment
            does not say, so that its training cannot be resumed from a checkpoint; see ``state_dict``.
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
        """Yield the ``steps_per_epoch`` batches of an epoch, on the device; with fewer the trial ends as an error."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch under ``model``, which may be a copy in another dtype.

        It is differentiated in training, and also evaluated without gradients (under ``torch.no_grad()``): of the
        probe before training and after each epoch, in evaluation mode, and of a training batch in the numerics pass.
        A loss that itself differentiates, such as a penalty on a gradient, enables gradients for that part.
        """

    @abstractmethod
    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Evaluate ``model`` on what it was not trained on. Called without gradients.

        None stands for a metric that is not defined for the trial. NaN and infinite values are stored as None with
        that reason.
        """

    def counted(self) -> Iterable[nn.Parameter]:
        """The parameters that the metric ``parameters`` counts."""
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def check(self) -> None:  # noqa: B027 - optional
        """Check the user's code, in a process of its own before any trial runs; see ``Task.runs_user_code``.

        Raises:
            BadInput: it cannot be used; the message is one line.
        """

    def picture(self, model: nn.Module) -> Trajectories | None:
        """What ``model`` makes of a few examples, for figures; None where there is nothing to draw."""
        return None

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027 - optional
        """Set the learning rate of an epoch, where a schedule is published."""

    def state_dict(self) -> dict[str, Any] | None:
        """Return what the rest of the training depends on, for a checkpoint; None if that is unknown.

        Model, optimiser and the global generators of torch, NumPy and Python are stored without it. The default is
        the state of each of ``generators``. An experiment that keeps more overrides both methods. Values are tensors,
        numbers, texts, None, and lists and dictionaries of these, and later steps do not change them.

        Within an epoch only the number of the step is stored. A resumed training calls ``load_state_dict`` with the
        state at the start of the epoch, then ``begin_epoch`` and ``batches``, and skips that many batches.
        """
        if self.generators is None:
            return None
        return {name: generator.get_state() for name, generator in self.generators.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned in an experiment of the same trial."""
        for name, generator in (self.generators or {}).items():
            generator.set_state(state[name])


class Task(ABC):
    """A task of the registry.

    Attributes:
        name: as it is typed, and stands in records.
        about: one line for a person.
        source: where it was published.
        models: the network variants, the first one the default.
        options: the class of its options; ``presets`` has one value per scale.
        gradient: the default of a trial, as published or as the library's own; so are the next three.
        rtol: relative tolerance.
        atol: absolute tolerance.
        step_size: of fixed-step methods; None for one step per output interval.
        reference: the solve that errors are measured against, run in float64.
        second_reference: of fields of which ``reference`` needs too many evaluations, such as ones that are not smooth,
            of which a method of lower order may need fewer; None for none.
        headlines: the metrics that a table shows, the first one first.
        trains: whether there is a loss to differentiate.
        datasets: the data sets to choose from; without any it makes its own data from the seed.
        dtypes: those that its states and parameters can have.
        brief: options of a trial of a few steps, for what only costs are asked of.
        runs_user_code: whether an option names code of the user's. Such a trial is built once, and its experiment
            checked, in a process of its own before a run begins.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    source: ClassVar[str]
    models: ClassVar[Mapping[str, ModelInfo]]
    options: ClassVar[type[Options]]
    presets: ClassVar[Mapping[Preset, Options]]
    gradient: ClassVar[Gradient] = Gradient.ADJOINT
    rtol: ClassVar[float]
    atol: ClassVar[float]
    step_size: ClassVar[float | None]
    reference: ClassVar[StepControl]
    second_reference: ClassVar[StepControl | None] = None
    headlines: ClassVar[tuple[str, ...]]
    trains: ClassVar[bool] = True
    datasets: ClassVar[Mapping[str, DatasetInfo]] = {}
    dtypes: ClassVar[tuple[Dtype, ...]] = USUAL_DTYPES
    brief: ClassVar[Mapping[str, Scalar]] = {}
    runs_user_code: ClassVar[bool] = False

    def dataset(self, wanted: str | None, source: DataSource, preset: Preset) -> str:
        """Name the data set that is wanted, or the one that ``source`` suggests, having checked that it is there.

        Asked only of a task that has ``datasets``.

        Raises:
            BadInput: it is not there.
        """
        raise NotImplementedError

    def data_card(self, dataset: str | None, options: Any, source: DataSource) -> DataCard | None:
        """Describe the user's own data as every trial will, before any runs; None where the task has no such data.

        A run whose data have changed is not resumed. Asked only of a task that has ``datasets``.

        Raises:
            BadInput: the data cannot be read, or the options do not fit them; the message is one line.
        """
        return None

    def data_summary(self, dataset: str | None, options: Any, source: DataSource) -> str:
        """Say in one line what the user's own data hold; empty where the task has no such data.

        Raises:
            BadInput: see ``data_card``.
        """
        return ""

    @abstractmethod
    def build(self, setup: Setup) -> Experiment:
        """Build the experiment of one trial."""
