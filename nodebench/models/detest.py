"""DETEST: the 25 non-stiff problems of Enright and Pryce, each solved from t = 0 to t = 20.

Source: Hull, Enright, Fellen and Sedgwick 1972, SIAM J. Numer. Anal. 9, 603–637; Enright and Pryce 1987, Algorithm 648,
ACM Trans. Math. Softw. 13, 28–34. torchdiffeq's ``tests/DETEST`` differs: its constant in E4 is 0.32; in C5 its
initial state is 10¹¹ times too large and its forces are different.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

SPAN = 20.0
Slope = Callable[[Tensor, Tensor], Tensor]


class Problem(NamedTuple):
    """A vector field ``field(t, y)`` of states ``(..., D)``, and the initial state ``start`` ``(D,)``."""

    field: Slope
    start: Sequence[float]


class Detest(nn.Module):
    """The field of one problem.

    Args:
        name: ``A1`` to ``E5``.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.problem = PROBLEMS[name]

    @property
    def start(self) -> Tensor:
        """The initial state ``(D,)``, in float64."""
        return torch.tensor(self.problem.start, dtype=torch.float64)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``; ``t`` broadcasts against ``y``."""
        return self.problem.field(t, y)


def _system(slopes: Callable[..., tuple[Tensor, ...]]) -> Slope:
    """Return a field from a function that takes the time and each component ``(..., 1)`` as separate arguments."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        components = (y[..., i : i + 1] for i in range(y.shape[-1]))
        return torch.cat(slopes(t, *components), -1)

    return field


# --- class A: single equations


def _a5(t: Tensor, y: Tensor) -> Tensor:
    return (y - t) / (y + t)


# --- class B: small systems


