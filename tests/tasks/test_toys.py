import pytest
import torch
from problems import integrator

from nodebench.models import systems
from nodebench.models.fields import Squeezed
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks import find_task, tasks, trajectory_fit
from nodebench.tasks.trajectory_fit import FitOptions, observation_times, observe, trajectory_error
from nodebench.trial.build import experiment_of

# Those that share their models; the others have tests of their own.
TOYS = sorted(name for name, task in tasks().items() if name.startswith("toy/") and "small" in task.models)


def fit(task: str, model: str = "small", seed: int = 0, **overrides):
    ode = {} if model == "gru-dt" else {"solver": ["midpoint"], "gradient": ["direct"]}
    (trial,) = multiply(Grid(task=task, model=[model], seed=[seed], overrides=overrides, **ode), DataSource())[0]
    return experiment_of(trial, integrator("midpoint"), DataSource())


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(tasks()))
def test_a_task_says_what_it_is(name):
    task = find_task(name)
    assert task.about
    assert task.source
    assert {"smoke", "quick"} <= set(task.presets) or name == "test/faults"
    assert all(model.about and model.source for model in task.models.values())
    assert all(info.about and info.source for info in task.datasets.values())


def test_every_toy_of_the_article_is_there():
    names = "spiral spiral-cubic random lotka-volterra-linear lotka-volterra nonlinear mlp van-der-pol"
    assert {f"toy/{name}" for name in names.split()} == set(TOYS)


def test_what_is_squeezed_shrinks_at_its_rate_and_the_rest_is_left_alone():
    field = Squeezed(systems.Linear([[0.0, 0.0], [0.0, 0.0]]), rate=3.0)
    y = torch.tensor([[2.0, 5.0]], dtype=torch.float64)
    assert field(torch.tensor(0.0), y).tolist() == [[0.0, -15.0]]


# --- observations


def test_missing_points_really_are_missing(monkeypatch):
    """A changed value at a dropped time changes nothing that training sees; at a time that is kept it does."""

    def batches(bump_at: float | None = None):
        def bumped(system, y0, times):
            states = systems.exact_states(system, y0, times)
            return states if bump_at is None else states + 100 * (times == bump_at).reshape(-1, *[1] * y0.ndim)

        monkeypatch.setattr(trajectory_fit, "exact_states", bumped)
        experiment = fit("toy/spiral", missing=0.6, batch_size=60, steps_per_epoch=3)
        return experiment.observations.times, list(experiment.batches(0))

    kept, untouched = batches()
    every = torch.linspace(0, 25, 200, dtype=torch.float64)
    dropped = every[~torch.isin(every, kept)]
    assert (len(kept), len(dropped)) == (80, 120)

    def same(other):
        return all(torch.equal(a, b) for x, y in zip(untouched, other, strict=True) for a, b in zip(x, y, strict=True))

    assert all(same(batches(float(t))[1]) for t in dropped[::40])
    assert not same(batches(float(kept[40]))[1])


def test_irregular_times_are_increasing_and_begin_at_the_start():
    times = observation_times(FitOptions(irregular=True, missing=0.3), -1.0, random())
    assert len(times) == 140
    assert times[0] == -1
    assert (times.diff() > 0).all()
    assert times[-1] <= 24
    assert times.diff().std() > 0.5 * times.diff().mean()


def test_noise_is_in_standard_deviations_of_the_trajectory():
    truth = torch.stack([torch.linspace(0, 1, 20_000), 10 * torch.linspace(0, 1, 20_000)], 1).double()
    noise = observe(truth, 0.3, random()) - truth
    assert (noise.std(0) / truth.std(0)).tolist() == pytest.approx([0.3, 0.3], rel=0.03)


@pytest.fixture(scope="module")
def mlp():
    return fit("toy/mlp")


def test_windows_are_pieces_of_the_trajectory_at_their_own_times(mlp):
    y0, start, elapsed, targets = next(mlp.batches(0))
    times, states = mlp.observations
    for i in range(len(start)):
        first = int((times - start[i, 0].double()).abs().argmin())
        assert torch.allclose(start[i].double() + elapsed[i].double(), times[first : first + 10], atol=1e-5)
        assert torch.allclose(targets[i].double(), states[first : first + 10], atol=1e-6)
        assert torch.equal(y0[i], targets[i, 0])


def test_the_article_solves_every_window_at_the_first_times(mlp):
    experiment = fit("toy/mlp", window_times="first")
    assert (experiment.probe[1] == -15).all()
    assert (mlp.probe[1] != -15).any()


def test_the_whole_trajectory_can_be_one_window():
    y0, _, elapsed, _ = fit("toy/spiral", training="trajectory", points=50).probe
    assert (len(y0), elapsed.shape) == (1, (1, 50))


@pytest.mark.parametrize("model", ["small-t", "gru-dt"])
def test_every_model_takes_irregular_missing_noisy_points(model):
    experiment = fit("toy/lotka-volterra", model, missing=0.5, irregular=True, noise=0.1)
    experiment.loss(experiment.model, next(experiment.batches(0))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in experiment.model.parameters())


