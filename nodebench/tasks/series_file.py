"""Read series from a CSV or Parquet file with one row per observation time."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nodebench.errors import BadInput, choose, first_line

LEAST = 2  # minimum number of observed times of a series; shorter series are left out


class OneSeries(NamedTuple):
    """One series: times ``(n,)``, increasing, and values ``(n, D)``, NaN where nothing was observed; in float64.

    The name is the id of the series. If series are cut, the number of the piece follows.
    """

    times: np.ndarray
    values: np.ndarray
    name: str = ""


@dataclass(frozen=True)
class SeriesFile:
    """The series of a file.

    Attributes:
        columns: the names of the D components.
        unit: unit of the times: ``days`` if the file has dates, else empty.
        series: the series, sorted by id.
        about: one-line summary of the content and of the part that is used.
    """

    columns: tuple[str, ...]
    unit: str
    series: Sequence[OneSeries]
    about: str = ""

    def sha256(self) -> str:
        """The hash of the names, times and values."""
        known = sha256("\n".join([*self.columns, self.unit]).encode())
        for one in self.series:
            known.update(np.ascontiguousarray(one.times).tobytes())
            known.update(np.ascontiguousarray(one.values).tobytes())
        return known.hexdigest()


def read_series(path: Path, time: str, id: str, columns: Sequence[str], window: int, rounding: float) -> SeriesFile:
    """Read the series of a file.

    Rows may be in any order. Rows of one series with the same time form one observation: the values of each component
    are averaged. Times are relative to the first time of each series.

    Args:
        path: a CSV file with a header, or a Parquet file.
        time: the column of the times, which are numbers or dates.
        id: the column that identifies the series; empty if the file holds one series.
        columns: the columns of the components; empty for all other numeric columns.
        window: number of observed times per piece, if each series is to be cut into pieces; 0 to keep series whole.
        rounding: times are rounded to multiples of this value; 0 for no rounding.

    Raises:
        BadInput: the file cannot be read, a column is missing or has no numbers, or no series is left.
    """
    table = _read(path)
    for name in (time, *([id] if id else []), *columns):
        choose(f"column of {path.name}", name, table.columns)
    chosen = list(columns) or _numeric(table, but={time, id})
    if not chosen:
        raise BadInput(f"{path.name}: no numeric column besides '{time}'" + (f" and '{id}'" if id else ""))
    times, unit = _times(path, table[time])
    if rounding:
        times = (times / rounding).round() * rounding
    whole = pd.DataFrame({name: _numbers(path, name, table[name]) for name in chosen})
    means = whole.groupby([_ids(path, table, id), times], sort=True).mean().dropna(how="all")
    series = [piece for id_, rows in means.groupby(level=0) for piece in _pieces(str(id_), rows, window)]
    if not series:
        hint = "choose a smaller window" if window else f"is '{id}' the column of the series ids?"
        raise BadInput(f"{path.name}: no series has at least {window or LEAST} observed times; {hint}")
    unused = [str(name) for name in table.columns if name not in {time, id, *chosen}]
    notes = [_sizes(series, unit), f"columns {', '.join(map(str, chosen))}"]
    notes += [f"not used: {', '.join(unused)}"] if unused else []
    notes += _left_out(whole, means, series)
    return SeriesFile(tuple(map(str, chosen)), unit, series, "; ".join(notes))


def _sizes(series: Sequence[OneSeries], unit: str) -> str:
    """Describe the number of series and of their times."""
    counts = [len(one.times) for one in series]
    each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    longest = max(float(one.times[-1]) for one in series)
    return f"{len(series):,} series of {each} times, {sum(counts):,} in total, longest {longest:g} {unit}".strip()


def _left_out(whole: pd.DataFrame, means: pd.DataFrame, series: Sequence[OneSeries]) -> list[str]:
    """Count the rows that are left out or merged, by reason."""
    observed = int(whole.notna().any(axis=1).sum())
    counts = {
        "rows without a value": len(whole) - observed,
        "rows merged with another of the same time": observed - len(means),
        "times of series or pieces that are too short": len(means) - sum(len(one.times) for one in series),
    }
    return [f"{what}: {count:,}" for what, count in counts.items() if count]


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # parsers raise many types of exceptions
        raise BadInput(f"--data {path}: it cannot be read: {first_line(error)}") from error
    if table.empty:
        raise BadInput(f"--data {path}: it has no rows")
    return table


def _numeric(table: pd.DataFrame, but: set[str]) -> list[str]:
    return [name for name in table.select_dtypes("number").columns if name not in but]


def _times(path: Path, column: "pd.Series[float]") -> tuple["pd.Series[float]", str]:
    """Return times as numbers, and their unit; dates become days since the first date in the file."""
    if not pd.api.types.is_numeric_dtype(column):
        dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
        if dates.notna().all():
            return (dates - dates.min()) / pd.Timedelta(days=1), "days"
    times = _numbers(path, str(column.name), column, kind="time")
    if times.isna().any():
        raise BadInput(f"{path.name}, row {_row(times.isna())}: no time")
    return times, ""


def _numbers(path: Path, name: str, column: "pd.Series[float]", kind: str = "number") -> "pd.Series[float]":
    """A column as float64; an empty cell is NaN."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    wrong = (numbers.isna() & column.notna()) | np.isinf(numbers)
    if wrong.any():
        raise BadInput(f"{path.name}, row {_row(wrong)}: '{column[wrong].iloc[0]}' in column '{name}' is not a {kind}")
    return numbers


def _row(which: "pd.Series[bool]") -> int:
    """Return the line number in the file of the first marked row; the header is line 1."""
    return int(np.flatnonzero(which.to_numpy())[0]) + 2


def _ids(path: Path, table: pd.DataFrame, id: str) -> "pd.Series[str]":
    if not id:
        return pd.Series("", index=table.index)
    if (missing := table[id].isna()).any():
        raise BadInput(f"{path.name}, row {_row(missing)}: no '{id}'")
    return table[id].astype(str)


def _pieces(id: str, rows: pd.DataFrame, window: int) -> list[OneSeries]:
    """Cut one series into pieces, each with times relative to its start; pieces that are too short are left out."""
    times = rows.index.get_level_values(1).to_numpy(dtype=np.float64)
    values = rows.to_numpy(dtype=np.float64)
    size = window or len(times)
    starts = range(0, len(times), size)
    names = [f"{id} piece {number}".strip() if window else id for number in range(1, len(starts) + 1)]
    cut = zip(starts, names, strict=True)
    pieces = [OneSeries(times[i : i + size] - times[i], values[i : i + size], name) for i, name in cut]
    return [piece for piece in pieces if len(piece.times) >= (window or LEAST)]
