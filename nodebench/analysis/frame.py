"""Records as one table."""

import io
from collections.abc import Sequence

import pandas as pd
from pandas.api.types import is_numeric_dtype

from nodebench.errors import choose
from nodebench.escapes import for_spreadsheet
from nodebench.spec import Record
from nodebench.spec.calibration import machine_label

EXPORT_FORMATS = ("csv", "parquet", "json", "latex")
TABLES = ("trials", "history", "profile")


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per record: the trial's axes, then status, metrics and costs by their names.

    Overrides become columns ``set.NAME``. History and profile are separate tables and are not included.
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


def table(
    trials: pd.DataFrame, records: Sequence[Record], which: str = "trials", columns: Sequence[str] = ()
) -> pd.DataFrame:
    """A table of records.

    Args:
        trials: result of ``frame`` for the records.
        records: the records.
        which: ``trials``, one row per record; ``history``, one row per epoch; ``profile``, one row for each setting
            that a trained network was solved with. The last two have the columns of ``frame`` before their own.
        columns: columns to return, in this order; all by default.

    Raises:
        BadInput: there is no such table or column.
    """
    choose("table", which, TABLES)
    found = trials
    if which != "trials":
        names = {name for record in records for name in (*record.metrics, *record.costs)}
        axes = trials.drop(columns=list(names)).to_dict("records")
        found = pd.DataFrame(
            trial | {f"{which}.{name}": value for name, value in row.items()}
            for trial, record in zip(axes, records, strict=True)
            for row in getattr(record, which)
        )
    for name in columns:
        choose("column", name, found.columns)
    return found[list(columns)] if columns else found


def export(
    trials: pd.DataFrame, records: Sequence[Record], format: str, which: str = "trials", columns: Sequence[str] = ()
) -> bytes:
    """A table of records as the content of a file; see ``table``.

    ``json`` without ``columns`` contains the complete records, with history and profile. In CSV, an apostrophe is put
    before text that a spreadsheet would read as a formula. In ``latex``, numbers have four significant digits.

    Raises:
        BadInput: there is no such format, table or column.
    """
    choose("format", format, EXPORT_FORMATS)
    if format == "json" and which == "trials" and not columns:
        return ("[\n" + ",\n".join(record.line() for record in records) + "\n]\n").encode()
    found, content = table(trials, records, which, columns), io.BytesIO()
    if format == "csv":
        _without_formulas(found).to_csv(content, index=False)
    elif format == "parquet":
        found.to_parquet(content, index=False)
    else:
        content.write(_text(found, format).encode())
    return content.getvalue()


def _text(found: pd.DataFrame, format: str) -> str:
    if format == "json":
        return found.to_json(orient="records", indent=1) + "\n"
    shown = found.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    styled = shown.where(found.notna(), None).style.format(escape="latex", na_rep="--").hide(axis="index")
    return str(styled.format_index(escape="latex", axis=1).to_latex(hrules=True))


def _without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    safe = table.rename(columns=for_spreadsheet)
    for name in safe.columns[[not is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = [for_spreadsheet(value) if isinstance(value, str) else value for value in safe[name]]
    return safe
