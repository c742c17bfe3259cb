"""Evaluations of the backward solve over those of the forward solve, against the number of output times.

Verdict: backward-half (default), parts of study intervals. A 2–50–2 network learns a spiral by 20 steps of RMSprop
through torchdiffeq's ``odeint_adjoint`` (dopri5, rtol 1e-3, atol 1e-5, float32). Calls are summed over
the 20 steps before the division.
Sources: Chen et al. 2018, arXiv 1806.07366, Figure 3c; torchdiffeq issues 77 and 97.

    python benchmarks/independent/backward_half.py --points 2 5 10 30 100
"""

import argparse
import json

import torch
from problems import LEARNING_RATE, SPAN, START, Counted, Network, spiral
from torchdiffeq import odeint_adjoint

STEPS = 20


def ratio(points: int, seed: int) -> float:
    """Calls of the field in the backward solves, over those in the forward solves."""
    field = Counted(Network(seed))
    times = torch.linspace(0, SPAN, points, dtype=torch.float64)
    targets = spiral(times).float()
    optimizer = torch.optim.RMSprop(field.parameters(), lr=LEARNING_RATE)
    forward = backward = 0
    for _ in range(STEPS):
        optimizer.zero_grad()
        states = odeint_adjoint(field, START.float(), times.float(), method="dopri5", rtol=1e-3, atol=1e-5)
        forward += field.take()
        (states - targets).abs().mean().backward()
        backward += field.take()
        optimizer.step()
    return backward / forward


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[2, 5, 10, 30, 100], help="output times")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({f"points {points}": ratio(points, arguments.seed) for points in arguments.points}))
