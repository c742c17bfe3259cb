"""Records as one table."""

import io
from collections.abc import Sequence

import pandas as pd
from pandas.api.types import is_numeric_dtype

from nodebench.errors import choose
from nodebench.escapes import for_spreadsheet
from nodebench.spec import Record
from nodebench.spec.calibration import machine_label

EXPORT_FORMATS = ("csv", "parquet", "json")


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row a record: the trial's axes, then status, metrics and costs by the names of the figures.

    Overrides become columns ``set.NAME``. History and profile are tables of their own, and are left out.
    """
    rows = []
    for record in records:
        axes = record.trial.model_dump(mode="json")
        overrides = {f"set.{name}": value for name, value in axes.pop("overrides").items()}
        rows.append(
            {"id": record.id}
            | axes
            | overrides
            | {
                "status": record.status.value,
                "started": record.started,
                "duration_seconds": record.duration_seconds,
                "passes_agree": record.passes_agree,
                "field_traits": " ".join(record.traits) or None,
                "drifted": record.drifted,
                "resumed": record.resumed.times if record.resumed else 0,
                "shared_cores": record.place.shared,
                "machine": machine_label(record.environment) if record.environment else None,
                "data_sha256": record.data.sha256 if record.data else None,
                "failure": record.failure.message if record.failure else None,
            }
            | record.metrics
            | record.costs
        )
    return pd.DataFrame(rows)


def export(records: Sequence[Record], format: str) -> bytes:
    """Records as the content of a file: ``csv`` and ``parquet`` as one flat table, ``json`` as the whole records.

    In CSV, text that a spreadsheet would take for a formula has an apostrophe in front.

    Raises:
        BadInput: the format is unknown.
    """
    choose("format", format, EXPORT_FORMATS)
    if format == "json":
        return ("[\n" + ",\n".join(record.line() for record in records) + "\n]\n").encode()
    content = io.BytesIO()
    if format == "csv":
        _without_formulas(frame(records)).to_csv(content, index=False)
    else:
        frame(records).to_parquet(content, index=False)
    return content.getvalue()


def _without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    safe = table.rename(columns=for_spreadsheet)
    for name in safe.columns[[not is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = [for_spreadsheet(value) if isinstance(value, str) else value for value in safe[name]]
    return safe
