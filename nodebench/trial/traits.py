"""What a vector field does besides returning a derivative: draw random numbers, change state, depend on its batch."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nodebench.errors import first_line
from nodebench.solvers.random_state import RandomState
from nodebench.spec import FieldTrait

Traits = dict[FieldTrait, str]  # each with what was observed

# Relative difference of two equal evaluations on an accelerator, whose sums have no fixed order.
_SUM_ORDER = 1e-4


def repeatability(field: nn.Module, t: Tensor, y: Tensor) -> Traits:
    """Evaluate a field three times at one point, in training mode, and return the traits that this shows.

    The mode and the buffers of the field and torch's random state are left as they were.

    Args:
        field: module ``(t, y) -> dy/dt``.
        t: a time, scalar.
        y: a state, of any shape.
    """
    with _at_trial(field, y.device) as tried:
        before = {name: buffer.clone() for name, buffer in tried.named_buffers()}
        random = RandomState.take(y.device)
        first = tried(t, y)
        changed = [name for name, buffer in tried.named_buffers() if not _equal(buffer, before.get(name))]
        second = tried(t, y)
        random.restore()
        again = tried(t, y)
    traits: Traits = {}
    if not _equal(first, second):
        if _equal(first, again):
            traits[FieldTrait.RANDOM] = "two evaluations at one point differ; from the same random state they agree"
        else:
            traits[FieldTrait.STATEFUL] = "two evaluations at one point differ, also from the same random state"
    if changed:
        names = ", ".join(changed[:3]) + ", …" * (len(changed) > 3)
        traits[FieldTrait.UPDATES_BUFFERS] = f"an evaluation in training mode changes {names}"
    return traits


def batch_dependence(field: nn.Module, t: Tensor, y: Tensor) -> Traits:
    """Evaluate a field at a batch with one more sample; return the trait ``FIXED_BATCH`` if this fails.

    Args:
        field: module ``(t, y) -> dy/dt``.
        t: a time, scalar.
        y: a batch of states ``(B, …)``, at which the field can be evaluated; one state ``(D,)`` has no batch.
    """
    if y.ndim < 2:
        return {}
    other = torch.cat([y, y[:1]])
    try:
        with _at_trial(field, y.device) as tried:
            shape = tuple(tried(t, other).shape)
    except Exception as error:
        found = f"{type(error).__name__}: {first_line(error)}"
    else:
        if shape == tuple(other.shape):
            return {}
        found = f"the result has shape {shape}"
    return {FieldTrait.FIXED_BATCH: f"a batch of {len(y)} can be evaluated, one of {len(other)} cannot: {found}"}


@contextmanager
def _at_trial(field: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """A copy of a field in training mode, or the field itself where it cannot be copied, restored afterwards."""
    random = RandomState.take(device)
    try:
        tried = copy.deepcopy(field)
    except Exception:
        tried = field
    modes = {part: part.training for part in tried.modules()}
    buffers = {name: buffer.clone() for name, buffer in tried.named_buffers()}
    try:
        with torch.no_grad():
            yield tried.train()
    finally:
        for part, mode in modes.items():
            part.training = mode
        with torch.no_grad():
            for name, buffer in tried.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])
        random.restore()


def _equal(first: Tensor, second: Tensor | None) -> bool:
    if second is None or first.shape != second.shape:
        return False
    if first.device.type == "cpu" or not first.is_floating_point():
        return torch.equal(first.nan_to_num(), second.nan_to_num())
    return bool((first - second).norm() <= _SUM_ORDER * second.norm()) or bool(first.isnan().any())
