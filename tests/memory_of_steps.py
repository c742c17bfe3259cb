"""Memory of single steps and of planted buffers, measured in processes that the tests start."""

import gc
from multiprocessing.connection import Connection

import numpy as np
import torch
from problems import Network, integrator

from nodebench.instruments import MemoryMeter, ProcessPeak
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


def send_process_peaks(to: Connection) -> None:
    """Send the process's peaks around planted allocations, by name; a buffer has 200 MB."""
    peaks = {}
    with ProcessPeak() as peak:
        _allocate_and_free()
    peaks["one buffer"] = peak.bytes
    with ProcessPeak() as peak:
        pass
    peaks["nothing after the buffer"] = peak.bytes

    blocks = [bytearray(100_000) for _ in range(1000)]
    top = blocks.pop()  # keeps the C library from giving the heap below it back by itself
    del blocks
    with ProcessPeak() as peak:
        blocks = [bytearray(b"x") * 100_000 for _ in range(900)]
    peaks["90 MB into holes of the heap"] = peak.bytes
    del blocks, top

    cycle = [np.ones(25_000_000)]
    cycle.append(cycle)
    del cycle
    with ProcessPeak() as peak:
        gc.collect()
        _allocate_and_free()
    peaks["one buffer after garbage of its size"] = peak.bytes
    to.send(peaks)


def _allocate_and_free() -> None:
    np.ones(25_000_000)
