"""What a figure of a study draws: whose records, of which preset, and which times."""

import re

import pytest
from evidence import ENVIRONMENT, claim, evidence

from nodebench.analysis.readings import final, quotient
from nodebench.claims import judge
from nodebench.claims.contract import Arm, Part
from nodebench.claims.freeze import frozen_declarations
from nodebench.reporting.charts import PALETTE, REFUTE, Look, Series, against, pareto_front
from nodebench.reporting.document import Paragraph, Table
from nodebench.reporting.forest import forest
from nodebench.reporting.site import PUBLISHED, report
from nodebench.reporting.study_charts import Plot, by_axis, category, draw, each, points_by_preset, rows
from nodebench.reporting.study_pages import study_pages
from nodebench.reporting.study_plots import PLOTS
from nodebench.spec import Interleaved, Preset, Record, Status, load_study
from nodebench.spec.metrics import METRICS
from nodebench.spec.record import Place

SECONDS, CALLS = final("step_seconds"), final("nfe_forward")
EVERY = [plot for plots in PLOTS.values() for plot in plots]
WORDLESS = Look("here", "there")  # no word in it tells that it shows a time


def full(plot: Plot, scale: float = 1.0) -> Record:
    """A record with every figure, its times multiplied; of the task, model and solver that a plot has a place for."""
    costs = {name: (0.5 * scale if known.is_time else 7.0) for name, known in METRICS.items()}
    row = {"epoch": 1.0, "rtol": 1e-3, "step_size": 0.25, "nfe": 7.0, "nfe_probe": 7.0, "test_error": 7.0, "loss": 7.0}
    axes = {"task": "mnist", "model": "odenet", "solver": "dopri5", "step_size": 0.25, "segments": 4}
    if plot.look.categories and "latent-ode" in plot.look.categories:
        axes["model"] = "latent-ode"
    if plot.look.categories and "planar-cnf" in plot.look.categories:
        axes |= {"task": "density", "model": "planar-cnf"}
    if plot.look.categories and "spiral" in plot.look.categories:
        axes["task"] = "toy/spiral"
    if plot.look.categories and "neural CDE" in plot.look.categories:
        axes["task"] = "density"
    names = ("points", "observations", "observed", "rate", "mu", "starts", "missing", "stiffness", "batch_size")
    options = dict.fromkeys(names, 3.0)
    solver = {"solver": "rk4"} if "× rk4 direct" in plot.look.x + plot.look.y else {}
    baseline = evidence(**axes | solver).trial  # its gradient is direct
    paired = Interleaved(baseline=baseline, blocks=10, steps=1, ratios={"step_seconds": 0.5 * scale})
    return evidence(costs=costs, history=[row], profile=[row], options=options, interleaved=paired, **axes)


@pytest.mark.parametrize("plot", EVERY, ids=lambda plot: plot.name)
def test_a_plot_knows_whether_it_shows_a_time(plot):
    """It does if what it reads changes with the times of a record alone."""
    slow, fast = (list(plot.points.of(full(plot, scale))) for scale in (2.0, 1.0))
    assert slow
    assert plot.points.timed == (slow != fast)


@pytest.mark.parametrize(
    ("points", "timed"),
    [
        (each(SECONDS, CALLS), True),
        (each(CALLS, SECONDS, 1e3), True),
        (each(CALLS, CALLS), False),
        (by_axis("rtol", SECONDS), True),
        (by_axis("rtol", CALLS), False),
        (category("task", ("toy/spiral",), quotient(SECONDS, CALLS)), True),
        (category("task", ("toy/spiral",), CALLS), False),
        (rows("history", "epoch", "step_seconds"), True),
        (rows("history", "epoch", "loss"), False),
    ],
)
def test_times_of_a_busy_machine_are_not_drawn_whatever_the_labels_say(points, timed):
    plot = Plot("p", "a plot", points, (), WORDLESS)
    costs, row = {"step_seconds": 0.5, "nfe_forward": 20.0}, {"epoch": 1.0, "loss": 1.0, "step_seconds": 0.5}
    good = evidence(0, costs=costs, history=[row])
    drifted = evidence(1, costs=costs, history=[row], drifted=True)
    shared = evidence(2, costs=costs, history=[row]).model_copy(update={"place": Place(shared=True)})
    (chart,) = draw(plot, "mine", points_by_preset({"": [good, drifted, shared]}))
    assert len(chart.rows) == (1 if timed else 3)
    assert ("Left out: 1 trial (the machine's speed changed during the trial)" in chart.caption) == timed
    assert ("1 trial (other trials ran on its cores)" in chart.caption) == timed
    assert draw(plot, "mine", points_by_preset({"": [drifted, shared]})) == [] or not timed


