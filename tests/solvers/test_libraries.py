"""Every library against the others, its counts against the library's own, a batch against its members."""

import jax
import pytest
import torch
from problems import UNIT, Network, integrator
from torch import nn

from nodebench.errors import BadInput
from nodebench.instruments import Budget, NfeCounter
from nodebench.models import systems
from nodebench.models.digits import ConvField
from nodebench.models.fields import Squeezed
from nodebench.solvers import diffrax, diffrax_solve, find_solver, jax_field, registry
from nodebench.solvers.jax_field import Translation
from nodebench.spec import Batching, Compile, Gradient, SolveFailed, Status

LIBRARIES = ("dopri5", "torchode:dopri5", "torchdyn:dopri5", "diffrax:dopri5")
TORCH_LIBRARIES = LIBRARIES[:-1]
HARD = torch.cat([torch.full((7, 2), 0.1), torch.tensor([[2.0, 3.0]])]).double()
SPAN = torch.tensor([0.0, 2.0], dtype=torch.float64)


def solved(solver, field, y0, times, **control):
    """States at the end, and the gradient of a functional of them by start and parameters."""
    start = y0.clone().requires_grad_()
    states = integrator(solver, **control)(field, start, times)
    leaves = [start, *(p for p in field.parameters() if p.requires_grad)]
    gradients = torch.autograd.grad(states[-1].sin().sum(), leaves)
    return states[-1].detach(), torch.cat([g.reshape(-1) for g in gradients])


