"""Densities on the plane: a sampler, and the exact log-density if there is one.

Sources: FFJORD ``lib/toy_data.py``; torchdiffeq ``examples/cnf.py`` (``circles-small``); Rezende and Mohamed 2015,
arXiv 1505.05770, table 1 (``u1`` to ``u4``, which are exp(−U) of energies U, cut to a box: three of them have no finite
mass on the plane).
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

Random = torch.Generator
ENERGY_BOX = 4.0  # half of the side
_CELLS = 1000  # cells per axis of the integral over that box
NODES = 256  # of the integral over a half circle; their distance is an eighth of the noise


class Density(NamedTuple):
    """A density of the plane.

    Attributes:
        sample: draws a given number of points, ``(N, 2)`` in float64.
        log_density: maps points ``(N, 2)`` to log-densities ``(N,)``; None if there is no closed form.
        box: half of the side of a square around 0 that holds nearly all of its mass.
    """

    sample: Callable[[int, Random], Tensor]
    log_density: Callable[[Tensor], Tensor] | None
    box: float


def midpoints(box: float, count: int) -> tuple[Tensor, float]:
    """The midpoints ``(count², 2)`` of the cells of a square around 0, and the area of a cell.

    Args:
        box: half of the side of the square.
        count: cells along each side.
    """
    side = 2 * box / count
    axis = -box + side * (torch.arange(count, dtype=torch.float64) + 0.5)
    return torch.cartesian_prod(axis, axis), side**2


def circles(radii: tuple[float, ...], noise: float) -> Density:
    """Circles of equal weight around 0, blurred by normal noise."""
    choices = torch.tensor(radii, dtype=torch.float64)

    def sample(count: int, random: Random) -> Tensor:
        radius = choices[torch.randint(len(radii), (count,), generator=random)].unsqueeze(1)
        return radius * _direction(count, random) + noise * _normal(count, random)

    def log_density(points: Tensor) -> Tensor:
        distance, variance = points.norm(dim=1, keepdim=True), noise**2
        # The Bessel function is the mean over the circle; i0e(x) = exp(-x) I0(x).
        bessel = torch.special.i0e(distance * choices / variance).log()
        parts = bessel - (distance - choices).square() / (2 * variance) - math.log(2 * math.pi * variance)
        return torch.logsumexp(parts, 1) - math.log(len(radii))

    return Density(sample, log_density, max(radii) + 6 * noise)


def gaussians(count: int, radius: float, noise: float) -> Density:
    """Normal densities of equal weight, their means on a circle."""
    angles = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    means = radius * torch.stack([angles.cos(), angles.sin()], 1)

    def sample(number: int, random: Random) -> Tensor:
        return means[torch.randint(count, (number,), generator=random)] + noise * _normal(number, random)

    return Density(sample, lambda points: _mixture(points, means, noise), radius + 6 * noise)


def moons(noise: float) -> Density:
    """Two interleaved half circles, blurred by normal noise; twice as large as scikit-learn's, and shifted."""
    angles = math.pi * (torch.arange(NODES, dtype=torch.float64) + 0.5) / NODES
    nodes = _half_circles(torch.cat([angles, angles]), torch.arange(2 * NODES) >= NODES)

    def sample(count: int, random: Random) -> Tensor:
        angle = math.pi * torch.rand(count, generator=random, dtype=torch.float64)
        lower = torch.rand(count, generator=random) < 0.5
        return _half_circles(angle, lower) + noise * _normal(count, random)

    return Density(sample, lambda points: _mixture(points, nodes, noise), 4.5)


def _half_circles(angle: Tensor, lower: Tensor) -> Tensor:
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    other = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    shift = torch.tensor([-1.0, -0.2], dtype=torch.float64)
    return 2 * torch.where(lower.unsqueeze(1), other, upper) + shift


def checkerboard() -> Density:
    """Uniform on the eight dark squares of a board of side 8."""

    def sample(count: int, random: Random) -> Tensor:
        x = 4 * torch.rand(count, generator=random, dtype=torch.float64) - 2
        lower = torch.randint(2, (count,), generator=random)
        y = torch.rand(count, generator=random, dtype=torch.float64) - 2 * lower + x.floor() % 2
        return 2 * torch.stack([x, y], 1)

    def log_density(points: Tensor) -> Tensor:
        x, y = (points / 2).unbind(1)
        dark = (x.floor() + y.floor()) % 2 == 0
        inside = (x.abs() <= 2) & (y.abs() <= 2)
        return torch.where(dark & inside, -math.log(32), -math.inf)

    return Density(sample, log_density, 4.0)


def pinwheel(arms: int = 5) -> Density:
    """Arms that bend with their radius."""

    def sample(count: int, random: Random) -> Tensor:
        arm = torch.randint(arms, (count,), generator=random)
        along = 1 + 0.3 * torch.randn(count, generator=random, dtype=torch.float64)
        across = 0.1 * torch.randn(count, generator=random, dtype=torch.float64)
        angle = 2 * math.pi * arm / arms + 0.25 * along.exp()
        x = along * angle.cos() + across * angle.sin()
        return 2 * torch.stack([x, across * angle.cos() - along * angle.sin()], 1)

    return Density(sample, None, 4.5)


