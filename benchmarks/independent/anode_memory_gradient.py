"""Relative error of the adjoint's gradient in a field that contracts by exp(20) over the solve.

Verdict: anode-memory-gradient (default), part "contracting field, exp(20)". The field is ``net(y) - (0, 10 y[1])`` with
a 2–50–2 network. 20 steps of RMSprop fit it to the final state of a trajectory of length 2, through torchdiffeq's
``odeint_adjoint`` (dopri5, rtol 1e-3, atol 1e-5, float32). Its gradient is then compared with the gradient that is
backpropagated through dopri8 in float64 at tolerance 1e-11.
Source: Gholami et al. 2019, arXiv 1902.10298, section 3.

    python benchmarks/independent/anode_memory_gradient.py
"""

import argparse
import copy
import json

import torch
from problems import LEARNING_RATE, START, Network, spiral
from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

STEPS, RATE = 20, 10.0
TIMES = torch.tensor([0.0, 2.0], dtype=torch.float64)


def gradient(field: Network, states: Tensor) -> Tensor:
    """Return the parameter gradient of the mean absolute error of ``states`` ``(2, 1, 2)``, flat, in float64."""
    field.zero_grad()
    (states - spiral(TIMES, RATE).to(states)).abs().mean().backward()
    return torch.cat([parameter.grad.double().flatten() for parameter in field.parameters()])


def adjoint(field: Network) -> Tensor:
    """Return the gradient through the adjoint, which is also stored in the parameters."""
    states = odeint_adjoint(field, START.float(), TIMES.float(), method="dopri5", rtol=1e-3, atol=1e-5)
    return gradient(field, states)


def error(seed: int) -> float:
    """Relative L2 error of the adjoint's gradient after the training."""
    field = Network(seed, RATE)
    optimizer = torch.optim.RMSprop(field.parameters(), lr=LEARNING_RATE)
    for _ in range(STEPS):
        adjoint(field)
        optimizer.step()
    exact = copy.deepcopy(field).double()
    reference = gradient(exact, odeint(exact, START, TIMES, method="dopri8", rtol=1e-11, atol=1e-11))
    return ((adjoint(field) - reference).norm() / reference.norm()).item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({"gradient error": error(arguments.seed)}))
