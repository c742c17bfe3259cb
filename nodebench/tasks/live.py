"""Problems made of live Python objects: the process that made them stores them and sends them to its trials."""

import hashlib
import pickle
import sys
from dataclasses import dataclass

from nodebench.errors import BadInput, first_line
from nodebench.spec import Trial
from nodebench.spec.names import LONGEST
from nodebench.tasks.problem import Problem

TASK = "problem"
_DIGITS = 12
_kept: dict[str, "Pickled"] = {}


@dataclass(frozen=True)
class Pickled:
    """A pickled problem, to be sent to a trial's process. It is never stored in a file.

    Attributes:
        name: value of the option ``problem`` of its trials.
        content: output of cloudpickle, which also supports classes and functions of a notebook.
        path: ``sys.path`` of the process that made the problem.
    """

    name: str
    content: bytes
    path: tuple[str, ...]


def keep(problem: Problem) -> str:
    """Store a problem for the trials of this process; return its name, which ends with a hash of its content.

    Raises:
        BadInput: a part of the problem cannot be pickled.
    """
    import cloudpickle

    try:
        content = cloudpickle.dumps(problem)
    except Exception as error:
        raise BadInput(f"Problem: it cannot be sent to a trial's process: {first_line(error)}") from error
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    name = f"{problem.name[: LONGEST - _DIGITS - 1]}@{digest}"
    _kept[name] = Pickled(name, content, tuple(sys.path))
    return name


def of_trial(trial: Trial) -> Pickled | None:
    """Return the problem of a trial; None if this process does not store it."""
    return _kept.get(str(trial.overrides.get("problem"))) if trial.task == TASK else None


def receive(problem: Pickled) -> None:
    """Store a problem that the parent process sent, and extend ``sys.path``."""
    _kept[problem.name] = problem
    sys.path += [folder for folder in problem.path if folder not in sys.path]


def find(name: str) -> Problem:
    """Return a problem by its name.

    Raises:
        BadInput: this process does not store the problem, or it cannot be unpickled.
    """
    if name not in _kept:
        why = "it was made of objects of another Python session"
        raise BadInput(f"{name}: {why}; run it from Python again, or define it in a file: --task file.py:NAME")
    try:
        found: Problem = pickle.loads(_kept[name].content)  # written by this process's parent, in memory
    except Exception as error:
        raise BadInput(f"{name} cannot be read in a trial's process: {first_line(error)}") from error
    return found
