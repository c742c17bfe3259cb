from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nodebench.reporting.plots import density, draw_trial, over_time, portrait, training
from nodebench.reporting.trajectory_plots import pictures
from nodebench.spec import Gradient, Record, Status, Trial
from nodebench.spec.trajectories import Trajectories
from nodebench.store.snapshots import load_snapshots, save_snapshots


def picture(examples: int = 1, field: bool = True, silent: bool = False) -> Trajectories:
    times = np.linspace(0, 3, 40)
    true = np.stack([np.stack([np.cos(times + k), np.sin(times + k)], 1) for k in range(examples)])
    fitted = 1.1 * true
    fitted[:, 30:] = 1e9 if not silent else np.nan  # a fit that runs off, or says nothing
    axes = np.stack([np.linspace(-1.2, 1.2, 8)] * 2)
    x, y = np.meshgrid(*axes)
    return Trajectories(
        times, true, fitted, np.tile(times[:20:2], (examples, 1)), true[:, :20:2], (0.0, 1.5), "time (s)",
        ("x (mV)", "x′ (mV/s)"), *((axes, np.stack([-y, x], -1)) if field else ()),
    )  # fmt: skip


def plane(flows: bool, peak: float = 1.0) -> Trajectories:
    """A density of the plane, with or without a flow."""
    axes = np.stack([np.linspace(-2, 2, 9)] * 2)
    x, y = np.meshgrid(*axes)
    times = np.linspace(0, 1, 3 if flows else 1)
    unknown = np.full((1, len(times), 2), np.nan)
    moved = np.linspace(1, 2, 3)[:, None, None] * np.array([[0.5, 0.0], [0.0, 0.8]]) if flows else np.empty((0, 0, 2))
    return Trajectories(
        times, unknown, unknown, np.zeros((1, 4)), np.ones((1, 4, 2)), (0.0, 1.0), "time", ("x", "y"), axes,
        density=peak * np.exp(-(x**2) - y**2), moved=moved,
    )  # fmt: skip


def record(ode: bool = True) -> Record:
    trial = Trial(task="toy/spiral", model="small", solver="dopri5", rtol=1e-3, atol=1e-3, gradient=Gradient.ADJOINT)
    trial = trial if ode else Trial(task="toy/spiral", model="gru-dt")
    nfe = {"nfe_forward": 20.0, "nfe_backward": 30.0, "nfe_probe": 25.0} if ode else {}
    history = [{"epoch": float(k), "loss": 1.0 / k if k else None, **nfe} for k in range(4)]
    return Record(id=trial.id, trial=trial, status=Status.OK, started="", duration_seconds=1, history=history)


@pytest.mark.parametrize("shown", [picture(), picture(4, field=False), picture(3, field=False, silent=True)])
def test_every_figure_is_drawn_as_svg_and_png(tmp_path, shown):
    files = draw_trial(record(), {0: shown, 3: shown}, tmp_path)
    kinds = sorted(path.name.split(".", 1)[1] for path in files)
    assert kinds == [f"{k}.{f}" for k in ("portrait", "time", "training") for f in ("png", "svg")]
    for path in files:
        if path.suffix == ".svg":
            text = path.read_text()
            assert "toy/spiral" in text
            assert "time (s)" in text or "time" not in path.name
        else:
            pixels = np.asarray(Image.open(path).convert("L"))
            assert pixels.std() > 5
            assert pixels.shape[1] == 1000


@pytest.mark.parametrize(("flows", "titles"), [(True, 3), (False, 2)])
def test_a_density_is_drawn_beside_points_on_the_same_axes(tmp_path, flows, titles):
    shown = plane(flows)
    drawn = density("title", shown)
    assert len(drawn.axes) == titles
    assert {(axes.get_xlim(), axes.get_ylim()) for axes in drawn.axes} == {((-2, 2), (-2, 2))}
    if flows:
        assert np.allclose(drawn.axes[1].lines[0].get_xydata(), shown.moved[-1])
    kinds = {
        path.name.split(".", 1)[1] for path in draw_trial(record(), {0: plane(flows, 0.5), 3: shown}, tmp_path, True)
    }
    animated = {"gif", "flow.gif"} if flows else {"gif"}
    assert kinds == {f"{k}.{f}" for k in ("density", "training") for f in ("png", "svg")} | animated
    if flows:
        (snapshots,) = tmp_path.glob("*.flow.gif")
        with Image.open(snapshots) as frames:
            first = np.asarray(frames.convert("L"), dtype=float)
            frames.seek(2)
            assert np.abs(np.asarray(frames.convert("L"), dtype=float) - first).max() > 100  # the points have moved


def test_a_fit_that_runs_off_does_not_flatten_the_truth(tmp_path):
    """The limits are the truth's: drawn with and without the runaway, the axes read the same."""
    tame = picture(field=False, silent=True)
    texts = []
    for shown in (picture(field=False), tame):
        (path,) = (p for p in draw_trial(record(), {0: shown}, tmp_path) if p.name.endswith("time.svg"))
        texts.append([line for line in path.read_text().splitlines() if "<text" in line])
    assert texts[0] == texts[1]


def test_the_same_record_gives_the_same_file(tmp_path):
    one, two = (draw_trial(record(), {0: picture()}, tmp_path / name) for name in "ab")
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_an_animation_has_a_frame_an_epoch(tmp_path):
    snapshots = {0: picture(2, field=False), 1: picture(2, field=False, silent=True), 2: picture(2, field=False)}
    gif = draw_trial(record(), snapshots, tmp_path, animate=True)[-1]
    assert gif.suffix == ".gif"
    assert 3 <= Image.open(gif).n_frames <= 3 + 8


