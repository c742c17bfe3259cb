import copy
import functools
import itertools
import shutil

import numpy as np
import pytest
import torch
from problems import integrator

from nodebench.errors import BadInput
from nodebench.models.fields import MlpField
from nodebench.models.observed import RULES, Baseline
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks import ecg, ecg_sources, find_task
from nodebench.tasks.ecg import EcgOptions, observed_points, spread
from nodebench.trial.build import experiment_of

NOTHING = DataSource()
OBJECTIVES = ["extrapolate", *(pytest.param(one, marks=pytest.mark.slow) for one in ("reconstruct", "interpolate"))]


simulated = ecg_sources.synthetic
simulated_once = functools.cache(simulated)


@pytest.fixture(autouse=True)
def _hearts_are_simulated_once(monkeypatch):
    """Each test has a copy of its own: to solve the equations of the same hearts takes longer than most tests."""
    monkeypatch.setattr(ecg_sources, "synthetic", lambda *a, **k: copy.deepcopy(simulated_once(*a, **k)))


@pytest.fixture(scope="module")
def hearts():
    return simulated(hearts=10, beats=3, noise=0.02, seed=1)


def build(model: str = "latent-ode", **overrides):
    small = {"hearts": 10, "beats": 3} | overrides
    ode = {"solver": ["rk4"]} if model.startswith("latent-ode") else {}
    (trial,) = multiply(Grid(task="ecg", model=[model], overrides=small, **ode), NOTHING)[0]
    return experiment_of(trial, integrator("rk4", step_size=0.05), NOTHING)


# --- sources


@pytest.mark.parametrize("records", ["../x", "/abs", "100,../x", "", "100,", "a\x1b"])
def test_records_are_names_and_no_paths(records):
    with pytest.raises(ValueError, match="comma-separated record names"):
        EcgOptions.model_validate(find_task("ecg").presets["smoke"].model_dump() | {"records": records})


def test_synthetic_beats_have_their_r_peak_where_they_are_cut(hearts):
    at = round(ecg_sources.BEFORE / (ecg_sources.BEFORE + ecg_sources.AFTER) * (ecg_sources.POINTS - 1))
    for split in hearts:
        assert (np.abs(split.signal[:, at - 6 : at + 7, 0].argmax(1) - 6) <= 2).all()
    assert (len(hearts.train.signal), len(hearts.test.signal)) == (24, 6)


def test_the_derivative_is_the_signals(hearts):
    """Savitzky–Golay against central differences on a signal without noise, and on a sine in closed form."""
    time = np.arange(4000) / 360
    beats = ecg_sources.cut_beats(np.sin(2 * np.pi * 3 * time), np.array([1000.0, 2000.0]), 360)
    places = np.array([[1000.0], [2000.0]]) / 360 + np.linspace(-0.3, 0.45, 100)
    assert np.allclose(beats[..., 1], 6 * np.pi * np.cos(6 * np.pi * places), atol=0.05)
    assert np.allclose(beats[..., 0], np.sin(6 * np.pi * places), atol=1e-3)


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_the_noise_of_a_signal_is_found(noise):
    assert ecg_sources.synthetic(10, 3, noise, seed=0).train.noise == pytest.approx(noise, rel=0.15)


def test_no_heart_is_in_both_parts(monkeypatch):
    """Each heart's beats are replaced by its number."""
    numbers = itertools.count()
    monkeypatch.setattr(
        ecg_sources, "cut_beats", lambda signal, peaks, rate: np.full((len(peaks), 100, 2), next(numbers))
    )
    train, test = (set(part.signal.flatten()) for part in simulated(10, 3, 0.0, seed=1))
    assert (len(train), len(test)) == (8, 2)
    assert not train & test


def test_record_100_has_its_2273_beats(shared_data):
    import wfdb

    notes = wfdb.rdann(str(shared_data / "mitdb" / "100"), "atr")
    assert np.isin(notes.symbol, ecg_sources.BEAT_SYMBOLS).sum() == 2273
    split = ecg_sources.mitdb(DataSource(folder=shared_data), ["100"], "MLII")
    train, test = len(split.train.signal), len(split.test.signal)
    # Two beats at the ends of the record are not whole, and one is left out between the parts.
    assert 2273 - 4 <= train + test + 1 <= 2273
    assert set(split.train.labels) | set(split.test.labels) <= {"N", "A", "V"}
    at = split.train.signal[..., 0].argmax(1)
    assert np.mean(np.abs(at - 40) <= 2) > 0.99


