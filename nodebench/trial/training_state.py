"""The state of a training in a checkpoint: everything that the rest of the training depends on.

A state is a dictionary of tensors, numbers, texts, None, and lists, tuples and dictionaries of these. It is read back
with ``torch.load(weights_only=True)``, which makes no other object.
"""

import io
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nodebench.solvers.random_state import RandomState
from nodebench.tasks import Experiment

State = dict[str, Any]


def state_of(experiment: Experiment, device: torch.device) -> State:
    """Return weights, buffers, optimiser and random states of a training; its tensors are the ones in use."""
    optimizer = experiment.optimizer
    return {
        "model": dict(experiment.model.state_dict()),
        "buffers": _other_buffers(experiment.model),
        "optimizer": optimizer.state_dict() if optimizer else None,
        "sources": sources_of(experiment, device),
    }


def set_state(experiment: Experiment, device: torch.device, state: State) -> None:
    """Put an experiment of the same trial into a state that ``state_of`` returned.

    Raises:
        Exception: the state is damaged or belongs to another experiment; discard the experiment then.
    """
    experiment.model.load_state_dict(state["model"])
    buffers = _other_buffers(experiment.model)
    if buffers.keys() != state["buffers"].keys():
        raise ValueError("the model has other buffers")
    with torch.no_grad():
        for name, buffer in buffers.items():
            buffer.copy_(state["buffers"][name])
    if experiment.optimizer is not None:
        experiment.optimizer.load_state_dict(state["optimizer"])
    set_sources(experiment, device, state["sources"])


def sources_of(experiment: Experiment, device: torch.device) -> State:
    """Return all random states of a training: those of the experiment, torch, NumPy and Python."""
    of_torch = RandomState.take(device)
    of_numpy = np.random.get_state(legacy=False)
    return {
        "experiment": experiment.state_dict(),
        "torch": of_torch.cpu,
        "accelerator": of_torch.accelerator,
        "numpy": of_numpy
        | {"state": of_numpy["state"] | {"key": torch.from_numpy(of_numpy["state"]["key"].astype(np.int64))}},
        "python": random.getstate(),
    }


def set_sources(experiment: Experiment, device: torch.device, sources: State) -> None:
    """Go back to states that ``sources_of`` returned."""
    experiment.load_state_dict(sources["experiment"])
    RandomState(sources["torch"], sources["accelerator"], device).restore()
    of_numpy = sources["numpy"]
    np.random.set_state(
        of_numpy | {"state": of_numpy["state"] | {"key": of_numpy["state"]["key"].numpy().astype(np.uint32)}}
    )
    random.setstate(sources["python"])


def to_bytes(state: State) -> bytes:
    """Serialise a state."""
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def from_bytes(content: bytes) -> State:
    """Return the state that ``to_bytes`` serialised, with all tensors on the CPU.

    Raises:
        Exception: the content is not a state, or contains objects of another type.
    """
    state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def _other_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that ``state_dict`` leaves out (``persistent=False``)."""
    stored = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name not in stored}
