"""The page of one run: its figures, pictures and tables. It judges no claim."""

from collections.abc import Sequence

from nodebench.analysis.readings import final
from nodebench.analysis.summary import configurations, varying
from nodebench.reporting.charts import Look
from nodebench.reporting.document import Block, Code, Page, Terms
from nodebench.reporting.pictures import pictures
from nodebench.reporting.study_charts import Plot, Sides, draw, each, rows
from nodebench.reporting.study_pages import Films, counts, failures, tables
from nodebench.spec import Record

_SERIES = ("task", "dataset", "model", "solver", "batching", "compile", "gradient")
_ERROR = Look("NFE, forward", "relative solution error", "xy", joined=False)
_GRADIENT = Look("step (s)", "relative gradient error", "xy", joined=False)
_MEMORY = Look("step (s)", "peak of a step (bytes)", "xy", joined=False)


def run_page(name: str, records: Sequence[Record], films: Films) -> Page:
    """Lay out a run: work-precision in evaluations, seconds and bytes, the training, pictures, and every configuration.

    Args:
        name: of the run.
        records: its records.
        films: gives the pictures that were kept of a record.
    """
    differing = varying(configurations(records))
    by = tuple(axis for axis in _SERIES if axis in differing)
    sides: Sides = {"": records}
    blocks: list[Block] = [Terms([("Records", counts(records))])]
    over = tuple(axis for axis in differing if axis not in by)
    for plot in (*_clouds(by, over), _training(records, (*by, *over))):
        blocks += draw(plot, "run", sides)
    blocks += pictures("run", records, films)
    blocks += tables("run", records, "")
    blocks += failures("run", records, "")
    blocks += [Code(f"nodebench show {name} --columns all")]
    return Page("index", name, "", blocks)


def _clouds(by: tuple[str, ...], over: tuple[str, ...]) -> list[Plot]:
    nfe, seconds = final("nfe_forward"), final("step_seconds")
    points = (
        ("precision", "Error of the solution over evaluations", each(nfe, final("solution_error")), _ERROR),
        ("gradient", "Error of the gradient over time", each(seconds, final("gradient_error")), _GRADIENT),
        ("memory", "Memory over time", each(seconds, final("tensor_peak_bytes")), _MEMORY),
    )
    return [Plot(name, about, read, by, look, over=over) for name, about, read, look in points]


def _training(records: Sequence[Record], by: tuple[str, ...]) -> Plot:
    """The loss, on a logarithmic axis unless it is a likelihood that becomes negative."""
    losses = [loss for record in records for row in record.history if (loss := row.get("loss")) is not None]
    logarithmic = bool(losses) and min(losses) > 0
    look = Look("epoch", "loss", "y" if logarithmic else "", whole=True)
    return Plot("loss", "Loss over training", rows("history", "epoch", "loss"), by, look)
