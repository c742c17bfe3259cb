"""Evaluations for 32 Van der Pol oscillators solved as one state, over the mean of 32 separate solves.

Verdict: batching-free (default), parts "Van der Pol". Library: torchdiffeq, dopri5, float64, rtol 1e-5, atol 1e-7.
Source: Chen et al. 2018, arXiv 1806.07366, section 6, "Minibatching".

    python benchmarks/independent/batching_free.py --mu 2 10 25
"""

import argparse
import json

import torch
from problems import Counted, VanDerPol, oscillators
from torchdiffeq import odeint


def ratio(mu: float, seed: int) -> float:
    """Calls of the field for the batch, over the mean number of calls for one oscillator."""
    field = Counted(VanDerPol(mu))
    starts, times = oscillators(seed)
    odeint(field, starts, times, method="dopri5", rtol=1e-5, atol=1e-7)
    joint = field.take()
    for start in starts:
        odeint(field, start, times, method="dopri5", rtol=1e-5, atol=1e-7)
    return joint * len(starts) / field.take()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mu", type=float, nargs="+", default=[2.0, 10.0, 25.0], help="stiffness")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({f"mu {mu:g}": ratio(mu, arguments.seed) for mu in arguments.mu}))