def relative(found, exact):
    return ((found - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("solver", LIBRARIES[1:])
def test_libraries_agree_on_solution_and_gradient(solver):
    field, y0 = Network().double(), torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    exact = solved("dopri8", field, y0, SPAN, rtol=1e-12, atol=1e-12, gradient=Gradient.DIRECT, land_on_outputs=True)
    adapter = find_solver(solver)[0]
    for gradient in adapter.gradients if "diffrax" not in solver else {Gradient.CHECKPOINT}:
        found = solved(solver, field, y0, SPAN, rtol=1e-11, atol=1e-11, gradient=gradient)
        assert relative(found[0], exact[0]) < 1e-8, gradient
        assert relative(found[1], exact[1]) < 1e-6, gradient


@pytest.mark.parametrize(
    "solver", ["torchode:euler", "torchdyn:euler", pytest.param("diffrax:euler", marks=pytest.mark.slow)]
)
def test_libraries_take_the_same_steps_through_the_mnist_block(solver):
    torch.manual_seed(0)
    field, y0 = ConvField(4).double(), torch.randn(2, 4, 6, 6, dtype=torch.float64)
    gradient = Gradient.CHECKPOINT if "diffrax" in solver else Gradient.DIRECT
    exact = solved("euler", field, y0, UNIT.double(), step_size=0.125, gradient=Gradient.DIRECT)
    found = solved(solver, field, y0, UNIT.double(), step_size=0.125, gradient=gradient)
    assert relative(found[0], exact[0]) < 1e-12
    assert relative(found[1], exact[1]) < 1e-12


# --- counts


def test_torchode_counts_agree_with_its_own(monkeypatch):
    import torchode

    told = []
    real = torchode.AutoDiffAdjoint.solve
    monkeypatch.setattr(
        torchode.AutoDiffAdjoint, "solve", lambda *a, **k: told.append(real(*a, **k)) or told[-1], raising=True
    )
    solve = integrator("torchode:tsit5", batching=Batching.EACH)
    solve(systems.VanDerPol(5.0), HARD, SPAN)
    stats = told[0].stats
    assert solve.counter.forward == int(stats["n_f_evals"].max())
    # Two evaluations choose the first step, and tsit5 takes six a step.
    assert solve.counter.forward == 2 + 6 * int(stats["n_steps"].max())
    assert solve.counter.samples == pytest.approx(2 + 6 * float(stats["n_steps"].double().mean()))
    assert solve.counter.samples < solve.counter.forward


@pytest.mark.parametrize(
    "method", ["dopri5", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ralston", "euler"))]
)
def test_diffrax_counts_agree_with_calls_seen_from_inside(method, monkeypatch):
    """The library's steps make our count; a callback in the compiled field sees each evaluation."""
    calls = []

    def spied(program):
        function = real(program)

        def counted(weights, t, y):
            jax.debug.callback(lambda _: calls.append(1), t)
            return function(weights, t, y)

        return counted

    real = jax_field._interpreter
    monkeypatch.setattr(jax_field, "_interpreter", spied)
    control = {"step_size": 0.1} if method == "euler" else {"rtol": 1e-4, "atol": 1e-4}
    solve = integrator(f"diffrax:{method}", **control)
    field = systems.VanDerPol(2.0)
    with torch.no_grad():
        solve(field, HARD, SPAN)  # the translation's own check has called the field too
        jax.effects_barrier()
        calls.clear()
        solve.counter.begin_forward()
        solve(field, HARD, SPAN)
        jax.effects_barrier()
    assert solve.counter.forward == len(calls)


# --- batches


@pytest.mark.parametrize("solver", ["torchode:dopri5", "diffrax:dopri5"])
def test_a_sample_that_steps_on_its_own_takes_what_it_takes_alone(solver):
    field = systems.VanDerPol(5.0)
    together = integrator(solver, batching=Batching.EACH)
    states = together(field, HARD, SPAN)
    alone, ends = [], []
    for start in HARD.split(1):
        solve = integrator(solver, batching=Batching.EACH)
        ends.append(solve(field, start, SPAN)[-1])
        alone.append(solve.counter.forward)
    assert together.counter.samples == pytest.approx(sum(alone) / len(alone))
    assert together.counter.forward == max(alone)
    torch.testing.assert_close(states[-1], torch.cat(ends))


def test_the_worst_sample_decides_the_step():
    """Beside samples that rest, the worst is the one that moves; in the mean it is diluted."""
    moving = torch.tensor([[2.0, 3.0]]).double()
    batch = torch.cat([moving, torch.zeros(15, 2).double()])

    def evaluations(y0, batching=None):
        solve = integrator("dopri5", batching=batching)
        solve(systems.VanDerPol(5.0), y0, SPAN)
        return solve.counter.forward

    assert evaluations(batch, Batching.WORST) == evaluations(moving)
    assert evaluations(batch) < evaluations(moving)


def test_of_equal_samples_the_worst_is_the_mean():
    y0 = torch.tensor([[2.0, 1.0]]).double().expand(5, 2).contiguous()
    counts = []
    for batching in (None, Batching.WORST):
        solve = integrator("dopri5", batching=batching)
        solve(systems.VanDerPol(5.0), y0, SPAN)
        counts.append(solve.counter.forward)
    assert counts[0] == counts[1]


# --- checkpoints


@pytest.mark.parametrize("solver", ["rk4", "torchode:euler", "torchdyn:euler"])
@pytest.mark.parametrize("segments", [1, 3, 50])
def test_segments_of_fixed_steps_change_nothing_but_memory(solver, segments):
    field, y0 = Network().double(), torch.ones(2, 3, dtype=torch.float64)
    times = torch.tensor([0.0, 0.3, 0.55, 1.0], dtype=torch.float64)
    found = solved(solver, field, y0, times, step_size=0.05, gradient=Gradient.CHECKPOINT, segments=segments)
    exact = solved(solver, field, y0, times, step_size=0.05, gradient=Gradient.DIRECT)
    torch.testing.assert_close(found[0], exact[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], exact[1], rtol=1e-12, atol=1e-12)


def test_a_checkpointed_solve_is_taken_twice():
    field = Network()
    solve = integrator("rk4", NfeCounter(), step_size=0.0625, gradient=Gradient.CHECKPOINT, segments=4)
    loss = solve(field, torch.ones(2, 3), UNIT)[-1].sum()
    solve.counter.begin_backward()
    loss.backward()
    assert (solve.counter.forward, solve.counter.backward) == (64, 64)


# --- translation


@pytest.mark.parametrize(
    ("field", "y0"),
    [
        (systems.RandomNetwork(torch.Generator().manual_seed(0)), torch.ones(3, 2)),
        (systems.BlendedFields((1.0, 1.0)), torch.ones(3, 2)),
        (Squeezed(systems.Linear(((0.0, 1.0), (-1.0, 0.0))), 3.0), torch.ones(3, 2)),
        (systems.LotkaVolterra(), torch.ones(3, 2)),
        (ConvField(8), torch.ones(2, 8, 5, 5)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_translated_field_is_the_same_field(field, y0):
    field, y0 = field.double(), torch.randn_like(y0).double()
    t = torch.tensor(0.3, dtype=torch.float64)
    translation = Translation(field, t, y0)
    weights = [jax_field.to_jax(weight) for weight in translation.weights(field)]
    found = jax.jit(translation.function)(weights, jax_field.to_jax(t), jax_field.to_jax(y0))
    torch.testing.assert_close(jax_field.to_torch(found, y0.device), field(t, y0), rtol=1e-12, atol=1e-12)


def test_a_wrong_translation_is_caught(monkeypatch):
    monkeypatch.setitem(jax_field._OPERATORS, "tanh", lambda x: jax.numpy.tanh(x) * (1 + 1e-9))
    with pytest.raises(SolveFailed, match="differs from torch's") as failed:
        integrator("diffrax:euler", step_size=0.5)(Network(), torch.ones(2, 3), UNIT)
    assert failed.value.status is Status.ERROR


def test_an_operator_that_is_not_translated_is_named():
    class Bessel(nn.Module):
        def forward(self, t, y):
            return torch.special.bessel_j0(y)

    with pytest.raises(SolveFailed, match="bessel_j0") as failed:
        integrator("diffrax:euler", step_size=0.5)(Bessel(), torch.ones(2, 3), UNIT)
    assert failed.value.status is Status.UNSUPPORTED


def test_weights_that_change_are_seen():
    """The translation holds no weights: after a training step the same compiled solve has the new ones."""
    field, y0 = Network().double(), torch.ones(2, 3, dtype=torch.float64)
    solve = integrator("diffrax:euler", step_size=0.25)
    before = solve(field, y0, UNIT.double())[-1]
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(1.5)
    after = solve(field, y0, UNIT.double())[-1]
    exact = integrator("euler", step_size=0.25)(field, y0, UNIT.double())[-1]
    torch.testing.assert_close(after, exact, rtol=1e-12, atol=1e-12)
    assert (after - before).norm() > 0.01


# --- failures


@pytest.mark.parametrize("solver", LIBRARIES[1:])
def test_a_solve_without_end_is_a_failed_solve(solver):
    class BlowUp(nn.Module):
        def forward(self, t, y):
            return y**2  # no solution past t = 1 from y(0) = 1

    with pytest.raises(SolveFailed) as failed:
        integrator(solver)(BlowUp(), torch.ones(2, 1), torch.tensor([0.0, 2.0]))
    assert failed.value.status in {Status.DT_UNDERFLOW, Status.NON_FINITE, Status.NFE_BUDGET}


def test_the_statuses_of_diffrax_are_known_to_it():
    assert all(hasattr(diffrax_solve.diffrax.RESULTS, name) for name in diffrax_solve._STATUS)


@pytest.mark.parametrize("batching", [None, Batching.EACH])
def test_torchode_solves_back_at_the_adjoints_own_tolerance(batching):
    counts = []
    for tolerance in (1e-3, 1e-9):
        back = {"adjoint_rtol": tolerance, "adjoint_atol": tolerance}
        control = {"gradient": Gradient.ADJOINT, "batching": batching, "rtol": 1e-3, "atol": 1e-3}
        solve = integrator("torchode:dopri5", **control, **back)
        loss = solve(Network().double(), torch.ones(2, 3).double(), UNIT.double())[-1].sum()
        solve.counter.begin_backward()
        loss.backward()
        counts.append(solve.counter.backward)
    assert counts[1] > counts[0]


@pytest.mark.parametrize("solver", ["torchode:dopri5", "diffrax:dopri5"])
def test_a_budget_holds_whoever_counts(solver):
    solve = integrator(solver, NfeCounter(Budget(max_nfe=10)))
    with pytest.raises(SolveFailed) as failed, torch.no_grad():
        solve(systems.VanDerPol(2.0), HARD, SPAN)
    assert failed.value.status is Status.NFE_BUDGET


class Moving(nn.Module):
    """A field that holds something for each sample."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.ones(1))
        self.register_buffer("moving", torch.tensor([[1.0], [0.0]]))

    def forward(self, t, y):
        return self.rate * y * self.moving


@pytest.mark.parametrize(
    ("solver", "gradient"), [("diffrax:euler", Gradient.CHECKPOINT), ("torchode:euler", Gradient.ADJOINT)]
)
def test_a_field_that_holds_something_for_each_sample_is_not_solved_one_by_one(solver, gradient):
    solve = integrator(solver, step_size=0.5, gradient=gradient, batching=Batching.EACH)
    with pytest.raises(SolveFailed, match="cannot be solved one by one") as failed:
        solve(Moving(), torch.ones(2, 3, requires_grad=True), UNIT)
    assert failed.value.status is Status.UNSUPPORTED


def test_a_mask_among_the_weights_has_no_gradient():
    class Masked(Network):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.tensor([True, False, True]))

        def forward(self, t, y):
            return torch.where(self.mask, super().forward(t, y), torch.zeros_like(y))

    found = solved("diffrax:euler", Masked(), torch.ones(2, 3), UNIT, step_size=0.25, gradient=Gradient.CHECKPOINT)
    exact = solved("euler", Masked(), torch.ones(2, 3), UNIT, step_size=0.25, gradient=Gradient.DIRECT)
    torch.testing.assert_close(found[1], exact[1])


def test_a_model_that_makes_its_field_anew_is_told_so(monkeypatch):
    solve = integrator("diffrax:euler", step_size=0.5)
    monkeypatch.setattr(solve.adapter._compiled, "consecutive_misses", diffrax.MAX_CONSECUTIVE_MISSES)
    with pytest.raises(SolveFailed, match="a new field in each forward pass"):
        solve(Network(width=2), torch.ones(2, 3), UNIT)


def test_an_absent_library_is_told_with_the_command_that_installs_it(monkeypatch):
    find_solver.cache_clear()
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"torchode is not installed\. pip install torchode"):
        find_solver("torchode:dopri5")
    assert find_solver("dopri5")


def test_a_misspelt_method_of_a_library_is_refused_with_the_nearest():
    with pytest.raises(BadInput, match="did you mean torchode:tsit5"):
        find_solver("torchode:tsit")


# --- compilation


def test_a_compiled_field_is_the_same_field_with_the_same_count():
    field, y0 = Network(), torch.ones(4, 3)
    eager, compiled = integrator("dopri5"), integrator("dopri5", compile=Compile.FIELD)
    with torch.no_grad():
        torch.testing.assert_close(compiled(field, y0, UNIT), eager(field, y0, UNIT))
    assert compiled.counter.forward == eager.counter.forward


@pytest.mark.slow
def test_a_compiled_solver_takes_the_same_steps():
    field, y0 = Network(), torch.ones(4, 3)
    eager, compiled = integrator("torchode:dopri5"), integrator("torchode:dopri5", compile=Compile.SOLVER)
    torch.testing.assert_close(compiled(field, y0, UNIT), eager(field, y0, UNIT))
    assert compiled.counter.forward == eager.counter.forward


# --- limits


class Fields:
    """Fields that some library cannot differentiate; each has the layer ``a`` and depends on a seed alone."""

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.spare = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, t, y):
            return torch.tanh(self.a(y))

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.fixed = nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False)

        def forward(self, t, y):
            return torch.tanh(self.fixed(self.a(y)))

    class TimeAlone(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(3))

        def forward(self, t, y):
            return torch.sin(t) * self.a.expand_as(y)

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.net = nn.Sequential(self.a, nn.Tanh(), self.a)

        def forward(self, t, y):
            return self.net(y)

    class SharedWeight(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.tanh = nn.Linear(3, 3), nn.Linear(3, 3), nn.Tanh()
            self.b.weight = self.a.weight

        def forward(self, t, y):
            return self.tanh(self.b(self.tanh(self.a(y))))

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, t, y):
            return self.a(y) if float(y.norm()) < 9 else y


EACH_BACK = ("torchode:dopri5", Gradient.ADJOINT, Batching.EACH)
JOINT_BACK = ("torchode:dopri5", Gradient.ADJOINT, None)
TORCHDYN_BACK = ("torchdyn:dopri5", Gradient.ADJOINT_SEMINORM, None)
DIFFRAX = ("diffrax:euler", Gradient.CHECKPOINT, None)


def gradient_of(name, solver, kind, batching):
    torch.manual_seed(0)
    field = getattr(Fields, name)().double()
    steps = {"step_size": 0.25} if solver.endswith("euler") else {"rtol": 1e-8, "atol": 1e-8}
    solve = integrator(solver, gradient=kind, batching=batching, **steps)
    states = solve(field, torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3), UNIT.double())
    try:
        states[-1].square().sum().backward()
    except Exception as error:
        raise solve.failure(error) or error from None
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in field.parameters()]
    )


@pytest.mark.parametrize(
    ("name", "way", "words"),
    [
        ("Unused", TORCHDYN_BACK, "torchdyn needs a field that depends on parameter 'spare.weight'"),
        ("Frozen", TORCHDYN_BACK, "torchdyn needs the gradient of every parameter, and 'fixed.weight' is frozen"),
        ("TimeAlone", TORCHDYN_BACK, "torchdyn needs a field that depends on the state"),
        ("Frozen", JOINT_BACK, "torchode needs the gradient of every parameter, and 'fixed.weight' is frozen"),
        (
            "Tied",
            EACH_BACK,
            "torchode with batching 'each' gives a wrong gradient if a module is registered twice, and 'a' is",
        ),
        ("Branch", EACH_BACK, "vmap: "),
        ("Branch", DIFFRAX, "torch.export cannot translate the field: GuardOnDataDependentSymNode"),
    ],
)
def test_what_a_library_cannot_differentiate_is_unsupported_with_the_reason(name, way, words):
    with pytest.raises(SolveFailed) as refused:
        gradient_of(name, *way)
    assert refused.value.status is Status.UNSUPPORTED
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("Unused", JOINT_BACK),
        ("Unused", EACH_BACK),
        ("Frozen", EACH_BACK),
        ("Tied", JOINT_BACK),
        ("Tied", TORCHDYN_BACK),
    ]
    + [("SharedWeight", way) for way in (JOINT_BACK, EACH_BACK, TORCHDYN_BACK)]
    + [("Branch", JOINT_BACK), ("Branch", TORCHDYN_BACK)],
)
def test_what_is_not_refused_has_the_right_gradient(name, way):
    exact = gradient_of(name, "dopri5", Gradient.DIRECT, None)
    assert relative(gradient_of(name, *way), exact) < 1e-5


def test_a_library_that_still_gets_tied_modules_wrong_is_refused_for_a_reason(monkeypatch):
    """Where this fails, the library has been mended: the refusal can go."""
    from nodebench.solvers import torchode

    monkeypatch.setattr(torchode, "refuse_shared", lambda field, library: None)
    exact = gradient_of("Tied", "dopri5", Gradient.DIRECT, None)
    assert relative(gradient_of("Tied", *EACH_BACK), exact) > 0.1