def test_the_parts_of_one_record_share_no_sample(shared_data):
    """The last window to learn from ends before the first one to test on begins."""
    import wfdb

    split = ecg_sources.mitdb(DataSource(folder=shared_data), ["100"], "V5")
    notes = wfdb.rdann(str(shared_data / "mitdb" / "100"), "atr")
    peaks = notes.sample[np.isin(notes.symbol, ecg_sources.BEAT_SYMBOLS)]
    whole = peaks[(peaks > 0.3 * 360 + 1) & (peaks < 650_000 - 0.45 * 360 - 1)]
    last, first = whole[len(split.train.signal) - 1], whole[len(split.train.signal) + 1]
    assert last + 0.45 * 360 < first - 0.3 * 360


def test_ecg5000_has_its_500_beats(shared_data):
    split = ecg_sources.ecg5000(DataSource(folder=shared_data))
    assert len(split.train.signal) + len(split.test.signal) == 500
    assert set(split.train.labels) | set(split.test.labels) == set("12345")
    both = np.concatenate([split.train.signal, split.test.signal])
    assert len(np.unique(both, axis=0)) == 500


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: (d / "mitdb/100.dat").unlink(), "no 100.dat"),
        (lambda d: (d / "mitdb/100.hea").write_text("nonsense\n"), "record 100 in"),
        (lambda d: (d / "mitdb/100.dat").write_bytes(b"short"), "record 100 in"),
    ],
)
def test_a_damaged_record_is_told_in_one_line(shared_data, tmp_path, damage, says):
    shutil.copytree(shared_data / "mitdb", tmp_path / "mitdb")
    damage(tmp_path)
    with pytest.raises(BadInput, match=says) as told:
        ecg_sources.mitdb(DataSource(folder=tmp_path), ["100"], "MLII")
    assert "\n" not in str(told.value)


def test_an_absent_record_or_lead_is_told_with_those_there(shared_data):
    source = DataSource(folder=shared_data)
    with pytest.raises(BadInput, match=r"no 101.hea .* Records there: 100"):
        ecg_sources.mitdb(source, ["101"], "MLII")
    with pytest.raises(BadInput, match=r"no lead 'V1'\. Allowed: MLII, V5"):
        ecg_sources.mitdb(source, ["100"], "V1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2 3\n", "3 finite columns, expected 141"),
        ("1 2\n3\n", "is not a table of numbers"),
        (("x " * 141) + "\n", "is not a table of numbers"),
    ],
)
def test_a_wrong_ecg5000_is_told_in_one_line(tmp_path, text, says):
    (tmp_path / "ECG5000_TRAIN.txt").write_text(text)
    with pytest.raises(BadInput, match=says) as told:
        ecg_sources.ecg5000(DataSource(folder=tmp_path))
    assert "\n" not in str(told.value)


def test_the_data_set_is_named_or_found(tmp_path):
    task = find_task("ecg")
    assert task.dataset(None, NOTHING, "quick") == "ecgsyn"
    (tmp_path / "mitdb").mkdir()
    (tmp_path / "mitdb" / "100.hea").touch()
    source = DataSource(folder=tmp_path)
    assert task.dataset(None, source, "quick") == "mitdb"
    (tmp_path / "ecg5000").mkdir()
    with pytest.raises(BadInput, match="choose a data set with --dataset"):
        task.dataset(None, source, "quick")
    with pytest.raises(BadInput, match="add --data DIR or --download"):
        task.dataset("mitdb", NOTHING, "quick")


# --- objectives


def test_objectives_give_what_they_say():
    random = torch.Generator().manual_seed(0)
    inside = observed_points(EcgOptions(objective="interpolate", missing=0.6), 50, random)
    assert inside.shape == (50, 40)
    assert (inside.diff(dim=1) > 0).all()
    assert (inside[:, 0] == 0).all()
    assert (inside[:, -1] == 99).all()
    middle = observed_points(EcgOptions(objective="extrapolate", given=0.4), 2, random)
    assert middle.tolist() == [list(range(30, 70))] * 2
    assert observed_points(EcgOptions(), 1, random).tolist() == [list(range(100))]


