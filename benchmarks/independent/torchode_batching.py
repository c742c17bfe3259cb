"""Evaluations per oscillator with its own steps in torchode, over those of a joint batch in torchdiffeq.

Verdict: torchode-batching (default), part "random starts". Both libraries: dopri5, float64, rtol 1e-5,
atol 1e-7. Each of the 32 oscillators is solved alone by torchode, and the calls of its field are counted; nodebench
solves all of them in one call and reads the number of steps of each from torchode's statistics.
Source: Lienen and Günnemann 2022, arXiv 2210.12375.

    python benchmarks/independent/torchode_batching.py --mu 10 25 50
"""

import argparse
import json

import torch
import torchode
from problems import Counted, VanDerPol, oscillators
from torch import Tensor, nn
from torchdiffeq import odeint


def own_steps(field: nn.Module, start: Tensor, times: Tensor) -> None:
    """Solve from one start ``(2,)`` with torchode and its integral controller."""
    term = torchode.ODETerm(field)
    controller = torchode.IntegralController(1e-7, 1e-5, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term), controller)
    solver.solve(torchode.InitialValueProblem(y0=start[None], t_eval=times[None]))


def ratio(mu: float, seed: int) -> float:
    """Mean calls of the field for one oscillator in torchode, over the calls for the batch in torchdiffeq."""
    field = Counted(VanDerPol(mu))
    starts, times = oscillators(seed)
    odeint(field, starts, times, method="dopri5", rtol=1e-5, atol=1e-7)
    joint = field.take()
    for start in starts:
        own_steps(field, start, times)
    return field.take() / len(starts) / joint


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mu", type=float, nargs="+", default=[10.0, 25.0, 50.0], help="stiffness")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        print(json.dumps({f"mu {mu:g}": ratio(mu, arguments.seed) for mu in arguments.mu}))
