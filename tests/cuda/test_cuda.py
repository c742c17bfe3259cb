"""What an accelerator measures, against what is known of it: ``pytest -m cuda`` on a machine that has one."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from problems import with_dropout

import nodebench
from nodebench.instruments import MemoryMeter, Stopwatch
from nodebench.solvers.random_state import RandomState
from nodebench.spec import Gradient, Limits, Record, Status
from nodebench.tasks import tasks

pytestmark = pytest.mark.cuda
MIB = 2**20
CUDA = torch.device("cuda:0")
LIMITS = Limits(timeout=120)

# Left out: tasks that need data of the user's own, and those of the tests' plug-in.
OWN_DATA = {"field", "problem", "series"}
OURS = sorted(n for n, task in tasks().items() if type(task).__module__.startswith("nodebench.") and n not in OWN_DATA)


@pytest.fixture(scope="module", autouse=True)
def _accelerator() -> None:
    if not torch.cuda.is_available():
        pytest.fail("no CUDA device: these tests need one")
    torch.cuda.init()  # the statistics of the allocator exist from then on


def run(folder: Path, task: str, device: str = "cuda", **axes) -> list[Record]:
    """Records of a smoke run, all of which ended well."""
    common = {"preset": "smoke", "results": folder, "progress": False, "timing": False, "limits": LIMITS}
    ran = nodebench.run(task, device=device, **common, **axes)
    for record in ran.records:
        assert record.status is Status.OK, record.failure
    return list(ran.records)


def test_the_peak_of_the_allocator_is_that_of_known_allocations():
    """4 and 8 MiB at once, then 2 MiB beside 8: a peak of 12 MiB above what was there."""
    before = torch.cuda.memory_allocated(CUDA)
    with MemoryMeter([], CUDA) as meter:
        first = torch.empty(4 * MIB, dtype=torch.uint8, device=CUDA)
        second = torch.empty(8 * MIB, dtype=torch.uint8, device=CUDA)
        del first
        third = torch.empty(2 * MIB, dtype=torch.uint8, device=CUDA)
        meter.mark("forward")
    metrics, reasons = meter.metrics()
    assert metrics["accelerator_peak_bytes"] == before + 12 * MIB
    assert metrics["tensor_peak_bytes"] == 12 * MIB
    assert "accelerator_peak_bytes" not in reasons
    assert second.numel() + third.numel() == 10 * MIB  # alive until here


def test_the_stopwatch_charges_work_of_the_device_to_the_part_that_started_it():
    """Against the device's own clock: the events of CUDA around a kernel that waits, and nothing after it."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    watch = Stopwatch(CUDA, warm_up=0)
    watch.start()
    begin.record()
    torch.cuda._sleep(200_000_000)  # cycles: about a tenth of a second
    end.record()
    watch.mark("forward")
    watch.mark("backward")
    kernel = begin.elapsed_time(end) / 1000
    seconds = watch.means()
    assert 1 <= seconds["forward_seconds"] / kernel < 1.2
    assert seconds["backward_seconds"] < kernel / 10


def test_random_numbers_of_the_device_are_put_back():
    state = RandomState.take(CUDA)
    drawn = torch.rand(8, device=CUDA)
    state.restore()
    assert torch.equal(torch.rand(8, device=CUDA), drawn)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory) -> dict[tuple[str, str], Record]:
    """Every gradient on both devices, in float64, by fixed and by adaptive steps."""
    folder, found = tmp_path_factory.mktemp("gradients"), {}
    for device in ("cpu", "cuda"):
        for solver, names in (
            ("rk4", ["direct", "checkpoint", "adjoint", "interpolated", "aca", "symplectic", "reversible"]),
            ("dopri5", ["direct", "checkpoint", "adjoint", "adjoint-seminorm", "interpolated", "aca", "symplectic"]),
        ):
            records = run(
                folder,
                "toy/spiral",
                device,
                solver=solver,
                gradient=names,
                dtype="float64",
                passes=["training", "memory", "numerics"],
            )
            found |= {(device, f"{solver} {one.trial.gradient}"): one for one in records}
    return found


