"""What a trial, a record and a grid are. No torch and no pandas here: the command line loads this."""

from nodebench.spec.figures import FIGURES, Figure
from nodebench.spec.grid import DataSource, Grid, Study
from nodebench.spec.record import Failure, Limits, Record, SolveFailed, Status
from nodebench.spec.trial import Gradient, Preset, Trial

__all__ = [
    "FIGURES",
    "DataSource",
    "Failure",
    "Figure",
    "Gradient",
    "Grid",
    "Limits",
    "Preset",
    "Record",
    "SolveFailed",
    "Status",
    "Study",
    "Trial",
]
