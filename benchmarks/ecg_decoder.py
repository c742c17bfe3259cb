"""Error of an ODE decoder for heart beats with given latent initial states: a better encoder cannot reduce it.

    python benchmarks/ecg_decoder.py
    python benchmarks/ecg_decoder.py --clock

The latent initial state of a beat is its first 24 principal components, scaled; it is not trained. Field and readout
are those of the task ``ecg`` (two hidden layers, ELU); plain torchdiffeq solves the field with rk4. With ``--clock``
the field also receives the position in the beat, encoded by 20 Gaussian bumps. The script prints the RMSE of the signal
on test beats, divided by the noise.
"""

import argparse
import math

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from nodebench.spec import DataSource
from nodebench.tasks.ecg import EcgOptions, load, rmse
from nodebench.tasks.ecg_sources import POINTS, SYNTHETIC

LATENT, HIDDEN, DURATION, BUMPS = 24, 64, 10.0, 20
LEARNING_RATE, BATCH, NOISE = 0.005, 100, 0.04
LEAST = 0.2  # least spread of a component of the initial state, relative to the first one


class Field(nn.Module):
    """The field dz/dt. With a clock it also receives the position in the beat."""

    def __init__(self, clock: bool) -> None:
        super().__init__()
        self.places = torch.linspace(0, 1, BUMPS) if clock else None
        inputs = LATENT + BUMPS * clock
        self.layers = nn.Sequential(
            nn.Linear(inputs, HIDDEN), nn.ELU(), nn.Linear(HIDDEN, HIDDEN), nn.ELU(), nn.Linear(HIDDEN, LATENT)
        )

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, of the shape of ``z``."""
        if self.places is not None:
            bumps = torch.exp(-((t / DURATION - self.places) * BUMPS).square() / 2)
            z = torch.cat([z, bumps.expand(len(z), BUMPS)], -1)
        return self.layers(z)


def codes(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return principal components of training and test beats, scaled to spreads from 1 to ``LEAST``."""
    mean = train.flatten(1).mean(0)
    axes = torch.linalg.svd(train.flatten(1) - mean, full_matrices=False).Vh[:LATENT]
    found = [(beats.flatten(1) - mean) @ axes.T for beats in (train, test)]
    spread = found[0].std(0)
    scale = (spread / spread[0]).clamp(min=LEAST) / spread
    return found[0] * scale, found[1] * scale


def main() -> None:
    """Train, and print the error every 250 steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", action="store_true", help="give the field the position in the beat")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    split = load(SYNTHETIC, EcgOptions(), DataSource(), given.seed)
    mean, std = split.train.signal.mean((0, 1)), split.train.signal.std((0, 1))
    train, test = (torch.from_numpy((part.signal - mean) / std).float() for part in split)
    starts, test_starts = codes(train, test)
    torch.manual_seed(given.seed)
    field = Field(given.clock)
    readout = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))
    optimizer = torch.optim.Adam([*field.parameters(), *readout.parameters()], lr=LEARNING_RATE)
    times = torch.linspace(0, DURATION, POINTS)

    def decode(z: Tensor) -> Tensor:
        states = odeint(field, z, times, method="rk4", options={"step_size": DURATION / 25})
        return readout(states).transpose(0, 1)

    for step in range(given.steps + 1):
        if step % 250 == 0:
            with torch.no_grad():
                error = rmse(decode(test_starts)[..., 0], test[..., 0]) * std[0] / split.train.noise
            print(f"{step:6d} steps: error / noise {error:.1f}", flush=True)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / given.steps)) / 2
        rows = torch.randperm(len(train))[:BATCH]
        loss = (decode(starts[rows]) - train[rows]).square().sum((1, 2)).mean() / (2 * NOISE**2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
