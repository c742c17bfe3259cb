from nodebench.running.estimate import Costs, costs_on, estimate
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid, Limits, Record, Status, Study, Trial
from nodebench.store.run_folder import RunFolder
from nodebench.trial.fork_server import start_fork_server
from nodebench.trial.isolation import foresee, run_isolated

MACHINE = {"cpu": "one", "cores": {"usable": 2}}


def trial(**changes) -> Trial:
    return Trial(**({"task": "mnist", "model": "odenet", "solver": "dopri5", "rtol": 1e-3} | changes))


def record(seconds: float, status: Status = Status.OK, **changes) -> Record:
    of = trial(**changes)
    return Record(id=of.id, trial=of, status=status, started="2026-01-01", duration_seconds=seconds)


def test_the_most_alike_decides():
    costs = Costs([record(10), record(30, rtol=1e-5), record(500, model="other")])
    assert costs.of(trial(seed=7)) == (10, True)
    assert costs.of(trial(rtol=1e-7)) == (20, False)  # the same solver at other tolerances
    assert costs.of(trial(solver="rk4")) == (20, False)  # the same model
    assert costs.of(trial(model="third")) == (30, False)  # the same task
    assert costs.of(trial(task="ecg")) is None
    assert costs.of(trial(overrides={"epochs": 1})) is None


def test_the_time_of_an_eager_trial_is_not_known_for_a_compiled_one():
    costs = Costs([record(3)])
    assert costs.of(trial(compile="solver")) == (3, False)
    assert costs.of(trial(batching="each")) == (3, False)
    assert costs.of(trial(gradient="checkpoint", segments=4)) == (3, False)
    # Trials that differ in numbers alone are more alike than those that are solved otherwise.
    costs.add(record(40, compile="solver", rtol=1e-5))
    assert costs.of(trial(compile="solver")) == (40, False)


def test_what_is_learned_of_a_trial_alone_says_nothing_of_others():
    costs = Costs()
    costs.learn(trial(rtol=1e-7), 3600, alone=True)
    assert costs.of(trial(rtol=1e-7, seed=3)) == (3600, True)
    assert costs.of(trial(rtol=1e-3)) is None


def test_an_interrupted_trial_says_nothing_and_a_slow_failure_does():
    assert Costs([record(1, Status.INTERRUPTED)]).of(trial()) is None
    assert Costs([record(0, Status.CRASHED)]).of(trial()) is None
    assert Costs([record(600, Status.TIMEOUT)]).of(trial()) == (600, True)


def test_an_estimate_adds_up_and_says_what_it_rests_on():
    costs = Costs([record(10), record(20, model="deep")])
    found = estimate([trial(), trial(seed=1), trial(model="deep"), trial(solver="rk4"), trial(task="ecg")], costs)
    assert (found.known, found.guessed, found.unknown) == (3, 1, 1)
    assert found.seconds == 10 + 10 + 20 + 10 + 12.5
    assert estimate([trial()], Costs()).unknown == 1


def test_only_records_of_this_machine_count(tmp_path):
    study = Study(groups={"typed": Grid(task="mnist")})
    RunFolder.create(tmp_path, study, MACHINE).append(record(10))
    RunFolder.create(tmp_path, study, MACHINE | {"cpu": "another"}).append(record(99))
    assert costs_on(MACHINE, tmp_path).of(trial()) == (10, True)
    assert costs_on({"cpu": "third"}, tmp_path).of(trial()) is None
    assert costs_on(MACHINE, tmp_path / "nowhere").of(trial()) is None


def test_a_run_that_cannot_be_read_is_no_reason_to_stop(tmp_path):
    study = Study(groups={"typed": Grid(task="mnist")})
    good, bad, torn = (RunFolder.create(tmp_path, study, MACHINE) for _ in range(3))
    good.append(record(10))
    (bad.folder / "records.jsonl").write_text("nonsense\n")
    (torn.folder / "environment.json").write_text("{")
    assert costs_on(MACHINE, tmp_path).of(trial()) == (10, True)


def test_a_probe_foresees_a_trial_within_a_factor():
    """Against the trial itself; its seconds are sleep, so that the machine has no say."""
    start_fork_server()
    overrides = {"fault": "none", "seconds": 0.002}
    grid = Grid(task="test/faults", preset="smoke", solver="rk4", overrides=overrides, threads=1)
    (one,), _ = multiply(grid, DataSource())
    foreseen = foresee(one, DataSource())
    taken, _ = run_isolated(one, Limits(), DataSource(), lambda progress: None)
    assert 0.3 < foreseen / taken.duration_seconds < 3
    (failing,), _ = multiply(grid.model_copy(update={"overrides": {"fault": ["raise"]}}), DataSource())
    assert foresee(failing, DataSource()) is None
