"""Storing the training of one trial at intervals, and finding what an earlier process of the trial has stored."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from nodebench.errors import BadInput, brief, first_line
from nodebench.spec.record import Resumed
from nodebench.store.checkpoints import Checkpoints
from nodebench.trial.training_state import State, from_bytes, to_bytes

# Properties of the environment that must be equal in all processes of a trial: a record has one environment, and
# different software or processors compute different numbers.
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
    """The checkpoint of earlier processes of a trial.

    Attributes:
        resumed: number of resumes including the current one, and seconds of the earlier processes.
        calibration: seconds of the reference load before each earlier process.
        identity: trial and environment of the earlier processes, see ``identity_of``.
        state: state of the training.
    """

    resumed: Resumed
    calibration: list[float]
    identity: dict[str, str]
    state: State


@dataclass
class Saver:
    """Stores the training of a trial at intervals.

    Args:
        trial: id of the trial.
        files: location and interval of the checkpoints.
        began: when this process began its setup, on ``time.perf_counter``.
        notify: called with a message for the user.

    Attributes:
        identity: see ``identity_of``.
        calibration: seconds of the reference load before each process so far.
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
        """Notify the user that the trial starts from the beginning, and why."""
        self.notify(f"its checkpoint is not used; the trial starts from the beginning: {brief(reason)}")

    def check(self, earlier: Earlier) -> None:
        """Check that a checkpoint has the current environment and experiment.

        Raises:
            BadInput: it does not; the message lists the differences.
        """
        names = self.identity | earlier.identity
        if different := [name for name in names if self.identity.get(name) != earlier.identity.get(name)]:
            raise BadInput(f"it was stored with another {', '.join(different)}")

    def go_on_from(self, earlier: Earlier) -> None:
        """Continue the counts and times of the earlier processes."""
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
    """Return the properties that must be equal in all processes of a trial, by name, as comparable strings.

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
    """Convert the content that ``Saver`` has stored.

    Raises:
        Exception: the content has another format.
    """
    return Earlier(
        Resumed(times=content["times"] + 1, seconds=content["seconds"]),
        content["calibration"],
        content["identity"],
        content["state"],
    )
