"""A training that is stored and resumed goes on as one that was never stopped: to the bit, for every task."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from nodebench.instruments import NfeCounter
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks import tasks
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.step import training_step
from nodebench.trial.training import Training
from nodebench.trial.training_state import from_bytes, state_of, to_bytes

CPU = torch.device("cpu")
OURS = sorted(name for name, task in tasks().items() if type(task).__module__.startswith("nodebench."))
MNIST = {"epochs": 2, "train_images": 96, "augment": True}
OWN = {
    "field": {"field": "own_fields:Plain", "state_shape": "8"},
    "problem": {"problem": "own_problems:drawn"},
    "series": {"time": "t", "id": "who"},
}
OWN_DATA = Path(__file__).parents[1] / "own_series.csv"
CASES = {
    **{name: (name, OWN.get(name, {}), 1) for name in OURS},
    "mnist, cosine": ("mnist", MNIST | {"schedule": "cosine"}, 2),
    "mnist, steps": ("mnist", MNIST | {"decay_epochs": "1"}, 3),
    "toy/spiral, linear": ("toy/spiral", {"schedule": "linear"}, 4),
    "everything random": ("test/random", {"epochs": 2, "steps_per_epoch": 3}, 5),
}


class RunFolder:
    """A training in this process, step by step."""

    def __init__(self, task: str, options: dict) -> None:
        # A solver without state or choices of its own keeps the steps short.
        grid = Grid(task=task, preset="smoke", solver=["rk4"], overrides={k: [v] for k, v in options.items()})
        source = DataSource(folder=OWN_DATA) if task == "series" else DataSource()
        (trial,) = multiply(grid, source)[0]
        self._counter = NfeCounter()
        self.experiment = experiment_of(trial, integrator_of(trial, self._counter), source)
        self.training = Training(self.experiment, CPU, resumable=True)

    def take(self, steps: int) -> None:
        training, experiment = self.training, self.experiment
        for _ in range(steps):
            over = training.taken == experiment.steps_per_epoch
            training.begin_epoch(training.epoch + 1 if over else max(training.epoch, 0))
            training.watch.start()
            batch = training.draw()
            training.steps.append(training_step(experiment, batch, self._counter, training.watch.mark))

    @property
    def left(self) -> int:
        return self.experiment.epochs * self.experiment.steps_per_epoch - len(self.training.steps)

    def losses(self) -> list[float]:
        return [step.loss for step in self.training.steps]


def _spoil_generators() -> None:
    torch.manual_seed(999)
    np.random.seed(999)
    random.seed(999)


# One case of each kind of state; the others are slow tests.
BY_DAY = ("mnist", "mnist, steps", "ecg", "density", "toy/spiral, linear", "everything random")


@pytest.mark.parametrize(
    ("task", "options", "taken"),
    [pytest.param(*case, id=name, marks=[] if name in BY_DAY else [pytest.mark.slow]) for name, case in CASES.items()],
)
def test_the_next_losses_are_those_of_a_training_that_was_not_stopped(task, options, taken):
    first = RunFolder(task, options)
    first.take(taken)
    stored = to_bytes(first.training.state())
    assert first.left > 0
    first.take(first.left)
    end = state_of(first.experiment, CPU)
    _spoil_generators()
    second = RunFolder(task, options)
    _spoil_generators()
    second.training.resume(from_bytes(stored))
    second.take(second.left)
    assert second.losses() == first.losses()
    assert to_bytes(state_of(second.experiment, CPU)["model"]) == to_bytes(end["model"])


def test_the_start_of_a_later_epoch_is_stored_as_well():
    first = RunFolder("test/random", {"epochs": 3, "steps_per_epoch": 2})
    first.take(4)
    first.training.begin_epoch(2)
    stored = from_bytes(to_bytes(first.training.state()))
    first.take(first.left)
    second = RunFolder("test/random", {"epochs": 3, "steps_per_epoch": 2})
    second.training.resume(stored)
    second.take(second.left)
    assert second.losses() == first.losses()


def test_batches_that_cannot_be_drawn_again_are_refused():
    options = {"epochs": 2, "steps_per_epoch": 3, "repeats_batches": False}
    first = RunFolder("test/random", options)
    first.take(2)
    with pytest.raises(ValueError, match="does not draw the same batches again"):
        RunFolder("test/random", options).training.resume(from_bytes(to_bytes(first.training.state())))


def test_a_state_is_read_without_making_other_objects():
    class Planted:
        def __reduce__(self):
            return print, ("executed",)

    with pytest.raises(Exception, match="weights_only"):
        from_bytes(to_bytes({"model": Planted()}))


def test_a_resumed_training_keeps_the_times_of_earlier_steps_and_warms_up_again():
    first = RunFolder("toy/spiral", {"steps_per_epoch": 6})
    first.take(5)
    second = RunFolder("toy/spiral", {"steps_per_epoch": 6})
    second.training.resume(from_bytes(to_bytes(first.training.state())))
    assert second.training.watch.state()["steps"] == first.training.watch.state()["steps"]
    second.take(4)
    assert second.training.watch.summary()["timed_steps"] == (5 - 2) + (4 - 2)
    assert second.training.watch.seconds_of(5) > 0
