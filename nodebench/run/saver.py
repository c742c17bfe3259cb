"""Storing the training of one trial at intervals, and finding what an earlier process of the trial has stored."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from nodebench.errors import BadInput, brief, first_line
from nodebench.run.checkpoints import Checkpoints
from nodebench.run.training_state import State, from_bytes, to_bytes
from nodebench.spec.record import Resumed

# What must be the same in all processes of a trial: the record names one environment, and other software or another
# processor computes other numbers.
_SAME = (
    "nodebench",
    "code",
    "python",
    "packages",
    "identities",
    "plugins",
    "blas",
    "cpu",
    "microarchitecture",
    "accelerator",
)


@dataclass(frozen=True)
class Earlier:
    """What the earlier processes of a trial have left.

    Attributes:
        resumed: how often the trial is resumed with this process, and seconds of the earlier ones.
        calibration: seconds of the fixed load before each of them.
        identity: which trial in which environment they ran, as ``identity_of`` returns it.
        state: of the training.
    """

    resumed: Resumed
    calibration: list[float]
    identity: dict[str, str]
    state: State


@dataclass
class Saver:
    """Stores the training of a trial at intervals.

    Args:
        trial: its id.
        files: where checkpoints are stored, and how often.
        began: when this process began its setup, on ``time.perf_counter``.
        notify: receives a sentence for the user.

    Attributes:
        identity: see ``identity_of``.
        calibration: seconds of the fixed load before each process so far.
        resumed: how the trial was resumed; None in its first process.
    """

    trial: str
    files: Checkpoints
    began: float
    notify: Callable[[str], None]
    calibration: list[float]
    identity: dict[str, str] = field(default_factory=dict)
    resumed: Resumed | None = None
    _latest: float = field(default_factory=time.perf_counter)
    _failed: bool = False

    def is_due(self) -> bool:
        """Whether the interval since the latest checkpoint, or since this process began, has passed."""
        return 0 < self.files.every <= time.perf_counter() - self._latest

    def save(self, state: Callable[[], State]) -> None:
        """Store a state. If that fails the training goes on, and the user is told once."""
        try:
            self.files.write(self.trial, to_bytes(self._described(state())))
        except Exception as error:  # the disk is full, or a task keeps what cannot be stored
            if not self._failed:
                self.notify(f"its checkpoint cannot be stored: {brief(first_line(error))}")
            self._failed = True
        self._latest = time.perf_counter()

    def find(self) -> Earlier | None:
        """Return what an earlier process has stored; None if there is nothing, or it is damaged."""
        try:
            content = self.files.read(self.trial)
            return None if content is None else _earlier(from_bytes(content))
        except Exception as error:
            self.refuse(first_line(error))
            return None

    def refuse(self, reason: str) -> None:
        """Tell the user that the trial begins anew, and why."""
        self.notify(f"its checkpoint is not used, and the trial begins anew: {brief(reason)}")

    def check(self, earlier: Earlier) -> None:
        """Refuse a checkpoint of another environment or experiment.

        Raises:
            BadInput: it is one; the message says what differs.
        """
        names = self.identity | earlier.identity
        if different := [name for name in names if self.identity.get(name) != earlier.identity.get(name)]:
            raise BadInput(f"it was stored with another {', '.join(different)}")

    def go_on_from(self, earlier: Earlier) -> None:
        """Count this process as one that resumes the trial."""
        self.resumed = earlier.resumed
        self.calibration = [*earlier.calibration, *self.calibration]

    def _described(self, state: State) -> State:
        times, seconds = (self.resumed.times, self.resumed.seconds) if self.resumed else (0, 0.0)
        return {
            "identity": self.identity,
            "times": times,
            "seconds": seconds + time.perf_counter() - self.began,
            "calibration": self.calibration,
            "state": state,
        }


def identity_of(outcome: Mapping[str, Any]) -> dict[str, str]:
    """What all processes of a trial must have in common besides its id, by name, as texts that can be compared.

    Args:
        outcome: the fields of the record that are known once the experiment is built.
    """
    environment = outcome["environment"]
    parts = {name: environment.get(name) for name in _SAME}
    parts |= {"options": outcome["options"], "data": outcome["data"], "user's code": outcome["measured"]}
    return {name: json.dumps(part, sort_keys=True, default=_as_json) for name, part in parts.items()}


def _as_json(part: BaseModel) -> Any:
    return part.model_dump(mode="json")


def _earlier(content: State) -> Earlier:
    """Read what ``Saver`` has stored.

    Raises:
        Exception: it is something else.
    """
    return Earlier(
        Resumed(times=content["times"] + 1, seconds=content["seconds"]),
        content["calibration"],
        content["identity"],
        content["state"],
    )
