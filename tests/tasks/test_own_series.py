"""Series of the user's own: what is read of a file, what models are given, and what they predict."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from problems import integrator
from torch import nn

from nodebench.errors import BadInput
from nodebench.models.observed import Constant, GruDt, LastValue, LatentOde, Linear, Recurrent
from nodebench.models.stepped import OdeRnn
from nodebench.spec import DataSource
from nodebench.tasks import find_task
from nodebench.tasks.contract import Setup
from nodebench.tasks.own_series import OwnSeriesOptions, observed
from nodebench.tasks.series_file import read_series

RANDOM = torch.Generator().manual_seed(0)
MODELS = sorted(find_task("series").models)


def waves(patients: int = 8) -> pd.DataFrame:
    """Sines at times of their own; some cells of ``x`` are empty."""
    rng = np.random.default_rng(0)
    parts = []
    for patient in range(patients):
        n = int(rng.integers(6, 14))
        t = np.sort(rng.uniform(0, 10, n)).round(2)
        x, y = np.sin(t + patient), 100 + 10 * np.cos(t + patient)
        x[rng.random(n) < 0.2] = np.nan
        parts.append(pd.DataFrame({"patient": f"p{patient}", "t": t, "x": x, "y": y}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "waves.csv"
    waves().to_csv(path, index=False)
    return path


def read(path, time="t", id="patient", columns=(), window=0, rounding=0.0):
    return read_series(path, time, id, columns, window, rounding)


# --- the file


def test_each_series_has_its_own_times_from_its_start(file):
    table, found = pd.read_csv(file), read(file)
    assert found.columns == ("x", "y")
    assert len(found.series) == table["patient"].nunique()
    for one, (_, rows) in zip(found.series, table.groupby("patient"), strict=True):
        assert np.allclose(one.times, rows["t"] - rows["t"].iloc[0])
        assert np.array_equal(one.values, rows[["x", "y"]].to_numpy(), equal_nan=True)


def test_order_of_rows_and_kind_of_file_do_not_matter(file, tmp_path):
    shuffled, parquet = tmp_path / "shuffled.csv", tmp_path / "waves.parquet"
    pd.read_csv(file).sample(frac=1, random_state=1).to_csv(shuffled, index=False)
    pd.read_csv(file).to_parquet(parquet)
    assert read(shuffled).sha256() == read(file).sha256() == read(parquet).sha256()


def test_another_value_is_another_hash(file):
    before = read(file).sha256()
    table = pd.read_csv(file)
    table.loc[3, "y"] += 1e-9
    table.to_csv(file, index=False)
    assert read(file).sha256() != before


def test_rows_of_one_time_are_one_observation(tmp_path):
    """As in a long table, where each row has one component; of two values of one there is the mean."""
    path = tmp_path / "long.csv"
    path.write_text("t,x,y\n0,1,\n0,,5\n0,3,\n1,4,6\n2,,\n")
    (one,) = read(path, id="").series
    assert one.times.tolist() == [0, 1]
    assert one.values.tolist() == [[2, 5], [4, 6]]


def test_dates_are_days(tmp_path):
    path = tmp_path / "dates.csv"
    path.write_text("when,x\n2020-01-02 12:00,1\n2020-01-01,2\n2020-03-01,3\n")
    found = read(path, time="when", id="")
    assert found.unit == "days"
    assert found.series[0].times.tolist() == [0, 1.5, 60]


def test_series_are_cut_into_windows_and_times_rounded(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("t,x\n" + "".join(f"{i + 0.01},{i}\n" for i in range(11)))
    found = read(path, id="", window=5, rounding=0.5)
    assert [one.values[:, 0].tolist() for one in found.series] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert all(one.times.tolist() == [0, 1, 2, 3, 4] for one in found.series)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("t,x\n0,1\n1,2\n", {"time": "tt"}, "no column of f.csv named 'tt'; did you mean t?"),
        ("t,x\n0,1\n1,2\n", {"columns": ("z",)}, "no column of f.csv named 'z'"),
        ("t,x\n0,1\n1,2\n", {"id": "who"}, "no column of f.csv named 'who'"),
        ("t,x\n0,1\n1,high\n", {"columns": ("x",)}, "f.csv, row 3: 'high' in column 'x' is not a number"),
        ("t,x\n0,1\n1,inf\n", {}, "f.csv, row 3: 'inf' in column 'x' is not a number"),
        ("t,x\n0,1\nsoon,2\n", {}, "f.csv, row 3: 'soon' in column 't' is not a time"),
        ("t,x\n0,1\n,2\n", {}, "f.csv, row 3: no time"),
        ("t,x,who\n0,1,a\n1,2,\n", {"id": "who"}, "f.csv, row 3: no 'who'"),
        ("t,x\n", {}, "it has no rows"),
        ("t,x\n0,1\n", {}, "no series has at least 2 observed times"),
        ("t,x\n0,1\n1,2\n", {"window": 9}, "no series has at least 9 observed times; choose a smaller window"),
        ("t,name\n0,a\n1,b\n", {}, "no numeric column besides 't'"),
        ('t,x\n0,"1\n1,2\n', {}, "it cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_told_in_one_line(tmp_path, text, options, told):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(BadInput) as raised:
        read(tmp_path / "f.csv", **{"id": ""} | options)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


# --- what a model is given


def options(**changes) -> OwnSeriesOptions:
    return OwnSeriesOptions(time="t", id="patient", **changes)


def test_a_forecast_is_given_the_beginning(file):
    found = observed(read(file), options(given=0.4), RANDOM)
    for times, given, one in zip(found.times, found.given, read(file).series, strict=True):
        n = len(one.times)
        assert given.sum() == max(1, (one.times <= 0.4 * one.times[-1]).sum())
        assert given[: given.sum()].all()
        assert not given[n:].any()
        assert torch.equal(times[n:], times[n - 1].expand(len(times) - n))


def test_an_interpolation_hides_a_share(file):
    found = observed(read(file), options(objective="interpolate", missing=0.3), RANDOM)
    for given, one in zip(found.given, read(file).series, strict=True):
        n = len(one.times)
        assert n - given.sum() == max(1, round(0.3 * n))


def model_of(name: str, objective: str = "forecast") -> nn.Module:
    setup = Setup(name, options(objective=objective), tight(), 0, torch.device("cpu"), torch.float64, "own", _SOURCE)
    return find_task("series").build(setup).model


def tight():
    return integrator("dopri5", rtol=1e-10, atol=1e-10)


_SOURCE = DataSource()


@pytest.fixture
def source(file, monkeypatch):
    monkeypatch.setattr(f"{__name__}._SOURCE", DataSource(folder=file))


@pytest.mark.parametrize("objective", ["forecast", "interpolate"])
@pytest.mark.parametrize("name", MODELS)
def test_a_prediction_rests_on_what_is_seen_and_on_nothing_else(file, source, name, objective):
    """Neither on hidden values, nor on the other series of the batch, nor on what a short one is filled up with."""
    model = model_of(name, objective)
    some = observed(read(file), options(objective=objective), RANDOM)
    values = [one.values for one in read(file).series]
    draw = torch.zeros(len(some.values), 8, dtype=torch.float64)
    predicted, _ = model(some.values * some.seen, some.seen, some.times, draw)
    short = min(range(len(values)), key=lambda i: len(values[i]))
    n = len(values[short])
    assert n < some.times.shape[1]
    one = some.of(torch.tensor([short]))
    alone, _ = model((one.values * one.seen)[:, :n], one.seen[:, :n], one.times[:, :n], draw[:1])
    assert torch.allclose(predicted[short, :n], alone[0], atol=1e-7)
    assert alone.isfinite().all()


# --- models against figures of their own


def test_baselines_are_what_numpy_says():
    times = torch.tensor([[0.0, 1.0, 3.0, 4.0, 6.0]])
    values, seen = torch.tensor([[9.0, 2.0, 9.0, 8.0, 9.0]]), torch.tensor([[False, True, False, True, False]])
    given = (values * seen).unsqueeze(-1), seen.unsqueeze(-1), times, torch.empty(1, 0)
    inside = np.interp([1, 3, 4], [1, 4], [2, 8])
    assert Linear()(*given)[0].flatten().tolist() == [0.0, *inside, 12.0]  # 2 a unit of time, on either side
    assert Constant()(*given)[0].flatten().tolist() == [5.0] * 5
    assert LastValue()(*given)[0].flatten().tolist() == [2.0, 2.0, 2.0, 8.0, 8.0]


def test_a_baseline_that_saw_nothing_of_a_component_predicts_the_mean_of_the_training():
    given = torch.zeros(1, 3, 1), torch.zeros(1, 3, 1, dtype=torch.bool), torch.arange(3.0)[None], torch.empty(1, 0)
    for baseline in (Constant(), LastValue(), Linear()):
        assert baseline(*given)[0].flatten().tolist() == [0.0] * 3


class Decay(nn.Module):
    def forward(self, t, y):
        return -y


def test_the_state_of_an_ode_rnn_decays_over_each_gap_and_jumps_where_something_was_seen():
    torch.manual_seed(0)
    network = OdeRnn(1, 4, Decay(), tight()).double()
    times = torch.tensor([[0.0, 0.3, 1.0], [0.0, 0.5, 0.6]], dtype=torch.float64)
    values = torch.tensor([[[1.0], [2.0], [0.0]], [[3.0], [0.0], [0.0]]], dtype=torch.float64)
    seen = torch.tensor([[[True], [True], [False]], [[True], [False], [False]]])
    states = network(values, seen, times)
    inputs = torch.cat([values, seen.double()], -1)
    first = network.cell(inputs[:, 0])
    assert torch.equal(states[:, 0], torch.zeros(2, 4, dtype=torch.float64))
    before = first * torch.tensor([[np.exp(-0.3)], [np.exp(-0.5)]])
    assert torch.allclose(states[:, 1], before, atol=1e-8)
    after = torch.cat([network.cell(inputs[:1, 1], before[:1]), before[1:]])  # the second series was not seen
    assert torch.allclose(states[:, 2], after * torch.tensor([[np.exp(-0.7)], [np.exp(-0.1)]]), atol=1e-8)


def test_a_latent_ode_solves_each_series_at_its_own_times():
    """The decoder's readout of ``z exp(-t)``, at every time of every series; the union of times is solved once."""
    torch.manual_seed(0)
    solve = tight()
    network = LatentOde(1, 5, Decay(), 3, solve).double()
    times = torch.tensor([[0.0, 0.3, 1.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    values, seen = torch.ones(2, 3, 1, dtype=torch.float64), torch.ones(2, 3, 1, dtype=torch.bool)
    predicted, kl = network(values, seen, times, torch.zeros(2, 3, dtype=torch.float64))
    start = network.posterior(values, seen, times).mean
    by_hand = network.readout(start.unsqueeze(1) * torch.exp(-times).unsqueeze(-1))
    assert torch.allclose(predicted, by_hand, atol=1e-8)
    assert (kl > 0).all()
    assert solve.counter.solves == 1


def test_a_network_that_reads_both_ways_is_symmetric_in_time():
    torch.manual_seed(0)
    one = GruDt(1, 4)
    network = Recurrent(1, 4, one, one)
    network.readout.weight.data[:, 4:] = network.readout.weight.data[:, :4]
    times, values = torch.tensor([[0.0, 1.0, 4.0]]), torch.randn(1, 3, 1)
    seen, none = torch.ones(1, 3, 1, dtype=torch.bool), torch.empty(1, 0)
    forwards, _ = network(values, seen, times, none)
    backwards, _ = network(values.flip(1), seen, (4.0 - times).flip(1), none)
    assert torch.allclose(forwards, backwards.flip(1), atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_the_picture_has_observations_and_fit_in_the_unit_of_the_file(file, source, name):
    setup = Setup(name, options(), tight(), 0, torch.device("cpu"), torch.float64, "own", _SOURCE)
    experiment = find_task("series").build(setup)
    with torch.no_grad():
        shown = experiment.picture(experiment.model)
    table = pd.read_csv(file)
    held_out = torch.randperm(8, generator=torch.Generator().manual_seed(2**32))[:2].sort().values.tolist()
    for example, i in enumerate(held_out):
        rows = table[table["patient"] == f"p{i}"]
        known = np.isfinite(shown.true[example, :, 1])
        assert np.allclose(shown.true[example, known, 1], rows["y"])
        assert np.allclose(shown.times[known], rows["t"] - rows["t"].iloc[0])
        assert np.array_equal(np.isfinite(shown.fitted[example, :, 1]), known)
        given = np.isfinite(shown.observed[example, :, 1])
        if name in ("last-value", "linear"):  # which pass through what is given
            assert np.allclose(shown.fitted[example, known, 1][: given.sum()], rows["y"].iloc[: given.sum()])
    assert shown.labels == ("x", "y")


# --- through the command line

SMOKE = ["--task", "series", "--set", "time=t", "--set", "id=patient", "--preset", "smoke", "--threads", "1"]


def test_the_error_of_the_constant_is_the_one_by_hand(nodebench, file, tmp_path):
    code, out, _ = nodebench("run", *SMOKE, "--data", str(file), "--model", "constant", "--json", "--no-timing")
    assert code == 0
    record = json.loads(out)
    assert record["data"] == {"name": "waves.csv", "train": 6, "test": 2, "sha256": read(file).sha256()}
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2**32))
    groups = [rows for _, rows in pd.read_csv(file).groupby("patient")]
    errors = []
    for i in order[:2].tolist():
        rows = groups[i].assign(t=groups[i]["t"] - groups[i]["t"].iloc[0])
        given = rows["t"] <= 0.5 * rows["t"].iloc[-1]
        errors.append(rows["y"][~given] - rows["y"][given].mean())
    by_hand = np.sqrt((pd.concat(errors) ** 2).mean())
    assert record["metrics"]["rmse_of_y"] == pytest.approx(by_hand, rel=1e-5)


def test_a_run_whose_file_has_changed_is_not_resumed(nodebench, file):
    code, _, _ = nodebench(
        "run", *SMOKE, "--data", str(file), "--model", "constant,last-value", "--no-timing", "--quiet"
    )
    assert code == 0
    code, _, _ = nodebench("run", "--resume", "latest", "--passes", "training", "--retry-failed", "--quiet")
    assert code == 0
    path = next((file.parent / "results").glob("*/records.jsonl"))
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    table = pd.read_csv(file)
    table.loc[0, "y"] += 1
    table.to_csv(file, index=False)
    code, _, told = nodebench("run", "--resume", "latest", "--quiet")
    assert code == 2
    assert f"the data in {file} have changed since run" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "add --data FILE.csv --set time=COLUMN --set id=COLUMN"),
        (["--data", "nope.csv"], "nope.csv: there is no such file"),
        (["--data", "."], "it is a folder"),
        (
            ["--data", "waves.csv", "--set", "window=60"],
            "no series has at least 60 observed times; choose a smaller window",
        ),
        (["--data", "waves.csv", "--set", "columns=x,zz"], "no column of waves.csv named 'zz'"),
    ],
)
def test_bad_input_ends_in_one_line(nodebench, file, arguments, told):
    code, _, errors = nodebench("run", *SMOKE, *arguments)
    assert code == 2
    assert told in errors
    assert len(errors.splitlines()) == 1


