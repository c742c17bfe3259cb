"""Store calibrations in the results folder, one line each. This module avoids torch, since reports import it too."""

import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from nodebench.errors import BadInput, first_fault, writing_to
from nodebench.spec.bounded import parse_json, read_lines
from nodebench.spec.calibration import Calibration
from nodebench.store.folders import folders_below, has_content
from nodebench.store.run_folder import append_line

FILE = "calibrations.jsonl"
_log = logging.getLogger(__name__)


def keep(results: Path, calibration: Calibration) -> Path:
    """Append a calibration to the file in a results folder, and return the path of the file.

    Raises:
        BadInput: the file cannot be written.
    """
    with writing_to(f"--results {results}"):
        results.mkdir(parents=True, exist_ok=True)
        append_line(results, FILE, calibration.model_dump_json())
    return results / FILE


def calibrations(results: Path) -> list[Calibration]:
    """Return the calibrations in a folder and its subfolders, oldest first.

    Calibrations that cannot be read are left out, with one warning per file.
    """
    paths = [folder / FILE for folder in folders_below(results) if has_content(folder / FILE)]
    return sorted((one for path in paths for one in _readable(path)), key=lambda calibration: calibration.started)


def _readable(path: Path) -> Iterator[Calibration]:
    bad: list[str] = []
    try:
        for number, (line, _) in enumerate(read_lines(path), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                yield Calibration.model_validate(parse_json(line))
            except ValidationError as error:
                bad.append(f"line {number}: {first_fault(error)}")
            except BadInput as error:
                bad.append(f"line {number}: {error}")
    except BadInput as error:
        _log.warning("%s", error)
    if bad:
        more = f"; and {len(bad) - 1} more" if len(bad) > 1 else ""
        _log.warning("%s: %s calibrations left out: %s%s", path, len(bad), bad[0], more)