def spirals() -> Density:
    """Two spirals around 0, each a half turn from the other."""

    def sample(count: int, random: Random) -> Tensor:
        angle = torch.rand(count, 1, generator=random, dtype=torch.float64).sqrt() * 3 * math.pi
        blur = 0.5 * torch.rand(count, 2, generator=random, dtype=torch.float64)
        arm = torch.cat([-angle.cos(), angle.sin()], 1) * angle + blur
        side = 1 - 2 * torch.randint(2, (count, 1), generator=random).double()
        return side * arm / 3 + 0.1 * _normal(count, random)

    return Density(sample, None, 4.0)


def energy(potential: Callable[[Tensor, Tensor], Tensor], least: float) -> Density:
    """The density proportional to ``exp(−U)`` in a box.

    Args:
        potential: U of the two coordinates.
        least: a lower bound of U, for rejection sampling.
    """

    @cache
    def log_mass() -> float:
        points, area = midpoints(ENERGY_BOX, _CELLS)
        return math.log(float((-potential(*points.unbind(1))).exp().sum()) * area)

    def sample(count: int, random: Random) -> Tensor:
        found = [torch.empty(0, 2, dtype=torch.float64)]
        while sum(map(len, found)) < count:
            points = ENERGY_BOX * (2 * torch.rand(4 * count, 2, generator=random, dtype=torch.float64) - 1)
            level = torch.rand(len(points), generator=random, dtype=torch.float64)
            found.append(points[level < (least - potential(*points.unbind(1))).exp()])
        return torch.cat(found)[:count]

    def log_density(points: Tensor) -> Tensor:
        inside = (points.abs() <= ENERGY_BOX).all(1)
        return torch.where(inside, -potential(*points.unbind(1)) - log_mass(), -math.inf)

    return Density(sample, log_density, ENERGY_BOX)


def _ring(x: Tensor, y: Tensor) -> Tensor:
    """U1: a ring of radius 2, heavier to the left and to the right."""
    sides = torch.stack([-((x - at) / 0.6).square() / 2 for at in (2.0, -2.0)])
    return ((torch.hypot(x, y) - 2) / 0.4).square() / 2 - sides.logsumexp(0)


def _wave(x: Tensor, y: Tensor) -> Tensor:
    """U2: a band along a sine curve."""
    return (_off_sine(x, y) / 0.4).square() / 2


def _split(x: Tensor, y: Tensor) -> Tensor:
    """U3: a band along a sine curve that splits in two in the middle."""
    other = _off_sine(x, y) + 3 * (-((x - 1) / 0.6).square() / 2).exp()
    return _either((_off_sine(x, y), 0.35), (other, 0.35))


def _fork(x: Tensor, y: Tensor) -> Tensor:
    """U4: a band along a sine curve that forks to the right."""
    other = _off_sine(x, y) + 3 * ((x - 1) / 0.3).sigmoid()
    return _either((_off_sine(x, y), 0.4), (other, 0.35))


def _off_sine(x: Tensor, y: Tensor) -> Tensor:
    return y - (math.pi * x / 2).sin()


def _either(*parts: tuple[Tensor, float]) -> Tensor:
    return -torch.stack([-(distance / width).square() / 2 for distance, width in parts]).logsumexp(0)


def _mixture(points: Tensor, means: Tensor, noise: float) -> Tensor:
    """Log-density of an even mixture of normal densities about ``means`` ``(K, 2)``."""
    squares = torch.cdist(points, means).square()
    constant = math.log(2 * math.pi * noise**2) + math.log(len(means))
    return torch.logsumexp(-squares / (2 * noise**2), 1) - constant


def _direction(count: int, random: Random) -> Tensor:
    angle = 2 * math.pi * torch.rand(count, generator=random, dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], 1)


def _normal(count: int, random: Random) -> Tensor:
    return torch.randn(count, 2, generator=random, dtype=torch.float64)


DENSITIES: dict[str, Density] = {
    "circles": circles((3.0, 1.5), 0.24),
    "circles-small": circles((1.0, 0.5), 0.06),
    "rings": circles((3.0, 2.25, 1.5, 0.75), 0.08),
    "8gaussians": gaussians(8, 4 / math.sqrt(2), 0.5 / math.sqrt(2)),
    "moons": moons(0.2),
    "checkerboard": checkerboard(),
    "pinwheel": pinwheel(),
    "2spirals": spirals(),
    "u1": energy(_ring, -math.log(2)),
    "u2": energy(_wave, 0.0),
    "u3": energy(_split, -math.log(2)),
    "u4": energy(_fork, -math.log(2)),
}
