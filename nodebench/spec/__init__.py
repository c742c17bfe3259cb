"""Data models of trials, records, grids and studies, without torch or pandas, so that the command line starts fast."""

from nodebench.spec.grid import DataSource, Exclusion, Grid
from nodebench.spec.metrics import METRICS, Metric
from nodebench.spec.reasons import Reason, ReasonCode
from nodebench.spec.record import (
    Failure,
    FieldTrait,
    Interleaved,
    Limits,
    Measured,
    Record,
    SolveFailed,
    Status,
)
from nodebench.spec.request import EVERYTHING, Pass, Request
from nodebench.spec.study import Study, load_study, shipped_studies
from nodebench.spec.trial import Batching, Compile, Gradient, Preset, Trial

__all__ = [
    "EVERYTHING",
    "METRICS",
    "Batching",
    "Compile",
    "DataSource",
    "Exclusion",
    "Failure",
    "FieldTrait",
    "Gradient",
    "Grid",
    "Interleaved",
    "Limits",
    "Measured",
    "Metric",
    "Pass",
    "Preset",
    "Reason",
    "ReasonCode",
    "Record",
    "Request",
    "SolveFailed",
    "Status",
    "Study",
    "Trial",
    "load_study",
    "shipped_studies",
]
