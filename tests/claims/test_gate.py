"""The competence gate, and the sampling error of a shared test set."""

import math
from base64 import b64encode

import numpy as np
import pytest
from evidence import claim, evidence

from nodebench.analysis.readings import final
from nodebench.claims import Verdict, judge
from nodebench.claims.contract import Arm, Gate, Part
from nodebench.claims.gate import fall_at_the_end
from nodebench.claims.outcome import WhyCode
from nodebench.claims.words import competence
from nodebench.spec.record import DataCard

ODE, RES, MLP = Arm("ODE-Net", {"model": "odenet"}), Arm("ResNet", {"model": "resnet"}), Arm("MLP", {"model": "mlp"})
WORSE = Part("{} more", final("test_error"), ODE, RES, "difference", supports=(-1.0, 1.0), unit="points", test_set=True)
GATE = Gate(final("test_error"), MLP)
FLAT = [{"epoch": float(e), "loss": 0.1} for e in range(1, 9)]


def networks(errors: dict[str, float], items: int = 10_000, history=FLAT, wrong=None, seeds: int = 10) -> list:
    """Records of several networks, whose errors vary a little over seeds."""
    return [
        evidence(
            seed,
            model=model,
            metrics={"test_error": error + 0.02 * (seed % 3)},
            history=history,
            data_card=DataCard(name="digits", train=1, test=items, sha256="0"),
            wrong=wrong(model, seed) if wrong else None,
        )
        for seed in range(seeds)
        for model, error in errors.items()
    ]


def judged(records, part=WORSE, gate=GATE):
    return judge([claim(part, gate=gate)], records)[0]


def test_networks_that_beat_the_plain_one_are_judged():
    assert judged(networks({"odenet": 2.5, "resnet": 2.4, "mlp": 5.0})).verdict is Verdict.SUPPORTED


@pytest.mark.parametrize("bad", ["odenet", "resnet"])
def test_a_network_worse_than_the_plain_one_is_not_tested_with_that_reason(bad):
    found = judged(networks({"odenet": 2.5, "resnet": 2.4, "mlp": 3.0} | {bad: 6.0}))
    assert (found.verdict, found.why.code) == (Verdict.NOT_TESTED, WhyCode.INCOMPETENT)
    assert "worse than the MLP (3.02)" in found.why.message


def test_without_the_plain_network_competence_is_unknown():
    found = judged(networks({"odenet": 2.5, "resnet": 2.4}))
    assert (found.verdict, found.why.code) == (Verdict.NOT_TESTED, WhyCode.NO_BASELINE)


def test_a_training_that_is_not_over_is_not_tested():
    falling = [{"epoch": float(e), "loss": 0.9**e} for e in range(1, 9)]
    found = judged(networks({"odenet": 2.5, "resnet": 2.4, "mlp": 5.0}, history=falling))
    assert (found.verdict, found.why.code) == (Verdict.NOT_TESTED, WhyCode.STILL_TRAINING)
    assert "still fell by 10 %" in found.why.message


def test_a_claim_may_be_judged_on_networks_that_still_train_but_not_on_bad_ones():
    falling = [{"epoch": float(e), "loss": 0.9**e} for e in range(1, 9)]
    gate = Gate(final("test_error"), limit=5.0, still_falling=math.inf)
    found = judged(networks({"odenet": 2.5, "resnet": 2.4}, history=falling), gate=gate)
    assert found.verdict is Verdict.SUPPORTED
    bad = judged(networks({"odenet": 6.5, "resnet": 6.4}, history=falling), gate=gate)
    assert (bad.verdict, bad.why.code) == (Verdict.NOT_TESTED, WhyCode.INCOMPETENT)
    assert competence(gate) == "networks whose test error is at most 5.00 % (means over the replicates of an arm)"


@pytest.mark.parametrize(("fall", "verdict"), [(0.002, Verdict.SUPPORTED), (0.004, Verdict.NOT_TESTED)])
def test_a_loss_with_a_floor_above_nothing_has_a_bound_of_its_own(fall, verdict):
    nats = [{"epoch": float(e), "loss": 3.0 * (1 - fall) ** e} for e in range(1, 9)]
    gate = Gate(final("test_error"), still_falling=0.003)
    assert judged(networks({"odenet": 2.5, "resnet": 2.4}, history=nats), gate=gate).verdict is verdict


def test_a_limit_takes_the_place_of_a_plain_network():
    part = Part("{}", final("test_error"), ODE, supports=(-math.inf, 3.0))
    records = networks({"odenet": 2.5})
    assert judged(records, part, Gate(final("test_error"), limit=2.6)).verdict is Verdict.SUPPORTED
    assert judged(records, part, Gate(final("test_error"), limit=2.4)).why.code is WhyCode.INCOMPETENT
    assert judged(records, part, Gate(final("test_error"))).verdict is Verdict.SUPPORTED


