"""What has changed between two runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nodebench.analysis.compare_runs import Comparison
from nodebench.analysis.compare_runs import compare as compare_records
from nodebench.analysis.noise import Noise, noise_of
from nodebench.api.result import Run
from nodebench.api.running import load
from nodebench.spec import Record
from nodebench.spec.calibration import machine_of
from nodebench.store.calibrations import calibrations
from nodebench.store.run_folder import RunFolder


def compare(first: Run | str | Path, second: Run | str | Path, *, results: str | Path = "results") -> Comparison:
    """Compare the trials that two runs have in common.

    Counts, bytes and errors are compared exactly. Times are compared as ratios with intervals that include the noise
    of the machine, known from its calibrations. Their p-values are corrected over the whole comparison.

    Args:
        first: the earlier run, or its name or path.
        second: the later run, or its name or path.
        results: folder that contains the calibrations and the runs given by name.

    Raises:
        BadInput: there is no such run, or it has no record.
    """
    runs = [one if isinstance(one, Run) else load(one, results=results) for one in (first, second)]
    for run in runs:
        if not run.records:
            raise RunFolder(run.folder).no_record()
    return compare_records(runs[0].records, runs[1].records, noise_here(Path(results), [run.records for run in runs]))


def noise_here(results: Path, records: Sequence[Sequence[Record]]) -> Mapping[str, Noise]:
    """Return the noise of the records' machine; empty if unknown, or if the machine or the thread count varies."""
    known = calibrations(results)
    places = {(machine_of(one.environment), one.trial.threads): one for some in records for one in some}
    if len(places) > 1:
        return {}
    (one,) = places.values()
    return noise_of(known, one.environment, one.trial.threads)
