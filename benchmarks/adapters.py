"""Overhead of each adapter over its library: forward and backward time, on a 2–50–2 field and the MNIST block.

    python benchmarks/adapters.py [--out FILE]

The baseline arm calls the library as its documentation shows, with the same tolerances. The arms alternate, so a slow
period affects both. Intervals are 95 % BCa bootstrap intervals of the median ratio.
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import torch
import torchode
from cost import interval, timed
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint
from torchdyn.core.problems import ODEProblem
from torchdyn.numerics.solvers.ode import str_to_solver

from nodebench.instruments import NfeCounter, describe_environment
from nodebench.models.digits import ConvField
from nodebench.models.fields import MlpField
from nodebench.solvers import Integrator, StepControl, find_solver
from nodebench.solvers.diffrax_solve import Compiled, Way
from nodebench.solvers.jax_field import Translation, to_jax
from nodebench.spec import Batching, Gradient

Solve = Callable[[nn.Module, Tensor, Tensor], Tensor]
RTOL = 1e-4


class Named(nn.Module):
    """A field with the signature that torchdyn looks for."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt, of the shape of ``x``."""
        return self.field(t, x)


def torchode_solve(field: nn.Module, y0: Tensor, times: Tensor) -> Tensor:
    """Solve with torchode directly; its objects are created once per field."""
    if field not in MADE:
        shape = y0.shape

        def rows(t: Tensor, y: Tensor) -> Tensor:
            clock = t.reshape(-1, *[1] * (len(shape) - 1))
            return field(clock, y.reshape(-1, *shape[1:])).reshape(y.shape)

        term = torchode.ODETerm(rows)
        parts = torchode.Dopri5(term), torchode.IntegralController(RTOL, RTOL, term=term)
        MADE[field] = torchode.AutoDiffAdjoint(*parts, backprop_through_step_size_control=False)
    problem = torchode.InitialValueProblem(y0.flatten(1), t_eval=times.expand(len(y0), -1))
    return MADE[field].solve(problem).ys.transpose(0, 1).reshape(len(times), *y0.shape)


MADE: dict[nn.Module, torchode.AutoDiffAdjoint] = {}


def torchdyn_solve(field: nn.Module, y0: Tensor, times: Tensor) -> Tensor:
    """Solve with torchdyn directly."""
    solver = str_to_solver("dopri5", y0.dtype)
    return ODEProblem(Named(field), solver=solver, rtol=RTOL, atol=RTOL).odeint(y0, times)[1]


OWN: dict[str, tuple[Gradient, Batching | None, Solve]] = {
    "dopri5 direct": (Gradient.DIRECT, None, lambda f, y, t: odeint(f, y, t, method="dopri5", rtol=RTOL, atol=RTOL)),
    "dopri5 adjoint": (
        Gradient.ADJOINT,
        None,
        lambda f, y, t: odeint_adjoint(f, y, t, method="dopri5", rtol=RTOL, atol=RTOL),
    ),
    "torchode:dopri5 direct": (Gradient.DIRECT, Batching.EACH, torchode_solve),
    "torchdyn:dopri5 direct": (Gradient.DIRECT, None, torchdyn_solve),
}


def step(solve: Solve, field: nn.Module, y0: Tensor, times: Tensor) -> None:
    """Solve, and backpropagate the mean square of the final state."""
    start = y0.detach().requires_grad_()
    solve(field, start, times)[-1].square().mean().backward()
    field.zero_grad(set_to_none=True)


def through_adapter(name: str, gradient: Gradient, batching: Batching | None) -> Integrator:
    """Return the integrator with which a trial runs the same solve."""
    adapter, method, _ = find_solver(name.split(maxsplit=1)[0])
    control = StepControl(method, RTOL, RTOL, None, gradient, RTOL, RTOL, batching=batching)
    return Integrator(adapter, control, NfeCounter())


def paired(
    first: Callable[[], object], second: Callable[[], object], rounds: int, calls: int
) -> dict[str, float | int]:
    """Return the time ratio of two functions that alternate in random order, with its interval."""

    def some(work: Callable[[], object]) -> Callable[[], object]:
        return lambda: [work() for _ in range(calls)]

    for work in (first, second):
        some(work)()
    ratios = []
    for _ in range(rounds):
        order = [first, second]
        random.shuffle(order)
        took = {work: timed(some(work)) for work in order}
        ratios.append(took[first] / took[second])
    return interval(ratios)


def jax_alone(field: nn.Module, y0: Tensor, times: Tensor) -> Callable[[], None]:
    """Return a solve with gradient in diffrax alone: JAX arrays in and out, without torch."""
    control = StepControl("dopri5", RTOL, RTOL, gradient=Gradient.CHECKPOINT)
    compiled = Compiled(Translation(field, times[0], y0), Way.of(control, True, True, True))
    weights = [to_jax(weight) for weight in compiled.translation.weights(field)]
    start, grid, numbers = to_jax(y0), to_jax(times), {"rtol": RTOL, "atol": RTOL}

    def work() -> None:
        states, vjp, _ = compiled.forward(weights, start, grid, numbers)
        jax.block_until_ready(compiled.backward(vjp, states))

    return work


def convolution_in_a_loop(images: int = 8, turns: int = 20) -> dict[str, float | int]:
    """Return the time ratio of a convolution inside an XLA loop, as in every diffrax solve, to one outside."""
    x, weight = jnp.ones((images, 64, 6, 6), jnp.float32), jnp.ones((64, 64, 3, 3), jnp.float32) / 600

    def convolved(x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, weight, (1, 1), [(1, 1), (1, 1)])

    inside = jax.jit(lambda x: jax.lax.fori_loop(0, turns, lambda _, y: convolved(y), x))
    once = jax.jit(convolved)

    def outside(x: jax.Array) -> jax.Array:
        for _ in range(turns):
            x = once(x)
        return x

    return paired(lambda: jax.block_until_ready(inside(x)), lambda: jax.block_until_ready(outside(x)), 10, 1)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    unit = torch.tensor([0.0, 1.0])
    cases = {
        "2–50–2, 20 states": (MlpField((2, 50, 2)), torch.randn(20, 2), torch.linspace(0, 5, 10), 5),
        "MNIST block, 16 images": (ConvField(64), torch.randn(16, 64, 6, 6), unit, 1),
    }
    found: dict[str, object] = {"environment": describe_environment()}
    for case, (field, y0, times, calls) in cases.items():
        works = {
            name: (through_adapter(name, gradient, batching), own) for name, (gradient, batching, own) in OWN.items()
        }
        for name, (adapter, own) in works.items():
            ratio = paired(
                lambda: step(adapter, field, y0, times),  # noqa: B023 - called at once
                lambda: step(own, field, y0, times),  # noqa: B023
                arguments.rounds,
                calls,
            )
            found[f"{case}, {name}"] = ratio
        diffrax = through_adapter("diffrax:dopri5", Gradient.CHECKPOINT, None)
        ratio = paired(
            lambda: step(diffrax, field, y0, times),  # noqa: B023
            jax_alone(field, y0, times),
            arguments.rounds,
            calls,
        )
        found[f"{case}, diffrax:dopri5 checkpoint"] = ratio
    found["a convolution of XLA in a loop over one outside"] = convolution_in_a_loop()
    for name, value in found.items():
        if name != "environment":
            assert isinstance(value, dict)
            print(f"{name}: {value['median']:.3f} × [{value['low']:.3f}, {value['high']:.3f}], n = {value['n']}")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