def _predators(t: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return 2 * (u - u * v), -(v - u * v)


def _linear_reaction(t: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    return -a + b, a - 2 * b + c, b - c


def _reaction(t: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    return -a, a - b * b, b * b


def _torus(t: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, ...]:
    r = (x * x + y * y).sqrt()
    return -y - x * z / r, x - y * z / r, x / r


def _rigid_body(t: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, ...]:
    return y * z, -x * z, -0.51 * x * y


# --- class C: moderate systems


def chain(rates: Sequence[float]) -> Tensor:
    """Return the matrix ``(n + 1, n + 1)`` of a decay chain with n rates; what leaves one state enters the next."""
    matrix = torch.zeros(len(rates) + 1, len(rates) + 1, dtype=torch.float64)
    for i, rate in enumerate(rates):
        matrix[i, i], matrix[i + 1, i] = -rate, rate
    return matrix


def diffusion(size: int) -> Tensor:
    """The tridiagonal matrix of a discretised heat equation: −2 on the diagonal, 1 beside it."""
    beside = torch.ones(size - 1, dtype=torch.float64)
    return torch.diag(beside, -1) + torch.diag(beside, 1) - 2 * torch.eye(size, dtype=torch.float64)


def _linear(matrix: Tensor) -> Problem:
    """Return the problem ``dy/dt = A y`` that starts at the first unit vector."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        return y @ matrix.to(y).T

    return Problem(field, [1.0] + [0.0] * (len(matrix) - 1))


GRAVITY, SUN = 2.95912208286, 1.00000597682
PLANETS = (0.000954786104043, 0.000285583733151, 0.0000437273164546, 0.0000517759138449, 0.00000277777777778)
_POSITIONS = (
    (3.42947415189, 3.35386959711, 1.35494901715),
    (6.64145542550, 5.97156957878, 2.18231499728),
    (11.2630437207, 14.6952576794, 6.27960525067),
    (-30.1552268759, 1.65699966404, 1.43785752721),
    (-21.1238353380, 28.4465098142, 15.3882659679),
)
_VELOCITIES = (
    (-0.557160570446, 0.505696783289, 0.230578543901),
    (-0.415570776342, 0.365682722812, 0.169143213293),
    (-0.325325669158, 0.189706021964, 0.0877265322780),
    (-0.0240476254170, -0.287659532608, -0.117219543175),
    (-0.176860753121, -0.216393453025, -0.0148647893090),
)


def _planets(t: Tensor, y: Tensor) -> Tensor:
    """Five planets about the sun: positions ``(5, 3)``, then velocities."""
    position, velocity = y[..., :15], y[..., 15:]
    at = position.reshape(*y.shape[:-1], 5, 3)
    masses = torch.tensor(PLANETS).to(y)
    others = 1 - torch.eye(5).to(y)
    to_sun = at / at.square().sum(-1, keepdim=True) ** 1.5
    apart = at.unsqueeze(-3) - at.unsqueeze(-2)  # [..., j, k]: from planet j to planet k
    cubed = (apart.square().sum(-1) + (1 - others)) ** 1.5
    pulls = apart / cubed.unsqueeze(-1) - to_sun.unsqueeze(-3)
    of_planets = (pulls * (others * masses).unsqueeze(-1)).sum(-2)
    acceleration = GRAVITY * (of_planets - (SUN + masses).unsqueeze(-1) * to_sun)
    return torch.cat([velocity, acceleration.reshape(position.shape)], -1)


# --- class D: orbits


def _orbit(eccentricity: float) -> Problem:
    """Return Kepler's problem, started at the pericentre, with a semi-major axis of 1."""

    def slopes(t: Tensor, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        cubed = (x * x + y * y) ** 1.5
        return u, v, -x / cubed, -y / cubed

    fastest = math.sqrt((1 + eccentricity) / (1 - eccentricity))
    return Problem(_system(slopes), [1 - eccentricity, 0.0, 0.0, fastest])


# --- class E: higher-order equations


def _bessel(t: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return v, -(v / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * y)


def _van_der_pol(t: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return v, (1 - y * y) * v - y


def _duffing(t: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return v, y**3 / 6 - y + 2 * torch.sin(2.78535 * t)


def falling(thrust: float) -> Slope:
    """A body with a drag of 0.4 v²; E4 has a thrust of 0.032."""

    def slopes(t: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        return v, thrust - 0.4 * v * v

    return _system(slopes)


def _pursuit(t: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return v, (1 + v * v).sqrt() / (25 - t)


PROBLEMS: dict[str, Problem] = {
    "A1": Problem(lambda t, y: -y, [1.0]),
    "A2": Problem(lambda t, y: -(y**3) / 2, [1.0]),
    "A3": Problem(lambda t, y: y * torch.cos(t), [1.0]),
    "A4": Problem(lambda t, y: y / 4 * (1 - y / 20), [1.0]),
    "A5": Problem(_a5, [4.0]),
    "B1": Problem(_system(_predators), [1.0, 3.0]),
    "B2": Problem(_system(_linear_reaction), [2.0, 0.0, 1.0]),
    "B3": Problem(_system(_reaction), [1.0, 0.0, 0.0]),
    "B4": Problem(_system(_torus), [3.0, 0.0, 0.0]),
    "B5": Problem(_system(_rigid_body), [0.0, 1.0, 1.0]),
    "C1": _linear(chain([1.0] * 9)),
    "C2": _linear(chain([float(rate) for rate in range(1, 10)])),
    "C3": _linear(diffusion(10)),
    "C4": _linear(diffusion(51)),
    "C5": Problem(_planets, [x for table in (_POSITIONS, _VELOCITIES) for row in table for x in row]),
    "D1": _orbit(0.1),
    "D2": _orbit(0.3),
    "D3": _orbit(0.5),
    "D4": _orbit(0.7),
    "D5": _orbit(0.9),
    "E1": Problem(_system(_bessel), [0.6713967071418030, 0.09540051444747446]),
    "E2": Problem(_system(_van_der_pol), [2.0, 0.0]),
    "E3": Problem(_system(_duffing), [0.0, 0.0]),
    "E4": Problem(falling(0.032), [30.0, 0.0]),
    "E5": Problem(_system(_pursuit), [0.0, 0.0]),
}