def test_without_an_ode_and_without_pictures_there_is_the_training_alone(tmp_path):
    assert [path.name.split(".")[1] for path in draw_trial(record(ode=False), {}, tmp_path)] == ["training"] * 2


def test_a_trial_that_failed_at_once_has_no_figure(tmp_path):
    assert draw_trial(record().model_copy(update={"history": []}), {}, tmp_path) == []


def strokes(lines) -> dict[str, tuple[str, str]]:
    """Colour and dashes of lines by their label."""
    return {line.get_label(): (line.get_color(), line.get_linestyle()) for line in lines if hasattr(line, "get_color")}


@pytest.mark.parametrize("draw", [over_time, portrait])
def test_the_legend_names_the_true_and_the_fitted_line(draw):
    shown = picture(silent=True)
    drawn = draw("a title", shown)
    legend = strokes(drawn.legends[0].legend_handles)
    known = np.isfinite(shown.fitted[0]).all(1)
    curves = {"true": shown.true[0], "fitted": shown.fitted[0][known], "observed": shown.observed[0]}
    found = {}
    for line in drawn.axes[0].lines:
        for name, values in curves.items():
            drawn_values = np.asarray(line.get_ydata())
            if len(drawn_values) == len(values) and np.allclose(drawn_values, values[:, int(draw is portrait)]):
                found[name] = (line.get_color(), line.get_linestyle())
    assert found.keys() == curves.keys()
    assert {name: colour for name, (colour, _) in found.items()} == {name: legend[name][0] for name in found}
    assert found["true"][1] == legend["true"][1] == "-"
    assert found["fitted"][1] == legend["fitted"][1] == "--"


def test_the_legend_of_a_training_names_forward_and_backward():
    axes = training(record()).axes[1]
    lines = {line.get_label(): set(line.get_ydata()) for line in axes.lines}
    assert lines == {"forward, per step": {20.0}, "backward, per step": {30.0}, "forward, probe batch": {25.0}}
    legend = axes.get_legend()
    texts = [text.get_text() for text in legend.texts]
    assert dict(zip(texts, strokes(legend.legend_handles).values(), strict=True)) == strokes(axes.lines)


def test_what_is_too_large_for_an_axis_is_not_drawn(tmp_path):
    usual = record()
    rows = [{"epoch": 1e308, "loss": 1e308}, {"epoch": -1e308, "loss": -1e308}, {"epoch": 5.0, "loss": 1.7e308}]
    odd = usual.model_copy(update={"history": [*usual.history, *rows]})
    drawn = [draw_trial(one, {}, tmp_path / str(index)) for index, one in enumerate((usual, odd))]
    assert [path.name for path in drawn[0]] == [path.name for path in drawn[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*drawn, strict=True))
    assert draw_trial(usual.model_copy(update={"history": rows}), {}, tmp_path / "none") == []


def series() -> Trajectories:
    """Two series of one component, given until 1 and hidden from 5 on."""
    times = np.array([0.0, 0.5, 1.0, 5.0, 5.5])
    true = np.stack([np.sin(times), np.cos(times)])[..., None]
    given = np.where(times <= 1, true[..., 0], np.nan)[..., None]
    both = np.stack([times, times])
    until = np.array([1.0, 1.0])
    return Trajectories(
        times,
        true,
        true + 0.1,
        both,
        given,
        (0.0, 5.5),
        "t",
        ("level",),
        names=("buoy 1", "buoy 2"),
        given_until=until,
    )


def test_a_series_has_its_name_its_hidden_points_and_no_line_across_a_gap(tmp_path):
    drawn = over_time("a title", series())
    first, second = drawn.axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["buoy 1", "buoy 2"]
    given, hidden, predicted, start = first.lines
    assert (given.get_xdata().tolist(), hidden.get_xdata().tolist()) == ([0.0, 0.5, 1.0], [5.0, 5.5])
    assert hidden.get_markerfacecolor() == "none"
    assert np.isnan(predicted.get_xdata()).tolist() == [False, False, False, True, False, False]
    assert start.get_xdata() == [1.0, 1.0]
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["given", "hidden", "predicted", "start of the forecast"]
    save_snapshots(tmp_path / "a.npz", {1: series()})
    again = load_snapshots(tmp_path / "a.npz")[1]
    assert (again.names, again.given_until.tolist()) == (("buoy 1", "buoy 2"), [1.0, 1.0])
    files = draw_trial(record(ode=False), {1: again}, tmp_path)
    assert {path.name.split(".")[1] for path in files} == {"time", "training"}  # one component has no plane


def test_the_training_shows_the_error_on_unseen_data():
    trial = Trial(task="series", model="gru-dt")
    history = [{"epoch": float(k), "loss": 2.0 / k, "rmse": 1.0 + 0.1 * k} for k in (1, 2, 3)]
    drawn = training(
        Record(id=trial.id, trial=trial, status=Status.OK, started="", duration_seconds=1, history=history)
    )
    assert [axes.get_ylabel() for axes in drawn.axes] == ["training loss", "RMSE"]
    assert drawn.axes[1].lines[0].get_ydata().tolist() == pytest.approx([1.1, 1.2, 1.3])


def test_a_surface_is_told_by_its_values_along_the_middle():
    axis = np.linspace(-2, 2, 5)
    nothing = np.full((1, 1, 2), np.nan)
    shown = replace(
        picture(field=False),
        times=np.zeros(1),
        true=nothing,
        fitted=nothing,
        axes=np.stack([axis, axis]),
        surface=np.add.outer(10 * axis, axis),
    )
    (drawn,) = pictures("run", [record()], lambda _: {3: shown})
    assert drawn.header == ["x (mV)", "output at x′ (mV/s) = 0"]
    assert drawn.rows == [(x, x) for x in axis]
    assert "where it is 0 (line)" in drawn.caption