TRAINING = Plot("d", "over training", rows("history", "epoch", "nfe_probe"), ("model",), WORDLESS)


def trained(seed: int, calls: float, epochs: int = 2, **more) -> Record:
    history = [{"epoch": float(epoch), "nfe_probe": calls} for epoch in range(epochs)]
    return evidence(seed, history=history, **more)


def test_each_preset_has_a_plot_of_its_own():
    records = [trained(0, 20.0), trained(1, 22.0), trained(0, 90.0, preset="smoke"), trained(0, 50.0, preset="paper")]
    charts = {chart.name: chart for chart in draw(TRAINING, "fig3", points_by_preset({"": records}))}
    values = {name: {row[2] for row in chart.rows} for name, chart in charts.items()}
    assert values == {"fig3-d": {20.0, 22.0}, "fig3-d-smoke": {90.0}, "fig3-d-paper": {50.0}}
    for preset, chart in zip(("smoke", "quick", "paper"), charts.values(), strict=True):
        assert f"preset {preset}, n = 1" in chart.caption or f"preset {preset}, n = 2" in chart.caption


@pytest.mark.parametrize("status", [Status.INTERRUPTED, Status.TIMEOUT, Status.ERROR])
def test_a_trial_that_did_not_end_well_is_no_part_of_a_curve(status):
    (chart,) = draw(
        TRAINING, "fig3", points_by_preset({"": [trained(0, 20.0), trained(1, 90.0, epochs=1, status=status)]})
    )
    assert {row[2] for row in chart.rows} == {20.0}
    assert "n = 1 per point. Left out: 1 trial (the trial failed)." in chart.caption


def test_published_records_stand_beside_the_users_own():
    sides = {"": [trained(0, 20.0)], PUBLISHED: [trained(0, 90.0), trained(1, 92.0)]}
    (chart,) = draw(TRAINING, "fig3", points_by_preset(sides))
    values: dict[str, set[float]] = {}
    for label, _, value in chart.rows:
        values.setdefault(label, set()).add(value)
    assert values == {"small": {20.0}, "small, published records": {90.0, 92.0}}


def test_values_of_a_paper_are_drawn_beside_the_series_that_they_belong_to():
    plot = Plot("e", "errors", by_axis("rtol", CALLS), ("model",), WORDLESS, published=(("b", ((1e-3, 5.0),)),))
    records = [evidence(model=model, costs={"nfe_forward": 20.0}) for model in ("a", "b")]
    (chart,) = draw(plot, "mine", points_by_preset({"": records}))
    assert [row[0] for row in chart.rows] == ["a", "b", "b, published"]
    fill = re.compile(r"fill-opacity: 0; stroke: (#\w+)|fill: none; stroke: (#\w+); stroke-dasharray")
    colours = {found for match in fill.findall(chart.drawing.svg) for found in match if found}
    assert colours == {PALETTE[1].lower()}  # that of the second series, b


# --- the whole report


STEPS = {36.0: 0.126, 72.0: 0.063, 288.0: 0.0315}  # calls, and the step sizes of study memory that they stand for
MEMORY = {"epochs": 1, "steps_per_epoch": 2}


def study(seed: int, peak: float, seconds: float, calls: float = 36.0, **more) -> Record:
    return evidence(
        seed,
        study="memory",
        groups=("steps",),
        solver="rk4",
        rtol=None,
        atol=None,
        step_size=STEPS[calls],
        overrides=MEMORY,
        options=MEMORY,
        costs={"nfe_forward": calls, "tensor_peak_bytes": peak, "step_seconds": seconds},
        **more,
    )


def cells(page, name):
    (table,) = [table for table in page.tables if table.name == name]
    return {row[table.header.index("n")].text: [cell.text for cell in row] for row in table.rows}


