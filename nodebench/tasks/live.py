"""Problems made of Python objects, which no file names: kept by the process that made them, handed to its trials."""

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
    """A problem on its way to a trial's process. It is never stored in a file.

    Attributes:
        name: as the option ``problem`` of its trials has it.
        content: written by cloudpickle, which also takes classes and functions of a notebook.
        path: where the process that made it looks for modules.
    """

    name: str
    content: bytes
    path: tuple[str, ...]


def keep(problem: Problem) -> str:
    """Keep a problem for the trials of this process; return its name, which ends with a hash of its content.

    Raises:
        BadInput: a part of it cannot be sent to another process.
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
    """The problem of a trial, if this process keeps it."""
    return _kept.get(str(trial.overrides.get("problem"))) if trial.task == TASK else None


def receive(problem: Pickled) -> None:
    """Keep what the parent has sent."""
    _kept[problem.name] = problem
    sys.path += [folder for folder in problem.path if folder not in sys.path]


def find(name: str) -> Problem:
    """Return a problem by its name.

    Raises:
        BadInput: this process does not keep it, or it cannot be read.
    """
    if name not in _kept:
        why = "it was made of objects of another Python session"
        raise BadInput(f"{name}: {why}; run it from Python again, or put it into a file: --task file.py:NAME")
    try:
        found: Problem = pickle.loads(_kept[name].content)  # written by this process's parent, in memory
    except Exception as error:
        raise BadInput(f"{name} cannot be read in a trial's process: {first_line(error)}") from error
    return found
