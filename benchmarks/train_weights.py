"""Train the fields of the suite, and save their weights with initial states.

    python benchmarks/train_weights.py

New weights change every benchmark that uses them: increase the benchmarks' versions and accept a new baseline.
"""

from pathlib import Path

import numpy as np
import torch
from cost import single
from torch import Tensor, nn

from nodebench.instruments import NfeCounter
from nodebench.models.ode_block import OdeBlock
from nodebench.solvers import Integrator
from nodebench.spec import DataSource
from nodebench.tasks import Experiment
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.step import training_step

WEIGHTS = Path(__file__).parent / "suite" / "weights"
IMAGES = 16


def trained(**grid: object) -> tuple[Experiment, Integrator]:
    """Train the experiment of a trial in this process, as its timed pass does; return it with its integrator."""
    trial = single(threads=1, **grid)
    solve = integrator_of(trial, NfeCounter())
    experiment = experiment_of(trial, solve, DataSource())
    for epoch in range(experiment.epochs):
        experiment.begin_epoch(epoch)
        batches = experiment.batches(epoch)
        for _ in range(experiment.steps_per_epoch):
            training_step(experiment, next(batches), solve.counter, lambda part: None)
    return experiment, solve


def keep(name: str, field: nn.Module, y0: Tensor, times: Tensor) -> None:
    """Save a field, its initial states ``(N, …)`` and its times ``(T,)``."""
    arrays = {key: value.numpy() for key, value in field.state_dict().items()}
    np.savez_compressed(WEIGHTS / f"{name}.npz", y0=y0.detach().numpy(), times=times.numpy(), **arrays)


def main() -> None:
    """Train and save both fields."""
    torch.set_num_threads(1)
    experiment, solve = trained(task="toy/spiral", model="small", gradient=["direct"])
    trace: list[tuple[nn.Module, Tensor, Tensor, Tensor]] = []
    with torch.no_grad(), solve.using(NfeCounter(), trace=trace):
        experiment.loss(experiment.model, experiment.probe)
    keep("spiral", experiment.model.field, *trace[0][1:3])

    experiment, solve = trained(task="mnist", model="odenet", overrides={"epochs": 1})
    block = next(layer for layer in experiment.model if isinstance(layer, OdeBlock))
    stem = experiment.model[: list(experiment.model).index(block)].eval()
    with torch.no_grad():
        keep("mnist-block", block.field, stem(experiment.probe[0][:IMAGES]), torch.tensor(block.times))


if __name__ == "__main__":
    main()