def test_a_report_keeps_published_records_apart_from_the_users_own():
    own = [study(seed, 1000.0, 0.1) for seed in range(2)]
    others = [study(seed, 9000.0, 0.9, environment=ENVIRONMENT | {"cpu": "another"}) for seed in range(3)]
    pages, verdicts = report(own, lambda _: {}, (), others)
    page = {page.name: page for page in pages}["study-memory"]
    assert "1 kB" in cells(page, "study-memory-toy-spiral")["2"]
    assert "9 kB" in cells(page, "study-memory-toy-spiral-published-records")["3"]
    charts = {chart.name: chart for chart in page.charts}
    assert {row[0] for row in charts["memory-steps"].rows} == {"direct", "direct, published records"}
    index = pages[0].tables[0]
    assert index.header[-1] == "verdict of the published records"
    alone, _ = report(own, lambda _: {})
    assert alone[0].tables[0].header == index.header[:-1]
    assert [row[:-1] for row in index.rows] == alone[0].tables[0].rows
    assert all(set(verdict.records) <= {record.id for record in own} for verdict in verdicts)


def test_a_study_of_published_records_alone_has_a_page_too():
    pages, _ = report([study(0, 1000.0, 0.1)], lambda _: {}, (), [evidence(study="toys", groups=("spiral",))])
    assert {"study-memory", "study-toys"} <= {page.name for page in pages}


def test_a_cell_says_of_how_many_replicates_it_is_where_times_were_left_out():
    records = [study(seed, 1000.0, 0.1, drifted=seed == 0) for seed in range(3)]
    (page,) = [page for page in report(records, lambda _: {})[0] if page.name == "study-memory"]
    (row,) = cells(page, "study-memory-toy-spiral").values()
    assert "100 ms (n = 2)" in row
    assert "1 kB" in row
    assert "times of 1 trial are left out: the machine's speed changed during the trial" in page.blocks[0].items[-1][1]


@pytest.mark.parametrize(("name", "timed"), [("memory", True), ("outputs", False)])
def test_a_study_shows_seconds_only_if_they_matter(name, timed):
    assert load_study(name, Preset.QUICK).timing == timed
    (page,) = study_pages({name: {"": [study(0, 1000.0, 0.1), study(1, 1000.0, 0.1, drifted=True)]}}, lambda _: {})
    (table,) = (block for block in page.blocks if isinstance(block, Table) and block.name.endswith("spiral"))
    assert "NFE fwd" in table.header
    assert ("step" in table.header) == timed
    assert ("times of 1 trial are left out" in page.blocks[0].items[-1][1]) == timed


@pytest.mark.parametrize(("device", "told"), [("cpu", True), ("cuda:0", False)])
def test_a_study_says_what_is_missing_without_an_accelerator(device, told):
    (page,) = study_pages({"devices": {"": [study(0, 1000.0, 0.1, device=device)]}}, lambda _: {})
    words = [block.text for block in page.blocks if isinstance(block, Paragraph)]
    assert any("No record here is from an accelerator" in text for text in words) == told


def test_crossovers_of_two_presets_are_two():
    def both(preset, adjoint):
        return [
            study(
                seed, 100.0 * calls if gradient == "direct" else adjoint, 0.1, calls, gradient=gradient, preset=preset
            )
            for seed in range(2)
            for calls in (36.0, 288.0)
            for gradient in ("direct", "adjoint")
        ]

    pages, _ = report([*both("quick", 5000.0), *both("smoke", 9000.0)], lambda _: {})
    (page,) = [page for page in pages if page.name == "study-memory"]
    headings = [block.text for block in page.blocks if hasattr(block, "text")]
    assert "Crossovers" in headings
    assert "Crossovers, preset smoke" in headings


def test_records_that_a_shipped_study_would_not_ask_for_have_a_page_of_their_own():
    changed = [one.model_copy(update={"options": {**MEMORY, "epochs": 9}}) for one in (study(0, 1000.0, 0.1),)]
    pages, _ = report([study(0, 2000.0, 0.1), *changed], lambda _: {})
    shown = {page.title: page for page in pages if page.group == "studies"}
    assert set(shown) == {"memory", "memory (not as shipped)"}
    assert "do not match the shipped study memory" in shown["memory (not as shipped)"].about
    assert len({chart.name for page in shown.values() for chart in page.charts}) == 4


@pytest.mark.parametrize("logs", ["", "xy"])
@pytest.mark.parametrize("large", [1e308, -1e308, 1.7e308])
def test_values_too_large_for_an_axis_are_not_drawn(logs, large):
    usual = {1.0: [2.0, 3.0], 2.0: [4.0]}
    odd = {1.0: [2.0, 3.0, large], 2.0: [4.0], 3.0: [large], large: [5.0]}
    one, other = (against("a", [Series("s", points)], Look("x", "y", logs)) for points in (usual, odd))
    assert one.svg == other.svg
    assert "<svg" in against("a", [Series("s", {1.0: [large]})], Look("x", "y", logs)).svg


