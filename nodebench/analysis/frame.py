"""Records as one table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nodebench.errors import BadInput, choose
from nodebench.spec import Record

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
                "data_sha256": record.data.sha256 if record.data else None,
                "failure": record.failure.message if record.failure else None,
            }
            | record.metrics
            | record.costs
        )
    return pd.DataFrame(rows)


def export(records: Sequence[Record], path: Path, format: str) -> None:
    """Write records to a file: ``csv`` and ``parquet`` as one flat table, ``json`` as the whole records.

    Raises:
        BadInput: the format is unknown or the file cannot be written.
    """
    choose("format", format, EXPORT_FORMATS)
    try:
        if format == "csv":
            frame(records).to_csv(path, index=False)
        elif format == "parquet":
            frame(records).to_parquet(path, index=False)
        else:
            path.write_text("[\n" + ",\n".join(record.line() for record in records) + "\n]\n")
    except OSError as error:
        raise BadInput(f"--out {path}: cannot write there: {error.strerror or error}") from error