def test_each_gradient_takes_as_many_calls_and_reaches_the_same_loss_as_on_the_cpu(gradients):
    cases = [case for device, case in gradients if device == "cuda"]
    assert len(cases) > 10
    for case in cases:
        here, there = gradients["cuda", case], gradients["cpu", case]
        assert here.trial.device == "cuda:0"
        for name in ("nfe_forward", "nfe_backward"):
            assert here.costs[name] == there.costs[name], (case, name)
        assert here.history[-1]["loss"] == pytest.approx(there.history[-1]["loss"], rel=1e-7), case
        assert here.passes_agree is True, case


def test_each_gradient_is_as_exact_as_on_the_cpu(gradients):
    for device, case in gradients:
        if device == "cuda":
            here, there = (gradients[name, case].costs["gradient_error"] for name in ("cuda", "cpu"))
            assert math.isclose(here, there, rel_tol=0.01, abs_tol=1e-9), case


def test_tensors_of_a_step_are_as_large_as_on_the_cpu(gradients):
    for device, case in gradients:
        if device == "cuda":
            here, there = (gradients[name, case].costs["saved_bytes"] for name in ("cuda", "cpu"))
            assert here == there, case


def test_a_record_names_the_accelerator_and_the_peak_of_its_allocator(gradients):
    record = gradients["cuda", "rk4 direct"]
    assert record.environment["accelerator"]["name"] == torch.cuda.get_device_name(0)
    assert record.costs["accelerator_peak_bytes"] >= record.costs["saved_bytes"] > 0


@pytest.mark.parametrize("task", OURS)
def test_each_task_runs_on_the_accelerator(tmp_path, task):
    (record,) = run(tmp_path, task)
    assert record.trial.device == "cuda:0"


def test_a_network_of_convolutions_learns_as_on_the_cpu(tmp_path):
    here, there = (
        run(tmp_path / device, "mnist", device, model="odenet", dtype="float64")[0].history[-1]
        for device in ("cuda", "cpu")
    )
    for name in ("loss", "test_loss"):
        assert here[name] == pytest.approx(there[name], rel=1e-6), name


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_autocast_computes_in_16_bits(tmp_path, autocast):
    """The losses differ by rounding to 8 or 11 binary digits, and by no more."""
    axes = {"model": "odenet", "solver": "rk4", "gradient": "direct"}
    plain, cast = (run(tmp_path, "mnist", **axes, **more)[0].history[-1] for more in ({}, {"autocast": autocast}))
    assert cast["loss"] != plain["loss"]
    assert cast["loss"] == pytest.approx(plain["loss"], rel=0.05)


def test_checkpoints_draw_what_direct_draws_in_a_field_that_differentiates():
    found = (with_dropout(gradient, "cuda") for gradient in (Gradient.DIRECT, Gradient.CHECKPOINT))
    for direct, checkpointed in zip(*found, strict=True):
        torch.testing.assert_close(checkpointed, direct, rtol=1e-12, atol=1e-12)


def test_a_compiled_field_takes_the_same_evaluations(tmp_path):
    plain, compiled = run(
        tmp_path, "toy/spiral", solver="dopri5", gradient="direct", compile=["eager", "field"], dtype="float64"
    )
    assert plain.costs["nfe_forward"] == compiled.costs["nfe_forward"]
    assert compiled.history[-1]["loss"] == pytest.approx(plain.history[-1]["loss"], rel=1e-9)


def test_jax_solves_on_the_accelerator(tmp_path):
    asked = "import jax; raise SystemExit(jax.default_backend() != 'gpu')"
    if subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False).returncode:
        pytest.skip("JAX is absent, or has no GPU backend")
    (record,) = run(tmp_path, "toy/spiral", solver="diffrax:dopri5", gradient="checkpoint")
    assert record.costs["nfe_forward"] > 0
