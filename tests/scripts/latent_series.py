"""Reconstruct series from a latent state, as torchdiffeq's latent_ode.py does: one recurrent encoder, one ODE."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--adjoint", type=eval, default=False)
parser.add_argument("--visualize", type=eval, default=False)
parser.add_argument("--niters", type=int, default=2000)
parser.add_argument("--lr", type=float, default=0.01)
args = parser.parse_args()

if args.adjoint:
    from torchdiffeq import odeint_adjoint as odeint
else:
    from torchdiffeq import odeint

LATENT, HIDDEN = 3, 8


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ELU(inplace=True), nn.Linear(HIDDEN, LATENT))
        self.nfe = 0

    def forward(self, t, x):
        self.nfe += 1
        return self.net(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(1 + HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2 * LATENT)

    def forward(self, x, h):
        h = torch.tanh(self.hidden(torch.cat((x, h), dim=1)))
        return self.out(h), h


class Parts(nn.Module):
    """The three networks in one module, which returns the training loss."""

    def __init__(self):
        super().__init__()
        self.func, self.rec, self.dec = Field(), Encoder(), nn.Linear(LATENT, 1)

    def forward(self, series, times, draw):
        h = torch.zeros(len(series), HIDDEN).to(series)
        for i in reversed(range(series.size(1))):
            out, h = self.rec(series[:, i], h)
        mean, logvar = out.chunk(2, dim=1)
        z0 = draw * torch.exp(0.5 * logvar) + mean
        fitted = self.dec(odeint(self.func, z0, times).permute(1, 0, 2))
        kl = 0.5 * (logvar.exp() + mean**2 - 1 - logvar).sum(1)
        return ((fitted - series).square().sum((1, 2)) + kl).mean()


def make_data():
    times = torch.linspace(0, 1, 6)
    phases = torch.arange(5.0).reshape(-1, 1)
    series = torch.sin(3 * times + phases).unsqueeze(-1)
    return series, times, torch.randn(5, LATENT, generator=torch.Generator().manual_seed(0))


losses = []
if __name__ == "__main__":
    torch.manual_seed(0)
    model = Parts()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    series, times, draw = make_data()
    for _ in range(args.niters):
        optimizer.zero_grad()
        loss = model(series, times, draw)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if args.visualize:
        with torch.no_grad():
            start = torch.ones(LATENT)  # one state without a batch, forwards and backwards in time
            ahead, back = (odeint(model.func, start, part) for part in (times, -times))
            losses += [ahead.sum().item(), back.sum().item()]
    nfe = model.func.nfe