@pytest.mark.parametrize("objective", ["interpolate", pytest.param("extrapolate", marks=pytest.mark.slow)])
def test_what_is_not_given_changes_no_training(objective, monkeypatch):
    def batches(changed: bool):
        split = ecg_sources.synthetic(10, 3, 0.01, seed=0)
        if changed:
            hidden = np.ones(split.train.signal.shape[:2], dtype=bool)
            np.put_along_axis(hidden, where.numpy(), False, axis=1)
            # The hidden points trade places, so that mean and spread of the whole stay what they were.
            for beat, mask in zip(split.train.signal, hidden, strict=True):
                beat[mask] = beat[mask][::-1]
        monkeypatch.setattr(ecg, "load", lambda *_: split)
        experiment = build(objective=objective, steps_per_epoch=2)
        return list(experiment.batches(0))

    where = observed_points(EcgOptions(objective=objective), 24, torch.Generator().manual_seed(2**32))
    for one, other in zip(batches(False), batches(True), strict=True):
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_dense_encoder_learns_from_what_is_given(objective):
    experiment = build(objective=objective, encoder="dense", encoder_hidden=64, steps_per_epoch=20, noise=0.5)
    losses = []
    for batch in experiment.batches(0):
        experiment.optimizer.zero_grad()
        losses.append(experiment.loss(experiment.model, batch))
        losses[-1].backward()
        experiment.optimizer.step()
    assert losses[-1] < 0.95 * losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in experiment.model.encoder.parameters())


def test_a_dense_encoder_cannot_be_kept_from_seeing_gaps():
    with pytest.raises(BadInput, match="the encoder dense always receives the times of the points"):
        build(encoder="dense", encoder_sees_gaps=False)


# --- metrics, against planted effects


def test_one_beat_for_all_is_a_collapse_and_the_true_ones_are_none():
    experiment = build()
    true = experiment._test
    with torch.no_grad():
        experiment._fit = lambda model: true.mean(0).expand_as(true)
        collapsed = experiment.metrics(experiment.model)
        experiment._fit = lambda model: true
        perfect = experiment.metrics(experiment.model)
    assert collapsed["diversity_ratio"] == pytest.approx(0, abs=1e-12)
    assert collapsed["reconstruction_rmse"] == pytest.approx(spread(true))
    assert perfect["diversity_ratio"] == 1
    assert perfect["reconstruction_rmse"] == perfect["rmse_over_noise"] == 0


def test_a_planted_divergence_is_seen_at_its_time():
    """The latent state grows at a known rate forwards and dies backwards."""
    experiment = build()
    model, rate = experiment.model, 3.0

    class Growth(torch.nn.Module):
        def forward(self, t, z):
            return rate * z

    class First(torch.nn.Module):
        def forward(self, z):
            return z[..., :2]

    model.decoder.field, model.decoder.readout = Growth(), First()
    model.most_likely = lambda observed, times: torch.ones(len(observed), 4)
    with torch.no_grad():
        found = experiment._escapes(model)
    fence = experiment._fence
    # From 1 at the start of the beat; the end of the beat is one beat length later.
    leaves = min(float(torch.log(fence.middle + fence.radius).min()) / rate - 1, 4.0)
    assert found["escape_share_after"] == 1
    assert found["escape_share_before"] == 0
    assert found["escape_share"] == 0.5
    assert leaves <= found["escape_time"] <= leaves + ecg.HORIZON_STEP + 0.01


def test_a_gru_decoder_is_bounded_and_only_goes_forward():
    experiment = build("gru-vae", objective="extrapolate")
    with torch.no_grad():
        metrics = experiment.metrics(experiment.model)
    assert metrics["extrapolation_rmse_before"] is None
    assert metrics["extrapolation_rmse_after"] > 0
    assert metrics["escape_share_before"] is None
    assert metrics["escape_share"] == 0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_picture_shows_half_a_beat_past_either_end(objective):
    experiment = build(objective=objective)
    with torch.no_grad():
        picture = experiment.picture(experiment.model)
    assert picture.true.shape == picture.fitted.shape == (4, len(picture.times), 2)
    assert picture.times[0] == pytest.approx(-picture.times[-1] + 0.75, abs=1e-6)
    assert np.isfinite(picture.fitted).all()
    assert np.isnan(picture.true[:, 0]).all()


