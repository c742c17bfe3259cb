"""The calibrations that are kept beside the runs: one line each. Without torch, since reports read them too."""

from pathlib import Path

from pydantic import ValidationError

from nodebench.errors import BadInput
from nodebench.paths import for_writing
from nodebench.run.store import replace_file, whole_lines
from nodebench.spec.calibration import Calibration

FILE = "calibrations.jsonl"


def keep(results: Path, calibration: Calibration) -> Path:
    """Store a calibration beside those that are there.

    Raises:
        BadInput: it cannot be written.
    """
    path = results / FILE
    try:
        results.mkdir(parents=True, exist_ok=True)
        before = whole_lines(path.read_bytes()) if path.exists() else b""
        replace_file(for_writing(results, FILE), [before, calibration.model_dump_json().encode() + b"\n"])
    except OSError as error:
        raise BadInput(f"--results {results}: cannot write there: {error.strerror or error}") from error
    return path


def calibrations(results: Path) -> list[Calibration]:
    """The calibrations kept in a folder and in those below it, oldest first.

    Raises:
        BadInput: one cannot be read.
    """
    found = []
    for path in sorted(results.rglob(FILE)):
        try:
            lines = whole_lines(path.read_bytes()).splitlines()
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
        for number, line in enumerate(lines, start=1):
            try:
                found.append(Calibration.model_validate_json(line))
            except ValidationError as error:
                raise BadInput(f"{path}, line {number}: {error.errors()[0]['msg']}") from error
    return sorted(found, key=lambda calibration: calibration.started)
