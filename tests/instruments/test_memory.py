import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import Network, integrator
from torch.profiler import ProfilerActivity, profile

from nodebench.instruments import MemoryMeter, ProcessPeak
from nodebench.instruments.memory import StorageMeter
from nodebench.models.digits import ode_net
from nodebench.spec import Gradient

CPU = torch.device("cpu")


def profiled_peak(program) -> int:
    """Peak of the running sum of the profiler's allocation events."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        program()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(max(np.cumsum([event.nbytes() for event in events])))


def metered_peak(program) -> int:
    """The meter's peak, without what was there before the program."""
    with StorageMeter() as meter:
        program()
    return meter.peak - meter.existing


ONE, TWO = torch.tensor(1.0), torch.tensor(2.0)


def elementwise():
    x = torch.ones(1000)
    y = x * TWO
    del x
    return (y + ONE).sum()


def views_and_in_place():
    x = torch.zeros(100, 100)
    rows = x[10:20].t().reshape(-1)
    x.add_(ONE)
    return rows.sum() + x.view(-1)[::2].sum()


def matrix_products():
    x = torch.ones(64, 64, requires_grad=True)
    (x @ x @ x).sum().backward()


def network_training():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(10, 50), torch.nn.Tanh(), torch.nn.Linear(50, 2))
    network(torch.ones(20, 10)).sum().backward()


def euler_solve():
    torch.manual_seed(0)
    field, y = Network(), torch.ones(20, 3)
    for _ in range(10):
        y = y + field(ONE, y)
    y.sum().backward()


@pytest.mark.parametrize(
    "program",
    [elementwise, views_and_in_place, matrix_products, network_training, euler_solve],
    ids=lambda program: program.__name__,
)
def test_the_meter_equals_the_profilers_allocation_events(program):
    program()
    assert metered_peak(program) == profiled_peak(program)


def test_the_meter_equals_the_profiler_on_an_ode_net_step_under_direct():
    """Up to the Python numbers that become operands, of eight bytes each."""

    def step():
        torch.manual_seed(0)
        network = ode_net(integrator("dopri5", rtol=1e-3, atol=1e-3, gradient=Gradient.DIRECT))
        torch.nn.functional.cross_entropy(network(torch.rand(4, 1, 28, 28)), torch.arange(4)).backward()

    step()
    metered, profiled = metered_peak(step), profiled_peak(step)
    assert metered > 10e6
    assert 0 <= profiled - metered <= 32 * 8


def test_a_view_counts_once_and_a_freed_storage_not_at_all():
    with StorageMeter() as meter:
        x = torch.zeros(1000)
        _ = x.view(10, 100), x[5:], x.detach()
        assert meter.live == 4000
        y = x + 1
        del x, _
        assert meter.live == 4000
        del y
        assert meter.live == 0
    assert meter.peak == 8000


def test_parameters_and_inputs_count_from_the_start():
    layer, x = torch.nn.Linear(10, 10, bias=False), torch.ones(1, 10)
    with MemoryMeter([*layer.parameters(), x], CPU) as meter:
        pass
    assert meter.figures()[0]["tensor_peak_bytes"] == 400 + 40


def test_a_planted_allocation_is_found_to_the_byte():
    def step(extra):
        with StorageMeter() as meter:
            held = torch.ones(1000) * 2
            if extra:
                held = held + torch.ones(extra)[:1].sum()
        return meter.peak, held

    assert step(5000)[0] - step(0)[0] > 4 * 5000 - 2 * 4000


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
    return meter.figures()[0]


def test_direct_memory_grows_linearly_with_steps():
    steps = np.array([4, 8, 16, 32, 64, 128, 256])
    for name in ("tensor_peak_bytes", "saved_bytes"):
        figures = np.array([step_memory(int(n), Gradient.DIRECT)[name] for n in steps])
        slope, intercept = np.polyfit(steps, figures, 1)
        assert slope > 0
        assert np.corrcoef(steps, figures)[0, 1] ** 2 > 0.999, (name, intercept)


def test_adjoint_memory_does_not_grow_with_steps():
    figures = [step_memory(n, Gradient.ADJOINT)["tensor_peak_bytes"] for n in (4, 16, 64, 256)]
    assert max(figures) <= 1.01 * min(figures)


@pytest.mark.parametrize("gradient", list(Gradient))
def test_memory_grows_with_the_number_of_output_times(gradient):
    few, many = (step_memory(8, gradient, outputs)["tensor_peak_bytes"] for outputs in (2, 200))
    assert many - few > 198 * 512 * 3 * 4  # each output is a state that is kept


def test_saved_bytes_are_what_the_graph_holds():
    x = torch.ones(1000, requires_grad=True)
    with MemoryMeter([x], CPU) as meter:
        y = (x.exp() * 3).sin()  # saves the output of exp and the input of sin, and no leaf
        meter.mark("forward")
        y.sum().backward()
    assert meter.figures()[0]["saved_bytes"] == 2 * 4000


def test_the_meter_leaves_gradients_as_they_are():
    def gradients(metered):
        field, y0 = Network(), torch.ones(4, 3)
        solve = integrator("dopri5", gradient=Gradient.ADJOINT)
        if metered:
            with MemoryMeter(field.parameters(), CPU):
                solve(field, y0, torch.tensor([0.0, 1.0]))[-1].sum().backward()
        else:
            solve(field, y0, torch.tensor([0.0, 1.0]))[-1].sum().backward()
        return torch.cat([p.grad.reshape(-1) for p in field.parameters()])

    assert torch.equal(gradients(True), gradients(False))


def test_two_processes_measure_the_same_to_the_byte():
    code = (
        "from test_memory import step_memory, Gradient;"
        "print([step_memory(20, g, solver='rk4')[n] for g in Gradient for n in ('tensor_peak_bytes', 'saved_bytes')])"
    )
    path = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r};"
    outputs = {
        subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


def test_process_peak_sees_a_planted_buffer():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs")
    with ProcessPeak() as peak:
        buffer = np.ones(25_000_000)  # 200 MB
        del buffer
    assert 195e6 < peak.bytes < 230e6


def test_process_peak_forgets_what_came_before():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs")
    buffer = np.ones(25_000_000)
    del buffer
    with ProcessPeak() as peak:
        pass
    assert peak.bytes < 20e6
