"""Which fields and trials can be replayed as CUDA graphs; ``tests/cuda`` has what needs a GPU."""

import pytest
import torch
from problems import Network
from torch import nn

from nodebench.running.combination import OPTIONAL, UnsupportedCombination, with_ode
from nodebench.solvers.cuda_graph import GraphedFields, loose_tensor
from nodebench.spec import Compile, Gradient, SolveFailed, Status
from nodebench.tasks import find_task


class Noisy(nn.Module):
    """A network in another one that is given new noise before each solve."""

    def __init__(self, noise):
        super().__init__()
        self.net = nn.Linear(3, 3)
        self.inner = nn.Module()
        self.inner.noise = noise
        self.register_buffer("mean", torch.zeros(3))


@pytest.mark.parametrize("noise", [torch.ones(3), [torch.ones(3)], {"e": torch.ones(3)}])
def test_a_field_whose_noise_a_graph_would_not_follow_is_refused(noise):
    assert loose_tensor(Noisy(noise)) == "inner.noise"
    with pytest.raises(SolveFailed, match=r"neither a parameter nor a buffer: inner\.noise") as failed:
        GraphedFields().of(Noisy(noise))
    assert failed.value.status is Status.UNSUPPORTED


def test_parameters_buffers_and_numbers_are_no_loose_tensors():
    assert loose_tensor(Network()) is None
    assert loose_tensor(Noisy(0.5)) is None


def combined(solver="dopri5", device="cuda:0", autocast=None, **axes):
    chosen = dict.fromkeys(OPTIONAL) | {"compile": Compile.GRAPH} | axes
    common = {"device": device, "dtype": "float32", "autocast": autocast, "threads": 1, "overrides": {}}
    task = find_task("toy/spiral")
    return with_ode(task, next(iter(task.models)), solver, chosen, task="toy/spiral", dataset=None, **common)


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"device": "cpu"}, "needs a CUDA device"),
        ({"gradient": Gradient.DIRECT}, "gradient 'direct' needs more: adjoint, adjoint-seminorm, interpolated only"),
        ({"gradient": Gradient.ACA}, "gradient 'aca' needs more"),
        ({"solver": "torchode:dopri5", "gradient": Gradient.ADJOINT}, "no compile 'graph': eager, field, solver only"),
    ],
)
def test_a_trial_that_cannot_be_replayed_is_refused_with_the_reason(axes, reason):
    with pytest.raises(UnsupportedCombination, match=reason):
        combined(**axes)


def test_an_adjoint_on_a_gpu_is_accepted():
    assert combined(gradient=Gradient.ADJOINT).compile is Compile.GRAPH
