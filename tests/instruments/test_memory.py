import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_of_steps import bytes_of_each_gradient, send_bytes, send_process_peaks, step_memory
from problems import Network, integrator
from torch.profiler import ProfilerActivity, profile

from nodebench.instruments import MemoryMeter, ProcessPeak
from nodebench.instruments.memory import StorageMeter
from nodebench.models.digits import ode_net
from nodebench.models.regularised import Regularisation, RegularisedIntegrator
from nodebench.spec import Gradient
from nodebench.trial.fork_server import fork

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


@pytest.mark.parametrize("penalty", ["kinetic", "jacobian", "taylor2"])
def test_the_meter_equals_the_profiler_on_a_step_with_second_derivatives(penalty):
    """Up to the Python numbers that become operands, of eight bytes each."""

    def step():
        torch.manual_seed(0)
        field, start = Network(), torch.ones(2000, 3)
        inner = integrator("rk4", step_size=0.25, gradient=Gradient.DIRECT)
        solve = RegularisedIntegrator(inner, Regularisation(**{penalty: 0.1}))
        loss = solve(field, start, torch.tensor([0.0, 1.0])).square().mean()
        (loss + solve.take_penalty()).backward()

    step()
    metered, profiled = metered_peak(step), profiled_peak(step)
    assert metered > 1e6
    assert 0 <= profiled - metered <= 256 * 8


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
    assert meter.metrics()[0]["tensor_peak_bytes"] == 400 + 40


def test_a_planted_allocation_is_found_to_the_byte():
    def step(extra):
        with StorageMeter() as meter:
            held = torch.ones(1000) * 2
            if extra:
                held = held + torch.ones(extra)[:1].sum()
        return meter.peak, held

    assert step(5000)[0] - step(0)[0] > 4 * 5000 - 2 * 4000


def test_direct_memory_grows_linearly_with_steps():
    steps = np.array([4, 8, 16, 32, 64])
    measured = [step_memory(int(n), Gradient.DIRECT) for n in steps]
    for name in ("tensor_peak_bytes", "saved_bytes"):
        values = np.array([one[name] for one in measured])
        slope, intercept = np.polyfit(steps, values, 1)
        assert slope > 0
        assert np.corrcoef(steps, values)[0, 1] ** 2 > 0.999, (name, intercept)


def test_adjoint_memory_does_not_grow_with_steps():
    peaks = [step_memory(n, Gradient.ADJOINT)["tensor_peak_bytes"] for n in (4, 16, 64)]
    assert max(peaks) <= 1.01 * min(peaks)


@pytest.mark.parametrize("gradient", list(Gradient))
def test_memory_grows_with_the_number_of_output_times(gradient):
    few, many = (step_memory(8, gradient, outputs)["tensor_peak_bytes"] for outputs in (2, 60))
    assert many - few > 58 * 512 * 3 * 4  # each output is a state that is kept


def test_saved_bytes_are_what_the_graph_holds():
    x = torch.ones(1000, requires_grad=True)
    with MemoryMeter([x], CPU) as meter:
        y = (x.exp() * 3).sin()  # saves the output of exp and the input of sin, and no leaf
        meter.mark("forward")
        y.sum().backward()
    assert meter.metrics()[0]["saved_bytes"] == 2 * 4000


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
    here, there = multiprocessing.Pipe()
    fork(multiprocessing.get_context("forkserver").Process(target=send_bytes, args=(there,)))
    there.close()
    assert here.recv() == bytes_of_each_gradient()