def test_principal_components_find_planted_shapes_and_leave_the_noise():
    """Three shapes at random strengths: two components miss one of them, three leave what is not in their span."""
    random = np.random.default_rng(0)
    shapes = np.linalg.qr(random.standard_normal((40, 3)))[0].T  # orthonormal
    strength, noise = np.array([5.0, 3.0, 2.0]), 0.01
    beats = 1 + (random.standard_normal((3000, 3)) * strength) @ shapes + noise * random.standard_normal((3000, 40))
    train, test = (torch.from_numpy(part.reshape(-1, 20, 2)) for part in (beats[:2000], beats[2000:]))
    left = [((ecg.reduced(train, test, rank) - test) ** 2).sum((1, 2)).mean().item() for rank in range(4)]
    assert left[:3] == pytest.approx([38.0, 13.0, 4.0], rel=0.15)
    assert left[3] == pytest.approx(37 * noise**2, rel=0.05)
    assert torch.equal(ecg.reduced(train, test, 0)[7], train.mean(0))


def test_the_linear_errors_of_the_task_are_those_of_the_eigenvectors_of_the_covariance(hearts, monkeypatch):
    monkeypatch.setattr(ecg, "load", lambda *_: hearts)
    experiment = build("constant", latent=5)
    with torch.no_grad():
        found = experiment.metrics(experiment.model)
    mean, std = hearts.train.signal.mean((0, 1)), hearts.train.signal.std((0, 1))
    train, test = ((part.signal - mean) / std for part in hearts)
    flat, centre = train.reshape(len(train), -1), train.mean(0).ravel()
    covariance = np.cov(flat, rowvar=False)
    axes = np.linalg.eigh(covariance)[1][:, -5:]
    rest = (test.reshape(len(test), -1) - centre) @ (np.eye(200) - axes @ axes.T)
    noise = hearts.train.noise / std[0]
    by_hand = np.sqrt(np.mean(rest.reshape(test.shape)[..., 0] ** 2)) / noise
    assert found["linear_over_noise"] == pytest.approx(by_hand, rel=1e-6)
    alone = np.sqrt(np.mean((test - train.mean(0))[..., 0] ** 2)) / noise
    assert found["mean_beat_over_noise"] == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a_tanh_field_is_bounded_by_its_last_layer_and_an_elu_field_is_not(scale):
    torch.manual_seed(0)
    tanh, elu = (MlpField((4, 20, 20, 4), activation) for activation in (torch.nn.Tanh, torch.nn.ELU))
    states = scale * torch.randn(500, 4)
    bound = tanh.net[-1].weight.abs().sum(1) + tanh.net[-1].bias.abs()
    with torch.no_grad():
        assert (tanh(torch.zeros(()), states).abs() <= bound).all()
        largest = elu(torch.zeros(()), states).norm(dim=1).max() / states.norm(dim=1).max()
    assert largest > 0.05  # it grows with the state


# --- baselines that learn nothing, on the beats of one small set


@pytest.fixture(params=["reconstruct", "interpolate", "extrapolate"])
def rules(request, hearts, monkeypatch):
    """Metrics of each rule, given points and true beats, and where the points stand."""
    monkeypatch.setattr(ecg, "load", lambda *_: hearts)
    experiment = build("constant", objective=request.param)
    with torch.no_grad():
        found = {name: experiment.metrics(Baseline(rule())) for name, rule in RULES.items()}
        assert np.isfinite(experiment.picture(experiment.model).fitted).all()
    return request.param, found, experiment._test.numpy(), experiment._where.numpy()


def test_baselines_have_the_errors_of_numpy(rules):
    objective, found, test, where = rules
    given = np.stack([beat[rows] for beat, rows in zip(test, where, strict=True)])
    mean = given.mean(1, keepdims=True)
    expected = {("constant", "reconstruction_rmse"): given - mean, ("linear", "reconstruction_rmse"): 0 * given}
    if objective == "interpolate":
        lines = [
            [np.interp(range(100), rows, beat[rows, c]) for c in (0, 1)] for beat, rows in zip(test, where, strict=True)
        ]
        hidden = np.ones(test.shape[:2], bool)
        np.put_along_axis(hidden, where, False, 1)
        expected["linear", "interpolation_rmse"] = (np.moveaxis(np.array(lines), 1, 2) - test)[hidden]
    if objective == "extrapolate":
        first, last = where[0, 0], where[0, -1]
        expected["last-value", "extrapolation_rmse_after"] = test[:, last : last + 1] - test[:, last + 1 :]
        expected["constant", "extrapolation_rmse_before"] = mean - test[:, :first]
    for (name, metric), error in expected.items():
        assert found[name][metric] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4, abs=1e-5)


def test_a_constant_never_leaves_the_range_and_has_no_bound(rules):
    for name in ("constant", "last-value"):
        assert rules[1][name]["escape_share"] == 0
        assert rules[1][name]["elbo"] is None
