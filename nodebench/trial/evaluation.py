"""Evaluation of a model beside its training."""

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
    """Evaluation mode, without gradients, under a counter of its own that is yielded.

    Args:
        model: put back into training mode at the end.
        solve: the integrator that it solves with.
        budget: of each solve.
        control, adapter: how its solves step; those of the training by default.
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
