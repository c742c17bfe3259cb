"""What an adapter returns is checked, whoever wrote it."""

from itertools import pairwise

import pytest
import torch
from problems import Network

from nodebench.instruments import NfeCounter
from nodebench.solvers import Integrator, Method, SolverAdapter, StepControl
from nodebench.spec import Gradient, SolveFailed, Status

WRONG = {
    "transposed": lambda states: states.transpose(0, 1),
    "of another dtype": lambda states: states.double(),
    "of the end alone": lambda states: states[-1],
    "of one time too many": lambda states: torch.cat([states, states[-1:]]),
    "no tensor": lambda states: states.tolist(),
    "nothing": lambda states: None,
}


class Euler(SolverAdapter):
    """One step of Euler's method for each interval, and then a mistake."""

    backend = "mine"
    source = "the tests"
    gradients = frozenset({Gradient.DIRECT})

    def __init__(self, mistake):
        self._mistake = mistake

    def methods(self):
        return {"euler": Method("Euler's method", order=1, adaptive=False)}

    def solve(self, field, y0, times, control):
        states = [y0]
        for start, end in pairwise(times):
            states.append(states[-1] + (end - start) * field(start, states[-1]))
        return self._mistake(torch.stack(states))


def solve(mistake) -> torch.Tensor:
    return Integrator(Euler(mistake), StepControl("euler"), NfeCounter())(
        Network(), torch.ones(4, 3), torch.tensor([0.0, 0.5, 1.0])
    )


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_result_is_an_error_of_the_adapter(mistake):
    with pytest.raises(SolveFailed, match=r"the adapter of backend mine returned .*expected \(3, 4, 3\)") as failed:
        solve(WRONG[mistake])
    assert failed.value.status is Status.ERROR


def test_a_right_result_is_handed_on():
    assert solve(lambda states: states).shape == (3, 4, 3)
