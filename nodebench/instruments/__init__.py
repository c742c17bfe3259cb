"""Measuring instruments. Each measures one quantity and does not depend on the code that it measures."""

from nodebench.instruments.calibration import calibrate, drifted
from nodebench.instruments.environment import describe_environment
from nodebench.instruments.memory import MemoryMeter, ProcessPeak
from nodebench.instruments.nfe import Budget, CountedField, NfeCounter
from nodebench.instruments.stopwatch import Stopwatch, synchronise

__all__ = [
    "Budget",
    "CountedField",
    "MemoryMeter",
    "NfeCounter",
    "ProcessPeak",
    "Stopwatch",
    "calibrate",
    "describe_environment",
    "drifted",
    "synchronise",
]
