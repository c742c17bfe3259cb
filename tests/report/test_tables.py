import io
import sys

import pytest
from evidence import evidence
from rich.console import Console

from nodebench.analysis.summary import configurations
from nodebench.cli.show import print_run
from nodebench.errors import BadInput
from nodebench.reporting.published import published
from nodebench.reporting.tables import run_table, summary
from nodebench.spec import Failure, Measured, Record, Status, Trial
from nodebench.spec.record import Place, Resumed


def record(seed: int, status: Status = Status.OK, version: str = "1.0", **changes) -> Record:
    trial = Trial(task="toy/spiral", model="small", seed=seed, overrides=changes.pop("overrides", {}))
    failure = None if status is Status.OK else Failure(phase="timed", message=f"failed at seed {seed}")
    costs = changes.pop("costs", {"step_seconds": 0.25})
    known = {"started": f"2026-01-{1 + seed:02d}", "duration_seconds": 2.0, "environment": {"nodebench": version}}
    return Record(id=trial.id, trial=trial, status=status, costs=costs, failure=failure, **(known | changes))


def text(renderable) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def table(records) -> str:
    return text(run_table(records, {}, Console(width=120)))


def test_rows_stand_in_the_order_of_what_was_asked_for():
    records = [record(seed, place=Place(number=9 - seed)) for seed in range(3)]
    rows = [line.split() for line in table(records).splitlines() if line.strip().startswith("small")]
    assert [row[1] for row in rows] == ["2", "1", "0"]


def test_records_of_another_version_than_the_latest_are_marked():
    assert "†" not in table([record(0), record(1)])
    rows = table([record(0, version="0.9"), record(1)]).splitlines()
    assert [("†" in row) for row in rows if "small" in row] == [True, False]
    assert any(row.startswith("† measured by another version") for row in rows)


def test_seconds_on_shared_cores_are_marked():
    rows = table([record(0, place=Place(shared=True)), record(1)]).splitlines()
    assert [("250 ms*" in row) for row in rows if "small" in row] == [True, False]
    assert any(row.startswith("* other trials ran on the same cores") for row in rows)


def test_drifted_seconds_are_marked_and_nothing_else_is():
    costs = {"step_seconds": 0.25, "nfe_forward": 20.0}
    rows = table([record(0, drifted=True, costs=costs), record(1, costs=costs)]).splitlines()
    assert [("250 ms~" in row) for row in rows if "small" in row] == [True, False]
    assert not any("20~" in row for row in rows)
    assert any(row.startswith("~ the machine's speed changed") for row in rows)
    assert "~" not in table([record(0), record(1)])


def test_seconds_of_resumed_trials_are_marked():
    costs = {"step_seconds": 0.25, "nfe_forward": 20.0}
    rows = table([record(0, resumed=Resumed(times=1, seconds=9.0), costs=costs), record(1, costs=costs)]).splitlines()
    assert [("250 ms^" in row) for row in rows if "small" in row] == [True, False]
    assert not any("20^" in row for row in rows)
    assert any(row.startswith("^ this trial was resumed from a checkpoint") for row in rows)


def test_records_of_two_machines_say_which_one_they_are_of():
    one, two = ({"nodebench": "1.0", "cpu": cpu, "cores": {"usable": 2}} for cpu in ("slow", "fast"))
    rows = table([record(0, environment=one), record(1, environment=two), record(2, environment=one)]).splitlines()
    assert [row.split()[1] for row in rows if row.strip().startswith("small")] == ["A", "B", "A"]
    assert any(row.startswith("machines whose times cannot be compared: A: slow, 2 cores; B: fast") for row in rows)
    assert "machine" not in table([record(0, environment=one), record(1, environment=one)])


def test_options_that_differ_are_columns_and_the_others_stand_in_the_title():
    records = [record(0, overrides={"epochs": 1, "noise": noise}, options={"noise": noise}) for noise in (0.0, 0.1)]
    title, columns = table(records).split("model", 1)
    assert "epochs=1" in title
    assert "noise" not in title
    assert "noise" in columns


def test_a_row_costs_little_however_many_there_are():
    """Calls of functions, which do not depend on the machine: measuring all cells a dozen times took 30,000 a row."""
    records = [record(0, overrides={"n": n}) for n in range(200)]
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        shown = table(records)
    finally:
        sys.setprofile(None)
    assert sum(" 250 ms" in line for line in shown.splitlines()) == 200
    assert calls < 2000 * len(records)


def test_a_message_of_megabytes_is_cut_where_it_is_shown():
    failed = record(0, Status.ERROR)
    failed = failed.model_copy(update={"failure": Failure(message="words " * 1_000_000)})
    assert len(table([failed])) < 5000


def test_a_large_run_ends_with_a_summary_and_its_first_failures(capsys, tmp_path):
    statuses = [Status.TIMEOUT] * 15 + [Status.OK] * 35
    records = [record(i % 28, status, overrides={"n": i}) for i, status in enumerate(statuses)]
    shown = text(summary(records))
    assert "timeout" in shown
    assert "15" in shown
    assert shown.count("failed at seed") == 10
    assert "… and 5 more" in shown
    print_run(tmp_path, records, whole=False)
    assert "Full table: nodebench show" in capsys.readouterr().out


METRICS = {
    "nfe_forward": 20.0,
    "step_seconds": 0.25,
    "tensor_peak_bytes": 5e6,
    "solution_error": 1e-6,
    "vjp_calls": 8.0,
}


def narrow(records, width: int, columns=()) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(run_table(records, {"toy/spiral": ("loss",)}, console, columns))
    return console.export_text()


def test_columns_that_do_not_fit_are_named():
    assert "more column" not in narrow([record(0, costs=METRICS)], 120)
    text = " ".join(narrow([record(0, costs=METRICS)], 36).split())
    assert "3 more columns: sol. error, VJPs, trial; nodebench show --columns all" in text


def test_columns_that_are_asked_for_are_shown_alone_or_all():
    one = record(0, costs=METRICS, metrics={"loss": 3.0})
    heads = narrow([one], 200, ["solution_error"])
    assert ("1e-06" in heads, "250 ms" in heads) == (True, False)
    assert all(word in narrow([one], 200, ["all"]) for word in ("1e-06", "250 ms", "5 MB", "trial"))
    with pytest.raises(BadInput, match=r"no column named 'sol_error'; did you mean solution_error\?"):
        narrow([one], 200, ["sol_error"])


def test_a_problem_of_the_users_own_shows_its_metrics_and_errors_first():
    own = Measured(modules={"mine.py": "0" * 16}, packages={}, state="0" * 16)
    records = [record(0, costs=METRICS, metrics={"loss": 1.0, "parameters": 3.0, "accuracy": 0.75}, measured=own)]
    header = next(line for line in narrow(records, 200).splitlines() if "model" in line)
    words = header.split()
    assert words.index("accuracy") < words.index("fwd") < words.index("error") < words.index("step")
    assert "params" not in words


@pytest.mark.parametrize("overrides", [{"observations": 100}, {}])
def test_a_published_value_is_found_whether_the_option_was_typed_or_is_the_default(overrides):
    options = {"observations": 100, "variant": "paper"}
    one = evidence(task="latent-spirals", model="rnn", overrides=overrides, options=options)
    (found,) = configurations([one])
    assert published("table2", "extrapolation_rmse", found.axis) == 0.1813
