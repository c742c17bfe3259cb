"""What becomes of a task whose result cannot be fetched."""

import pytest
from distributed.comm import CommClosedError

from nodebench.errors import RunAborted
from nodebench.running.engines.dask import _outcome
from nodebench.spec import Limits, Trial


class Finished:
    """A future of a scheduler that is lost after the task ended and before its result has arrived."""

    status = "finished"

    def result(self):
        raise CommClosedError("Connection reset by peer")


def test_a_scheduler_lost_while_a_result_is_on_its_way_is_said_so():
    trial = Trial(task="toy/spiral", model="small")
    with pytest.raises(RunAborted, match="the Dask scheduler at tcp://here:1 is gone"):
        _outcome(Finished(), trial, Limits(), "tcp://here:1")
