"""Regularised training: penalties on a field that are integrated along its solution, and a random end time.

Sources: Finlay et al. 2020 (RNODE), arXiv 2002.02798, equation 7 and ``ffjord-rnode``; Kelly et al. 2020 (TayNODE),
arXiv 2007.04504, equation 1; Ghosh et al. 2020 (STEER), arXiv 2006.10711, algorithm 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import jvp

from nodebench.solvers import Integrator

# Factor of the penalties in the state. It is small so that the error of their integral does not affect the step size.
# The authors of RNODE set the tolerances of the integral to 1e20 instead, which few solvers support.
SCALE = 1e-6

Field = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Regularisation:
    """Weights of the penalties; each penalty is a mean over the state's components, integrated over the solve.

    Attributes:
        kinetic: weight of the squared field ``f²``.
        jacobian: weight of the squared Frobenius norm of the Jacobian ``∂f/∂z``, divided by the number of components;
            it is estimated with one normal vector per sample.
        taylor2, taylor3: weights of the squared second and third derivative of the solution with respect to time.
        steer: the end time is drawn uniformly within ± this fraction of the solve's span around its value; below 1.
    """

    kinetic: float = 0.0
    jacobian: float = 0.0
    taylor2: float = 0.0
    taylor3: float = 0.0
    steer: float = 0.0

    @property
    def penalises(self) -> bool:
        """Whether any penalty has a nonzero weight."""
        return any((self.kinetic, self.jacobian, self.taylor2, self.taylor3))


class RegularisedIntegrator:
    """An integrator that adds penalties and a random end time in training mode.

    Args:
        solve: the integrator.
        weights: weights of the penalties.
    """

    def __init__(self, solve: Integrator, weights: Regularisation) -> None:
        self._solve = solve
        self._weights = weights
        self._penalty: Tensor | None = None

    def __call__(self, field: nn.Module, y0: Tensor, times: Tensor) -> Tensor:
        """Return the states at ``times``; see ``Integrator``. ``y0`` is a batch, ``(B, ...)``."""
        if not field.training:
            return self._solve(field, y0, times)
        if self._weights.steer:
            times = _steered(times, self._weights.steer)
        if not self._weights.penalises:
            return self._solve(field, y0, times)
        penalised = Penalised(field, self._solve, y0, self._weights)
        start = torch.cat([y0.flatten(1), torch.zeros_like(y0.flatten(1)[:, :1])], 1)
        states = self._solve(penalised, start, times)
        found = states[-1, :, -1].abs().mean() / SCALE  # a solve back in time makes it negative
        self._penalty = found if self._penalty is None else self._penalty + found
        return states[..., :-1].reshape(len(times), *y0.shape)

    def take_penalty(self) -> Tensor | float:
        """Return the weighted penalties, averaged over the batch, summed over the solves since the last call."""
        found, self._penalty = self._penalty, None
        return 0.0 if found is None else found

    def __deepcopy__(self, _memo: dict[int, object]) -> "RegularisedIntegrator":
        """Return self, so that a copy of a model shares the integrator."""
        return self


class Penalised(nn.Module):
    """A field augmented with its penalties: ``d[z, R]/dt = [f(z), SCALE × penalties(t, z)]``.

    Args:
        field: vector field of states ``(B, ...)``. If it has an attribute ``carried``, its last ``carried`` components
            are not penalised, and its attribute ``field`` is the vector field of the other components.
        solve: the integrator; its counter counts the extra evaluations of the field for the penalties.
        y0: the initial state, ``(B, ...)``.
        weights: weights of the penalties.
    """

    def __init__(self, field: nn.Module, solve: Integrator, y0: Tensor, weights: Regularisation) -> None:
        super().__init__()
        self.field = field
        self.train(field.training)
        self._solve, self._weights = solve, weights
        self._shape = y0.shape[1:]
        self._moving = y0[0].numel() - getattr(field, "carried", 0)
        if weights.jacobian:
            # In float64 on the CPU, so that a copy of the model in another precision draws the same numbers.
            noise = torch.randn(len(y0), self._moving, dtype=torch.float64)
            self._noise = noise.to(y0.device, y0.dtype)

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        """Return the derivative of states ``(B, N + 1)``, N the components of one sample."""
        differentiated = torch.is_grad_enabled()
        with torch.enable_grad():
            flat = state[:, :-1]
            if not flat.requires_grad:
                flat = flat.detach().requires_grad_()
            at = t.reshape(-1, *(1 for _ in self._shape)) if t.ndim else t
            slope = self.field(at, flat.reshape(-1, *self._shape)).flatten(1)
            rate = SCALE * self._rate(at, flat, slope)
        found = torch.cat([slope, rate.unsqueeze(1)], 1)
        return found if differentiated else found.detach()

    def _rate(self, t: Tensor, flat: Tensor, slope: Tensor) -> Tensor:
        """The weighted penalties ``(B,)`` at one time."""
        weights, slope = self._weights, slope[:, : self._moving]
        rate = weights.kinetic * slope.square().mean(1)
        if weights.jacobian:
            (product,) = torch.autograd.grad((slope * self._noise).sum(), flat, create_graph=True)
            rate = rate + weights.jacobian * product[:, : self._moving].square().mean(1)
        for order, weight in ((2, weights.taylor2), (3, weights.taylor3)):
            if weight:
                rate = rate + weight * self._derivative(t, flat, slope, order).square().mean(1)
        return rate

    def _derivative(self, t: Tensor, flat: Tensor, slope: Tensor, order: int) -> Tensor:
        """Return the time derivative ``(B, M)`` of the given order of the M components that are not carried.

        It takes ``order - 1`` evaluations of the field in addition to the one that gave ``slope``.
        """
        carries = self._moving < flat.shape[1]
        field = self.field.field if carries else self.field
        shape = (self._moving,) if carries else self._shape

        def counted(at: Tensor, z: Tensor) -> Tensor:
            self._solve.counter.on_call(t.detach())
            return field(at, z)  # type: ignore[operator]

        z = flat[:, : self._moving].reshape(-1, *shape)
        along = torch.ones_like(t), slope.reshape(-1, *shape)
        return jvp(total_derivative(counted, order - 1), (t, z), along)[1].flatten(1)


def total_derivative(field: Field, order: int) -> Field:
    """Return the time derivative of the given order of a solution, as a function of time and state.

    Order 1 is the field itself; each higher order is the directional derivative of the previous one along ``(1, f)``.
    Order n takes n evaluations of the field.
    """
    if order == 1:
        return field
    lower = total_derivative(field, order - 1)
    return lambda t, z: jvp(lower, (t, z), (torch.ones_like(t), field(t, z)))[1]


def _steered(times: Tensor, share: float) -> Tensor:
    """The times with the last one moved at random."""
    if len(times) != 2:
        raise ValueError(f"a random end time needs a solve with exactly two times, not {len(times)} times")
    moved = (2 * torch.rand((), dtype=torch.float64) - 1).to(times) * share * (times[1] - times[0])
    return torch.stack([times[0], times[1] + moved])
