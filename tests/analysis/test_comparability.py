"""Trials that differ in one axis never share a row, an estimate, a label or a line."""

import io

import pytest
from evidence import BASE, DIFFERING, ENVIRONMENT, evidence
from rich.console import Console

from nodebench.analysis.comparability import differences, largest
from nodebench.analysis.compare_runs import compare
from nodebench.analysis.crossovers import at_equal_error
from nodebench.analysis.fairness import Point
from nodebench.analysis.readings import final
from nodebench.analysis.reproduction import Replicates
from nodebench.analysis.summary import by_study, configurations, varying
from nodebench.reporting.charts import Look
from nodebench.reporting.study_charts import Plot, draw, each, points_by_preset
from nodebench.reporting.study_pages import study_pages
from nodebench.reporting.tables import run_table
from nodebench.running.estimate import Costs
from nodebench.spec import Trial

SECONDS, ERROR = final("step_seconds"), final("solution_error")
OTHER_MACHINE = ENVIRONMENT | {"cpu": "another processor"}
each_axis = pytest.mark.parametrize("axis", DIFFERING)


def pair(axis: str, **more):
    """Two records that differ in one axis."""
    records = []
    for value, seconds in ((None, 0.25), (DIFFERING[axis], 0.5)):
        axes = BASE if value is None else BASE | {axis: value}
        costs = {"step_seconds": seconds, "solution_error": 1e-3, "nfe_forward": 20.0}
        options = {"noise": 0.0} | axes.get("overrides", {})
        records.append(evidence(study="mine", costs=costs, options=options, **axes, **more))
    return records


@each_axis
def test_they_are_two_configurations_that_their_axes_tell_apart(axis):
    found = configurations(pair(axis))
    names = varying(found)
    assert len(found) == 2
    assert len({tuple(one.axis(name) for name in names) for one in found}) == 2


@each_axis
def test_they_are_two_rows_of_a_page(axis):
    (page,) = study_pages({"mine": {"": pair(axis)}}, lambda _: {})
    tables = [table for table in page.tables if "failures" not in table.name]
    rows = [tuple(cell.text for cell in row[: table.header.index("n")]) for table in tables for row in table.rows]
    captions = [table.caption for table in tables for _ in table.rows]
    assert len(set(zip(captions, rows, strict=True))) == 2
    assert {cell.text for table in tables for row in table.rows for cell in row} >= {"250 ms", "500 ms"}


@each_axis
def test_they_are_two_rows_in_the_terminal(axis):
    records = [record.model_copy(update={"costs": {}}) for record in pair(axis)]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(run_table(records, {}, console))
    text = console.export_text()
    rows = [line.strip() for line in text.splitlines() if line.strip().startswith(("small", "deep"))]
    titles = {line for line in text.splitlines() if " · preset quick" in line}
    assert len(rows) == 2
    assert len(set(rows)) == 2 or len(titles) == 2


@each_axis
def test_one_says_nothing_sure_of_the_time_of_the_other(axis):
    trial = Trial(**(BASE | {axis: DIFFERING[axis]}))
    costs = Costs([evidence(**BASE)])
    assert costs.knows(Trial(**BASE, seed=7))
    assert not costs.knows(trial)


@each_axis
def test_two_runs_compare_them_under_two_names(axis):
    found = compare(pair(axis), pair(axis))
    assert len({change.configuration for change in found.changes}) == 2
    assert all(change.configuration for change in found.changes)


PLOT = Plot("p", "a plot", each(ERROR, SECONDS), (), Look("error", "s"))


@each_axis
def test_no_line_of_a_plot_joins_them(axis):
    series = {row[0] for chart in draw(PLOT, "mine", points_by_preset({"": pair(axis)})) for row in chart.rows}
    if axis == "preset":  # not even one plot
        assert len(draw(PLOT, "mine", points_by_preset({"": pair(axis)}))) == 2
    else:
        assert len(series) == 2


@each_axis
def test_no_curve_of_a_comparison_joins_them(axis):
    """Five records of one kind and one of another: the one is no point of the curve of the five."""
    base = [Point.of(pair(axis, seed=seed)[0]) for seed in range(5)]
    odd = Point.of(pair(axis)[1])
    assert largest([odd, *base], (), machines=False) == base