def test_one_series_has_nothing_to_test_on(nodebench, file):
    code, _, errors = nodebench("run", "--task", "series", "--set", "time=t", "--data", str(file))
    assert code == 2
    assert (
        "the file has only one series, so none is left for testing: name the column that identifies the series"
        in errors
    )


def test_a_summary_says_what_a_file_holds_and_what_of_it_is_used(tmp_path):
    path = tmp_path / "levels.csv"
    rows = ["a,2024-01-01,1.0,ok", "a,2024-01-03,2.0,ok", "a,2024-01-03,4.0,ok", "a,2024-01-02,,ok"]
    rows += ["b,2024-01-01,1.0,bad", "b,2024-01-02,1.0,bad", "b,2024-01-05,1.0,bad", "c,2024-01-01,1.0,ok"]
    path.write_text("\n".join(["who,when,level [m],quality", *rows]))
    found = read_series(path, "when", "who", [], 0, 0.0)
    assert found.about == (
        "2 series of 2 to 3 times, 5 in total, longest 4 days; columns level [m]; not used: quality;"
        " rows without a value: 1; rows merged with another of the same time: 1;"
        " times of series or pieces that are too short: 1"
    )
    assert [one.name for one in found.series] == ["a", "b"]
    cut = read_series(path, "when", "who", [], 2, 0.0)
    assert [one.name for one in cut.series] == ["a piece 1", "b piece 1"]