def test_a_linear_schedule_falls_epoch_by_epoch_and_a_constant_one_stays():
    def rates(**overrides):
        experiment = fit("toy/spiral", epochs=4, learning_rate=0.1, **overrides)
        for epoch in range(4):
            experiment.begin_epoch(epoch)
            yield experiment.optimizer.param_groups[0]["lr"]

    assert list(rates(schedule="linear")) == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert list(rates(schedule="constant")) == pytest.approx([0.1] * 4)


# --- metrics


def test_the_exact_field_has_no_error():
    """Planted: the model is given the true field."""
    experiment = fit("toy/lotka-volterra", points=800)
    experiment.model.field = experiment._system
    experiment._dtype = torch.float64
    with torch.no_grad():
        metrics = experiment.metrics(experiment.model)
    assert metrics["field_error"] == 0
    assert metrics["trajectory_error"] < 1e-2
    assert metrics["held_out_error"] < 1e-2
    assert metrics["extrapolation_error"] < 1e-2


def test_errors_are_those_of_the_learned_field_where_they_say():
    """A linear field with an offset, solved in closed form: on the span, after it, and from other starts."""
    experiment = fit("toy/spiral", points=1600)
    matrix, offset = experiment._system.matrix.detach(), torch.tensor([0.05, -0.02], dtype=torch.float64)

    class Wrong(torch.nn.Module):
        def forward(self, t, y):
            return y @ matrix + offset

    experiment.model.field = Wrong()
    experiment._dtype = torch.float64
    truth = experiment._evaluation
    with torch.no_grad():
        found = experiment.metrics(experiment.model)
    times, starts = truth.times, torch.nn.functional.pad(truth.states[:, 0], (0, 1), value=1.0)

    def flow(offset):
        """States of ``y' = y A + c``, as those of a linear field of one more component that stays 1."""
        wide = torch.zeros(3, 3, dtype=torch.float64)
        wide[:2, :2], wide[2, :2] = matrix, offset
        steps = torch.stack([torch.linalg.matrix_exp(t * wide) for t in times])
        return torch.einsum("nd,tde->nte", starts, steps)[..., :2]

    true, wrong = flow(0 * offset), flow(offset)
    span = int((times <= 25 + 1e-9).sum())
    assert 0 < span < len(times)
    parts = {
        "trajectory_error": (slice(0, 1), slice(0, span)),
        "extrapolation_error": (slice(0, 1), slice(span, None)),
        "held_out_error": (slice(1, None), slice(0, span)),
    }
    expected = {}
    for name, (rows, columns) in parts.items():
        exact, given = true[rows, columns], wrong[rows, columns]
        spread = (exact - exact.mean(1, keepdim=True)).abs().mean()
        expected[name] = float((given - exact).abs().mean() / spread)
        assert found[name] == pytest.approx(expected[name], rel=0.02), name
    low, middle, high = sorted(expected.values())
    assert middle > 1.1 * low  # the three are different numbers
    assert high > 1.1 * middle


def test_a_constant_at_the_mean_has_a_trajectory_error_of_one():
    true = torch.rand(3, 50, 2).double()
    assert trajectory_error(true.mean(1, keepdim=True).expand_as(true), true) == pytest.approx(1)
    assert trajectory_error(true, true) == 0


def test_growth_tells_an_unstable_field():
    """The largest norm along a linear field's trajectory, from its eigenvalues."""
    for seed in range(4):
        experiment = fit("toy/random", seed=seed, stable=False)
        with torch.no_grad():
            growth = experiment.metrics(experiment.model)["growth"]
        unstable = torch.linalg.eigvals(experiment._system.matrix).real.max() > 0
        assert (growth > 10) == bool(unstable)


def test_a_picture_has_its_parts_in_shape():
    experiment = fit("toy/mlp", "small-t")
    with torch.no_grad():
        picture = experiment.picture(experiment.model)
    assert picture.true.shape == picture.fitted.shape == (1, len(picture.times), 2)
    assert picture.field.shape == (20, 20, 2)
    assert picture.trained == (-15, 15)
    assert picture.times[-1] > 29


BY_DAY = {"toy/spiral", "toy/lotka-volterra", "toy/van-der-pol"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in BY_DAY else pytest.mark.slow) for name in TOYS]
)
def test_a_short_training_beats_every_constant_prediction(name):
    """The constant of least mean absolute error is the median; a model that learned to move is well below it.

    Over windows, since the phase of a whole trajectory takes longer to learn than a test may.
    """
    experiment = fit(name, seed=1, learning_rate=5e-3, steps_per_epoch=300)
    for batch in experiment.batches(0):
        experiment.optimizer.zero_grad()
        experiment.loss(experiment.model, batch).backward()
        experiment.optimizer.step()
    targets = experiment.probe[-1]
    best_constant = (targets - targets.flatten(0, 1).median(0).values).abs().mean()
    with torch.no_grad():
        assert experiment.loss(experiment.model, experiment.probe) < best_constant
