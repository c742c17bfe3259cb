"""Measuring for a recommendation within a time."""

import time
from pathlib import Path

import pytest
from evidence import evidence

from nodebench import recommend, run
from nodebench.analysis.recommend import Limits, Present, problems
from nodebench.analysis.recommend import recommend as recommend_from
from nodebench.api.recommend_records import Asked
from nodebench.api.recommend_within import contenders, measured_within
from nodebench.errors import BadInput
from nodebench.running.listener import Listener
from nodebench.running.plan import plan
from nodebench.running.repeat import grid_of
from nodebench.running.session import Execution, _time_limit, run_more
from nodebench.spec import Study
from nodebench.store.run_folder import RunFolder

QUIET = {"threads": 1, "passes": ["training"], "timing": False, "progress": False}


def answer_of(seconds: dict[str, list[float]], error: float | None = None):
    """Of solvers with these seconds, by seed, under a limit of error."""
    records = [
        evidence(seed, solver=solver, costs={"step_seconds": one, "gradient_error": 1e-4, "tensor_peak_bytes": 1000.0})
        for solver, some in seconds.items()
        for seed, one in enumerate(some)
    ]
    (problem, *_) = problems(records, {}, Present())
    return recommend_from(problem, Limits(error=error))


def names(answer, replicates: int) -> set[str]:
    return {str(one.record.trial.solver) for one in contenders(answer, replicates)}


def test_what_is_nearly_as_fast_is_measured_again_and_what_is_slow_is_not():
    answer = answer_of({"dopri5": [1.0], "bosh3": [1.2], "rk4": [3.0]})
    assert names(answer, 1) == {"dopri5", "bosh3"}


def test_the_runner_up_is_measured_again_however_slow():
    assert names(answer_of({"dopri5": [1.0], "rk4": [9.0]}), 1) == {"dopri5", "rk4"}


def test_a_choice_that_is_sure_is_measured_no_more():
    seconds = {"dopri5": [1.0, 1.01, 1.02], "bosh3": [1.3, 1.31, 1.33]}
    assert names(answer_of({name: some[:2] for name, some in seconds.items()}), 2) == {"dopri5", "bosh3"}
    assert names(answer_of(seconds), 3) == set()


def test_nothing_is_measured_again_where_nothing_meets_the_limits():
    assert names(answer_of({"dopri5": [1.0], "rk4": [2.0]}, error=1e-9), 1) == set()


def within(seconds: float) -> Execution:
    return Execution(Path("results"), until=time.monotonic() + seconds)


def test_a_session_is_stopped_when_the_time_is_up():
    stopped = []
    with _time_limit(lambda: stopped.append(time.monotonic()), within(0.05)):
        while not stopped:
            time.sleep(0.01)


def test_a_session_that_ends_in_time_is_not_stopped():
    stopped = []
    how = within(0.2)
    with _time_limit(lambda: stopped.append(1), how):
        pass
    while how.seconds_left > -0.1:
        time.sleep(0.02)
    assert stopped == []


class Heard(Listener):
    """Keeps the summaries of the user's data."""

    def __init__(self):
        self.summaries = []

    def data_read(self, summary):
        self.summaries.append(summary)


def test_the_summary_of_the_users_data_is_shown(tmp_path):
    heard = Heard()
    data = Path(__file__).parents[1] / "own_series.csv"
    asked = Asked(task="series", options={"time": ["t"], "id": ["who"]}, threads=1, data=data)
    with pytest.raises(BadInput, match="the time ran out before any trial finished"):
        measured_within(asked, ["rk4"], 1e-4, Limits(), tmp_path, heard)
    assert len(heard.summaries) == 1
    assert "own_series.csv" in heard.summaries[0]


def test_time_that_is_up_at_once_is_told(tmp_path):
    with pytest.raises(BadInput, match="the time ran out before any trial finished"):
        recommend("toy/spiral", minutes=0.001, solver=["rk4"], threads=1, results=tmp_path, progress=False)


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_are_positive(tmp_path, minutes):
    with pytest.raises(BadInput, match="must be a positive number"):
        recommend("toy/spiral", minutes=minutes, results=tmp_path, progress=False)


def test_repeats_in_a_run_count_among_its_trials(tmp_path):
    first = run("toy/exponential", solver="euler", options={"solves": 1}, preset="smoke", results=tmp_path, **QUIET)
    folder = RunFolder(first.folder)
    again = Study(groups={"typed": grid_of(first.records[0].trial).model_copy(update={"seed": [1]})})
    session = run_more(folder, folder.study(), plan(again).planned, Execution(tmp_path), Listener())
    assert (session.finished, session.planned) == (2, 2)


@pytest.mark.slow
def test_every_candidate_is_measured_and_the_contenders_again(tmp_path):
    """The choice and the runner-up have three replicates or more, in one run, and the answer is plain data."""
    done = recommend(
        "toy/spiral",
        minutes=120,  # more than a busy machine needs
        solver=["rk4"],
        threads=1,
        options={"steps_per_epoch": 2},
        results=tmp_path,
        progress=False,
    )
    assert done.unmeasured == 0
    assert len(list(tmp_path.iterdir())) == 1
    by_name = {one.name: len(one.configuration.records) for one in done.answer.candidates}
    assert min(by_name.values()) >= 1
    if done.choice is not None and len(contenders(done.answer, 1)) > 1:
        assert by_name[done.choice] >= 3
    told = done.as_dict()
    assert told["choice"] == done.choice
    assert [row["name"] for row in told["candidates"]] == [one.name for one in done.answer.candidates]
    assert told["code"] is None or "odeint" in told["code"]
