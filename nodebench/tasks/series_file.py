"""Series in a CSV or Parquet file, a row for each time at which something was observed."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nodebench.errors import BadInput, choose, first_line

LEAST = 2  # observed times of a series; one with fewer is left out


class OneSeries(NamedTuple):
    """One series: times ``(n,)``, increasing, and values ``(n, D)``, NaN where nothing was observed; in float64."""

    times: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class SeriesFile:
    """The series of a file.

    Attributes:
        columns: the names of the D components.
        unit: of the times: ``days`` where the file has dates, else empty.
        series: in the order of their ids.
    """

    columns: tuple[str, ...]
    unit: str
    series: Sequence[OneSeries]

    def sha256(self) -> str:
        """The hash of the names, times and values."""
        known = sha256("\n".join([*self.columns, self.unit]).encode())
        for one in self.series:
            known.update(np.ascontiguousarray(one.times).tobytes())
            known.update(np.ascontiguousarray(one.values).tobytes())
        return known.hexdigest()


def read_series(path: Path, time: str, id: str, columns: Sequence[str], window: int, rounding: float) -> SeriesFile:
    """Read the series of a file.

    Rows may stand in any order. Rows of one series at one time are one observation; of several values of a component
    it has the mean. Times are counted from the first row of each series.

    Args:
        path: a CSV file with a header, or a Parquet file.
        time: the column of the times, which are numbers or dates.
        id: the column that tells the series apart; empty where the file is one series.
        columns: the components; empty for every other column of numbers.
        window: observed times of a piece into which each series is cut; 0 leaves the series whole.
        rounding: times are rounded to multiples of it; 0 leaves them as they are.

    Raises:
        BadInput: the file cannot be read, a column is missing or has no numbers, or no series is left.
    """
    table = _read(path)
    for name in (time, *([id] if id else []), *columns):
        choose(f"column of {path.name}", name, table.columns)
    chosen = list(columns) or _numeric(table, but={time, id})
    if not chosen:
        raise BadInput(f"{path.name}: no column of numbers beside '{time}'" + (f" and '{id}'" if id else ""))
    times, unit = _times(path, table[time])
    if rounding:
        times = (times / rounding).round() * rounding
    whole = pd.DataFrame({name: _numbers(path, name, table[name]) for name in chosen})
    means = whole.groupby([_ids(path, table, id), times], sort=True).mean().dropna(how="all")
    series = [piece for _, rows in means.groupby(level=0) for piece in _pieces(rows, window)]
    if not series:
        hint = "choose a smaller window" if window else f"is '{id}' the column of their ids?"
        raise BadInput(f"{path.name}: no series has {window or LEAST} observed times; {hint}")
    return SeriesFile(tuple(map(str, chosen)), unit, series)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # a parser raises what it likes
        raise BadInput(f"--data {path}: it cannot be read: {first_line(error)}") from error
    if table.empty:
        raise BadInput(f"--data {path}: it has no rows")
    return table


def _numeric(table: pd.DataFrame, but: set[str]) -> list[str]:
    return [name for name in table.select_dtypes("number").columns if name not in but]


def _times(path: Path, column: "pd.Series[float]") -> tuple["pd.Series[float]", str]:
    """Times as numbers, and their unit; dates become days since the first of the file."""
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
        raise BadInput(f"{path.name}, row {_row(wrong)}: '{column[wrong].iloc[0]}' in column '{name}' is no {kind}")
    return numbers


def _row(which: "pd.Series[bool]") -> int:
    """The first row that is marked, counted as an editor counts lines below the header."""
    return int(np.flatnonzero(which.to_numpy())[0]) + 2


def _ids(path: Path, table: pd.DataFrame, id: str) -> "pd.Series[str]":
    if not id:
        return pd.Series("", index=table.index)
    if (missing := table[id].isna()).any():
        raise BadInput(f"{path.name}, row {_row(missing)}: no '{id}'")
    return table[id].astype(str)


def _pieces(rows: pd.DataFrame, window: int) -> list[OneSeries]:
    """The pieces of one series, each with times from its own start; those that are too short are left out."""
    times = rows.index.get_level_values(1).to_numpy(dtype=np.float64)
    values = rows.to_numpy(dtype=np.float64)
    size = window or len(times)
    starts = range(0, len(times), size)
    pieces = [OneSeries(times[i : i + size] - times[i], values[i : i + size]) for i in starts]
    return [piece for piece in pieces if len(piece.times) >= (window or LEAST)]