def test_a_loss_at_its_floor_may_still_halve():
    halving = [{"epoch": float(e), "loss": 2.0 / 4**e} for e in range(8)]
    assert judged(networks({"odenet": 2.5, "resnet": 2.4, "mlp": 5.0}, history=halving)).verdict is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        ([1.0, 0.5, 0.4], (0.2, 0.1)),  # the last of three epochs
        ([1.0] * 10 + [0.5] * 8 + [0.4, 0.2, 0.2], (0.25 / 0.45, 0.25)),  # the last two of twenty-one
        ([1.0], None),
        ([], None),
        ([-1.0, -1.5], (0.5, 0.5)),  # a negative loss that falls
    ],
)
def test_the_fall_of_the_loss_is_that_of_the_last_tenth(losses, falls):
    record = evidence(history=[{"epoch": float(i + 1), "loss": loss} for i, loss in enumerate(losses)])
    assert fall_at_the_end(record) == (None if falls is None else pytest.approx(falls))


# --- the shared test set


def packed(wrong: np.ndarray) -> str:
    return b64encode(np.packbits(wrong).tobytes()).decode()


def test_the_test_sets_own_error_widens_the_interval_and_does_not_shrink_with_seeds():
    """Two networks, wrong on 30 and 40 of 1,000 items, none in common, the same ones at each seed."""
    first, second = np.zeros(1000, bool), np.zeros(1000, bool)
    first[:30], second[30:70] = True, True

    def wrong(model, seed):
        return packed(first if model == "odenet" else second)

    part = WORSE.__class__(**{**vars(WORSE), "supports": (-5.0, 5.0)})
    for seeds in (10, 40):
        records = networks({"odenet": 3.0, "resnet": 4.0, "mlp": 9.0}, items=1000, wrong=wrong, seeds=seeds)
        sample = judged(records, part).results[0].sample
        difference = np.where(first, 1.0, 0.0) - np.where(second, 1.0, 0.0)
        assert sample.test_set_error == pytest.approx(100 * difference.std(ddof=1) / math.sqrt(1000))
        assert sample.resolution == pytest.approx(0.1)


def test_without_items_the_error_is_at_least_that_of_the_images_on_which_the_networks_must_disagree():
    records = networks({"odenet": 3.0, "resnet": 4.0, "mlp": 9.0}, items=1000)
    sample = judged(records).results[0].sample
    assert sample.test_set_error == pytest.approx(100 * math.sqrt(0.01 / 1000), rel=1e-6)


def test_the_interval_covers_the_error_of_another_test_set():
    """Simulation: errors measured on one test set of 1,000 items, truth known; intervals cover it 95 % of the time."""
    rng = np.random.default_rng(0)
    covered, draws = 0, 200
    for _ in range(draws):
        hard = rng.random(1000)  # each item's difficulty, drawn anew with the test set
        records = []
        for seed in range(10):
            for model, rate in (("odenet", 0.05), ("resnet", 0.05), ("mlp", 0.9)):
                wrong = hard < rate if model == "mlp" else (hard < rate * 0.6) | (rng.random(1000) < rate * 0.4)
                records.append(
                    evidence(
                        seed,
                        model=model,
                        metrics={"test_error": 100 * wrong.mean()},
                        history=FLAT,
                        data_card=DataCard(name="digits", train=1, test=1000, sha256="0"),
                        wrong=packed(wrong),
                    )
                )
        found = judged(records).results[0].estimate
        covered += found.low <= 0 <= found.high
    assert covered / draws > 0.95


@pytest.mark.parametrize("known", [True, False])
def test_the_interval_of_a_density_covers_the_error_of_its_test_points(known):
    """Simulation: flows 0.1 nats above the truth on average, tested on one draw of 400 points for all seeds."""
    rng = np.random.default_rng(0)
    excess = Part("{} nats", final("excess_nats"), Arm("flow", {}), supports=(-math.inf, 0.05))
    covered, draws = 0, 200
    for _ in range(draws):
        points = 0.1 + rng.standard_normal(400)  # of each test point
        records = []
        for seed in range(10):
            gaps = points + 0.05 * rng.standard_normal(400)
            error = {"excess_nats_error": gaps.std(ddof=1) / 20} if known else {}
            records.append(evidence(seed, metrics={"excess_nats": gaps.mean(), **error}))
        found = judge([claim(excess)], records)[0].results[0].estimate
        covered += found.low <= 0.1 <= found.high
    assert covered / draws > 0.95 if known else covered / draws < 0.3


def test_the_errors_of_two_flows_are_added():
    nats = Part("{} more", final("nats"), ODE, RES, "difference", supports=(-math.inf, 0.0))
    errors = {"odenet": 0.03, "resnet": 0.04}
    records = [
        evidence(seed, model=model, metrics={"nats": 1 + seed / 100, "excess_nats_error": error})
        for seed in range(5)
        for model, error in errors.items()
    ]
    assert judge([claim(nats)], records)[0].results[0].sample.test_set_error == pytest.approx(0.05)