@pytest.fixture(scope="module")
def process_peaks() -> dict[str, int]:
    """Peaks around planted allocations, in a process of its own: what earlier tests left to free lowers a peak."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs")
    here, there = multiprocessing.Pipe()
    fork(multiprocessing.get_context("forkserver").Process(target=send_process_peaks, args=(there,)))
    there.close()
    return here.recv()


def test_process_peak_sees_a_planted_buffer(process_peaks):
    assert 195e6 < process_peaks["one buffer"] < 230e6


def test_process_peak_forgets_what_came_before(process_peaks):
    assert process_peaks["nothing after the buffer"] < 20e6


def test_growth_into_what_was_freed_before_is_seen(process_peaks):
    """Holes in the heap of the C library, and a cycle that only the garbage collector frees."""
    assert process_peaks["90 MB into holes of the heap"] > 80e6
    assert process_peaks["one buffer after garbage of its size"] > 195e6


Y0 = torch.ones(4, 3)


def test_what_cannot_be_seen_is_null_with_its_reason_and_its_meter_stays_out_of_the_way():
    unseen = {"tensor_peak_bytes": "another library's", "saved_bytes": "kept elsewhere", "nothing": "no figure"}
    x = torch.ones(1000, requires_grad=True)
    with MemoryMeter([x], CPU, unseen) as meter:
        assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
        y = x.exp()
        assert meter._saved.bytes == 0
        meter.mark("forward")
    assert y.requires_grad
    metrics, reasons = meter.metrics()
    assert (metrics["tensor_peak_bytes"], metrics["saved_bytes"]) == (None, None)
    assert {name: reasons[name] for name in ("tensor_peak_bytes", "saved_bytes")} == {
        k: unseen[k] for k in list(unseen)[:2]
    }
    assert "nothing" not in metrics | reasons


def test_a_meter_that_was_left_sees_nothing_more():
    x = torch.ones(1000, requires_grad=True)
    with MemoryMeter([x], CPU) as meter:
        pass
    y = x.exp()
    meter.mark("forward")
    assert (meter.metrics()[0]["tensor_peak_bytes"], meter.metrics()[0]["saved_bytes"]) == (4000, 0)
    assert y.requires_grad  # alive until here


def test_what_the_graph_let_go_of_is_not_saved():
    """The exponential saves its own output: were the meter to hold it as it is, neither would ever be freed."""
    x = torch.ones(1000, requires_grad=True)
    with MemoryMeter([x], CPU) as meter:
        x.exp()
        meter.mark("forward")
    assert meter.metrics()[0]["saved_bytes"] == 0


def test_the_peak_of_an_accelerator_is_that_of_its_allocator_since_the_start(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", seen.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 12345)
    with MemoryMeter([], torch.device("cuda")) as meter:
        pass
    metrics, reasons = meter.metrics()
    assert (metrics["accelerator_peak_bytes"], "accelerator_peak_bytes" in reasons) == (12345, False)
    assert seen == [torch.device("cuda")]


def test_each_metric_that_is_null_has_a_reason_and_no_other_has_one(monkeypatch):
    with MemoryMeter([], CPU) as meter:
        pass
    metrics, reasons = meter.metrics()
    assert reasons.pop("accelerator_peak_bytes") == "the device cpu has no allocator statistics"
    assert (metrics["accelerator_peak_bytes"], metrics["saved_bytes"]) == (None, None)
    assert reasons == {} if metrics["process_peak_bytes"] is not None else set(reasons) == {"process_peak_bytes"}

    def refuse(*arguments):
        raise OSError

    monkeypatch.setattr(Path, "write_text", refuse)
    with MemoryMeter([], CPU) as meter:
        pass
    metrics, reasons = meter.metrics()
    assert (metrics["process_peak_bytes"], reasons["process_peak_bytes"]) == (
        None,
        "this system has no resettable VmHWM in /proc",
    )


def test_saved_bytes_are_those_after_the_forward_pass():
    x = torch.ones(1000, requires_grad=True)
    with MemoryMeter([x], CPU) as meter:
        meter.mark("data")
        y = x.exp()
        meter.mark("forward")
        y.sum().backward()
        meter.mark("backward")
    assert meter.metrics()[0]["saved_bytes"] == 4000


def test_saved_tensors_of_one_storage_count_once():
    x = torch.ones(1000, requires_grad=True)
    with MemoryMeter([x], CPU) as meter:
        y = x * 2
        _ = y.sin(), y.cos(), y[:500].exp().sum()
        meter.mark("forward")
    # sin and cos save y; the exponential its own half as large.
    assert meter.metrics()[0]["saved_bytes"] == 4000 + 2000


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_sparse_tensor_is_the_dense_ones_inside_it():
    coo = torch.eye(64).to_sparse()
    csr = torch.sparse_csr_tensor(torch.arange(65), torch.arange(64), torch.ones(64), (64, 64))
    for sparse, size in ((coo, 2 * 64 * 8 + 64 * 4), (csr, 65 * 8 + 64 * 8 + 64 * 4)):
        with StorageMeter([sparse]) as meter:
            pass
        assert (meter.existing, meter.peak) == (size, size)


def test_a_storage_that_grows_is_counted_by_its_growth():
    with StorageMeter() as meter:
        x = torch.zeros(100)
        x.resize_(300)
        assert (meter.live, meter.existing) == (1200, 0)
    assert meter.peak == 1200


def test_tensors_in_lists_and_by_name_are_met():
    a, b, out = torch.ones(10), torch.ones(20), torch.empty(30)
    with StorageMeter() as meter:
        torch.cat([a, b], out=out)
    assert (meter.existing, meter.live) == (40 + 80 + 120, 240)


def test_the_peak_is_counted_in_bytes_and_from_its_own_start(monkeypatch):
    shown = iter(["Name: python\nVmHWM:\t 1000 kB\nVmRSS: 7 kB", "Name: python\nVmHWM:\t 1500 kB"])
    monkeypatch.setattr(Path, "write_text", lambda *arguments: 1)
    monkeypatch.setattr(Path, "read_text", lambda *arguments: next(shown))
    with ProcessPeak() as peak:
        pass
    assert (peak.bytes, peak.reason) == (500 * 1024, None)
