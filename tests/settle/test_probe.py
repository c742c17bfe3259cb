"""What trials cost of which nothing is known is foreseen before they are measured."""

from nodebench.claims import all_claims
from nodebench.instruments import describe_environment
from nodebench.running.estimate import Costs
from nodebench.settle.candidates import UNKNOWN_SECONDS
from nodebench.settle.settle import SettleSession
from nodebench.spec import DataSource


def test_the_cost_of_unknown_trials_is_foreseen_from_a_few_steps(tmp_path):
    (claim,) = (one for one in all_claims() if one.id == "resnet-is-euler")
    settling = SettleSession(tmp_path, [claim], DataSource(), frozenset(), 1)
    before = settling.candidates(settling.judged(), Costs())[0]
    assert before.seconds == UNKNOWN_SECONDS * len(before.trials)
    seen = []
    settling.run(0.1, lambda one, jobs: False, lambda one, results: seen.append(one), describe_environment())
    (first,) = seen
    assert first.trials == before.trials
    assert 0 < first.seconds < before.seconds / 4  # a smoke trial takes seconds