def test_a_tolerance_may_follow_the_axis_that_a_line_runs_over():
    line = [Point.of(evidence(**(BASE | {"rtol": r, "atol": 1e-2 * r}))) for r in (1e-3, 1e-5, 1e-7)]
    fixed = [Point.of(evidence(**(BASE | {"rtol": r}))) for r in (1e-3, 1e-5, 1e-7)]
    assert differences(line, ("rtol", "adjoint_rtol", "adjoint_atol"), machines=False) == []
    assert differences(fixed, ("rtol", "adjoint_rtol", "adjoint_atol"), machines=False) == []
    tight = Point.of(evidence(**(BASE | {"rtol": 1e-5, "atol": 1e-10})))
    (found,) = differences([*line, tight], ("rtol",), machines=False)
    assert {found.describe(point) for point in [*line, tight]} == {"atol 0.01 × rtol", "atol 1e-5 × rtol"}
    assert largest([tight, *line], ("rtol",), machines=False) == line


def test_a_ratio_at_equal_error_rests_on_one_kind_of_trial():
    def curve(gradient, factor, **more):
        return [
            evidence(gradient=gradient, rtol=r, costs={"solution_error": r, "step_seconds": factor * r**-0.2}, **more)
            for r in (1e-3, 1e-5, 1e-7)
        ]

    arms = ({"gradient": "adjoint"}, {"gradient": "direct"})
    good = [*curve("adjoint", 3.0), *curve("direct", 1.0)]
    odd = [one for axis in ("threads", "dtype") for one in curve("adjoint", 50.0, **{axis: DIFFERING[axis]})]
    odd += curve("direct", 50.0, batching="worst")[:2]
    assert at_equal_error([*good, *odd[:2]], ERROR, SECONDS, arms).value == pytest.approx(3.0)
    assert at_equal_error([*odd[6:], *good, *odd[:2]], ERROR, SECONDS, arms).value == pytest.approx(3.0)


def seconds(machine, values):
    return [
        evidence(seed, study="mine", costs={"step_seconds": value, "solution_error": 1e-3}, environment=machine)
        for seed, value in enumerate(values)
    ]


def test_seconds_of_two_machines_are_never_pooled():
    records = [*seconds(ENVIRONMENT, (0.033, 0.033)), *seconds(OTHER_MACHINE, (0.332, 0.332, 0.332))]
    found = configurations(records)
    assert [one.values("step_seconds") for one in found] == [[0.033] * 2, [0.332] * 3]
    assert varying(found) == ["machine"]
    assert [len(some) for some in by_study(records).values()] == [5]
    (page,) = study_pages({"mine": {"": records}}, lambda _: {})
    cells = [[cell.text for cell in row] for row in page.tables[0].rows]
    assert [row[:3] for row in cells] == [["a processor", "2", "33 ms"], ["another processor", "3", "332 ms"]]
    (chart,) = draw(PLOT, "mine", points_by_preset({"": records}))
    assert {row[0] for row in chart.rows} == {"a processor", "another processor"}


def test_machines_do_not_part_what_is_no_time():
    plot = Plot("p", "a plot", each(ERROR, ERROR), (), Look("error", "error"))
    records = [*seconds(ENVIRONMENT, (0.033,)), *seconds(OTHER_MACHINE, (0.332,))]
    (chart,) = draw(plot, "mine", points_by_preset({"": records}))
    assert {row[0] for row in chart.rows} == {"measured"}


def test_cores_make_another_machine():
    two, one = (ENVIRONMENT | {"cores": {"usable": cores}} for cores in (2, 1))
    found = configurations([*seconds(two, (0.1,)), *seconds(one, (0.2,))])
    assert [c.axis("machine") for c in found] == ["a processor, 2 cores", "a processor, 1 core"]


def test_a_run_of_two_machines_is_compared_machine_by_machine():
    before = [*seconds(ENVIRONMENT, (0.1, 0.1)), *seconds(OTHER_MACHINE, (0, 0, 0.9, 0.9))[2:]]
    after = [*seconds(ENVIRONMENT, (0.1, 0.1, 0.4)), *seconds(OTHER_MACHINE, (0, 0, 0, 0.9))[3:]]
    found = {one.configuration: one.first for one in compare(before, after).changes if one.metric.is_time}
    assert found == {
        "machine a processor": (0.1, 0.1),
        "machine another processor → a processor": (0.9,),
        "machine another processor": (0.9,),
    }


def test_replicates_of_another_machine_are_no_replicates():
    records = [*seconds(ENVIRONMENT, (0.1, 0.2)), *seconds(OTHER_MACHINE, (0.9, 0.9, 0.9))]
    replicates = Replicates(records)
    assert [r.costs["step_seconds"] for r in replicates.of(records[0])] == [0.1, 0.2]
    assert [r.costs["step_seconds"] for r in replicates.of(records[2])] == [0.9] * 3
