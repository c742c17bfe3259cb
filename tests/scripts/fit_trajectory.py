"""Fit a network to pieces of a trajectory, as torchdiffeq's ode_demo.py does: the same calls in less code."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--method", choices=["dopri5", "adams"], default="dopri5")
parser.add_argument("--data_size", type=int, default=60)
parser.add_argument("--batch_time", type=int, default=5)
parser.add_argument("--batch_size", type=int, default=8)
parser.add_argument("--niters", type=int, default=2000)
parser.add_argument("--test_freq", type=int, default=1)
parser.add_argument("--adjoint", action="store_true")
args = parser.parse_args()

if args.adjoint:
    from torchdiffeq import odeint_adjoint as odeint
else:
    from torchdiffeq import odeint

torch.manual_seed(0)
t = torch.linspace(0.0, 3.0, args.data_size)
start = torch.tensor([[2.0, 0.0]])
matrix = torch.tensor([[-0.1, 1.0], [-1.0, -0.1]])


class Truth(nn.Module):
    def forward(self, t, y):
        return y @ matrix


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        self.nfe = 0

    def forward(self, t, y):
        self.nfe += 1
        return self.net(y**3)


with torch.no_grad():
    truth = odeint(Truth(), start, t, method="dopri5")


def get_batch():
    first = torch.randint(args.data_size - args.batch_time, (args.batch_size,))
    pieces = torch.stack([truth[first + i] for i in range(args.batch_time)])
    return truth[first], t[: args.batch_time], pieces


losses = []
if __name__ == "__main__":
    func = Network()
    optimizer = torch.optim.RMSprop(func.parameters(), lr=1e-3)
    for step in range(1, args.niters + 1):
        optimizer.zero_grad()
        y0, times, wanted = get_batch()
        loss = (odeint(func, y0, times) - wanted).abs().mean()
        loss.backward()
        optimizer.step()
        if step % args.test_freq == 0:
            with torch.no_grad():
                losses.append((odeint(func, start, t) - truth).abs().mean().item())
    nfe = func.nfe
