"""What a trial, a record, a grid and a study are. No torch and no pandas here: the command line loads this."""

from nodebench.spec.figures import FIGURES, Figure
from nodebench.spec.grid import DataSource, Exclusion, Grid
from nodebench.spec.reasons import Reason, ReasonCode
from nodebench.spec.record import Failure, Interleaved, Limits, Record, SolveFailed, Status
from nodebench.spec.study import Study, load_study, shipped_studies
from nodebench.spec.trial import Batching, Compile, Gradient, Preset, Trial

__all__ = [
    "FIGURES",
    "Batching",
    "Compile",
    "DataSource",
    "Exclusion",
    "Failure",
    "Figure",
    "Gradient",
    "Grid",
    "Interleaved",
    "Limits",
    "Preset",
    "Reason",
    "ReasonCode",
    "Record",
    "SolveFailed",
    "Status",
    "Study",
    "Trial",
    "load_study",
    "shipped_studies",
]
