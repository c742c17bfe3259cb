"""Evaluation of a model outside its training steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from nodebench.instruments import Budget, NfeCounter
from nodebench.solvers import Integrator, Observer, SolverAdapter, StepControl, Trace


@contextmanager
def evaluating(
    model: nn.Module,
    solve: Integrator,
    budget: Budget,
    control: StepControl | None = None,
    adapter: SolverAdapter | None = None,
    observe: Observer | None = None,
    trace: Trace | None = None,
) -> Iterator[NfeCounter]:
    """Set a model to evaluation mode, without gradients, and yield a separate NFE counter.

    Args:
        model: set back to training mode at the end.
        solve: integrator of the model.
        budget: budget of each solve.
        control, adapter: step control and backend of the solves; by default those of the training.
        observe, trace: see ``Integrator.using``.
    """
    counter = NfeCounter(budget)
    control = control or replace(solve.control, gradient=None)
    model.eval()
    try:
        with torch.no_grad(), solve.using(counter, control, adapter, trace, observe):
            yield counter
    finally:
        model.train()