@pytest.mark.parametrize("large", [1e308, -1e308])
@pytest.mark.parametrize("seeds", [1, 6])
def test_results_too_large_for_an_axis_are_not_drawn(large, seeds):
    part = Part("{}", final("test_error"), Arm("euler", {"solver": "dopri5"}), supports=(0.0, 1.0))
    records = [evidence(seed, metrics={"test_error": large if seed < 6 else 0.5}) for seed in range(seeds)]
    (found,) = judge([claim(part)], records)
    assert "<svg" in forest("a", found.results, None, ratio=False).svg


@pytest.mark.parametrize(("refutes", "shaded"), [(((3.0, 5.0),), 1), (((-5.0, -3.0), (3.0, 5.0)), 2), (None, 2)])
def test_a_drawing_of_results_shades_each_range_that_refutes(refutes, shaded):
    part = Part("{}", final("test_error"), Arm("euler", {"solver": "dopri5"}), supports=(0.0, 1.0), refutes=refutes)
    (found,) = judge([claim(part)], [evidence(seed, metrics={"test_error": 0.5 + seed / 10}) for seed in range(5)])
    svg = forest("a", found.results, None, ratio=False).svg
    legend = 1
    assert len(re.findall(rf"fill: {REFUTE}; opacity: 0\.13", svg, re.I)) == shaded + legend
    assert svg.count("refutes the claim") == 1


def test_the_front_has_what_no_other_point_beats_in_both():
    """Against every pair: a median is on the front unless another one is at most as large in both, and less in one."""
    series = [
        Series("a", {1.0: [3.0], 2.0: [0.9, 1.0, 9.0]}),
        Series("b", {1.5: [4.0], 3.0: [2.0]}),
        Series("c", {0.5: [9.0], 1.0: [5.0]}),
    ]
    points = [(0.5, 9.0), (1.0, 3.0), (1.0, 5.0), (1.5, 4.0), (2.0, 1.0), (3.0, 2.0)]
    unbeaten = [(x, y) for x, y in points if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)]
    assert pareto_front(series) == unbeaten
    assert "Pareto front" in against("a", series, Look("x", "y", "xy", joined=False, front=True)).svg


@pytest.mark.parametrize("label", ["a", "adjoint-seminorm, backward rtol 0.001"])
def test_no_label_of_a_legend_is_cut_off(label):
    """Where each text of the drawing begins, against its width, with glyphs at least half as wide as high."""
    series = [Series(f"{label} {i}", {1.0: [1.0], 2.0: [2.0]}) for i in range(8)]
    svg = against("drawing", series, Look("x", "y")).svg
    width = float(re.search(r'viewBox="0 0 ([0-9.]+) ', svg)[1])
    places = [float(x) for x in re.findall(rf'x="([-0-9.]+)"[^>]*>{label} \d<', svg)]
    assert len(places) == 8
    assert min(places) >= 0
    assert max(places) + 9 / 2 * len(f"{label} 0") <= width


def test_a_point_says_what_it_is_while_the_pointer_is_on_it():
    series = [Series("<a>", {1.0: [1.0, 3.0, 2.0], 2.0: [5.0]}), Series("b", {1.0: [4.0]})]
    titles = re.findall(r"<use [^>]*><title>([^<]*)</title></use>", against("drawing", series, Look("h", "error")).svg)
    first = "&lt;a&gt;\nh 1\nerror 2 [1, 3], n = 3"
    assert titles == [first, "&lt;a&gt;\nh 2\nerror 5, n = 1", "b\nh 1\nerror 4, n = 1"]


def test_an_option_that_a_record_is_older_than_is_no_difference():
    """The record of before has no noise; a later one has the value that leaves the task as it was."""
    neutral = frozen_declarations().neutral["mnist"]
    assert neutral["noise"] == 0.0
    plot = Plot("p", "errors", each(final("nfe_forward"), final("test_error")), ("gradient",), WORDLESS)
    axes = {"task": "mnist", "model": "odenet", "costs": {"nfe_forward": 20.0}, "metrics": {"test_error": 0.1}}
    older = evidence(0, options={"batch_size": 64}, **axes)
    later = evidence(1, options={"batch_size": 64, "noise": 0.0}, **axes)
    (chart,) = draw(plot, "mine", points_by_preset({"": [older, later]}))
    assert {label for label, *_ in chart.rows} == {"direct"}
