"""Memory of single steps, measured by the tests in several processes."""

from multiprocessing.connection import Connection

import torch
from problems import Network, integrator

from nodebench.instruments import MemoryMeter
from nodebench.spec import Gradient

CPU = torch.device("cpu")


def step_memory(steps: int, gradient: Gradient, outputs: int = 2, solver: str = "rk4") -> dict:
    """Memory of one step of a network field over [0, 1]."""
    field, y0 = Network(), torch.ones(512, 3)
    times = torch.linspace(0, 1, outputs)
    solve = integrator(solver, step_size=1 / steps, gradient=gradient)
    with MemoryMeter([*field.parameters(), y0, times], CPU) as meter:
        loss = solve(field, y0, times).pow(2).mean()
        meter.mark("forward")
        loss.backward()
        meter.mark("backward")
    return meter.metrics()[0]


def bytes_of_each_gradient() -> list[float]:
    names = ("tensor_peak_bytes", "saved_bytes")
    return [memory[name] for memory in (step_memory(4, gradient) for gradient in Gradient) for name in names]


def send_bytes(to: Connection) -> None:
    """Send ``bytes_of_each_gradient`` to another process."""
    to.send(bytes_of_each_gradient())
